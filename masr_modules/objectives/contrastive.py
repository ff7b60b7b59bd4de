"""Parts of contrastive objectives: a quantiser with annealed temperature, distractors, losses."""

import torch
import torch.nn.functional as F
from speechbrain.nnet.quantisers import GumbelVectorQuantizer
from torch import Tensor, nn

from masr_modules.distributed import joint_mean
from masr_modules.objectives.masking import FrameMask


class AnnealedGumbelQuantizer(GumbelVectorQuantizer):
    """SpeechBrain's Gumbel quantiser, with its temperature in the state_dict and less memory.

    SpeechBrain's quantiser keeps the temperature as a plain number, so that a checkpoint lacks it
    and each new value would make torch.compile compile again. Here a matrix product picks the
    chosen entries, which takes O(N V) memory instead of O(N V D).

    Arguments
    ---------
    input_dim, num_vars, temp_tuple, groups, vq_dim
        See SpeechBrain's GumbelVectorQuantizer.

    Example
    -------
    >>> quantizer = AnnealedGumbelQuantizer(8, 4, (2.0, 0.5, 0.9), 2, 6)
    >>> quantizer.update_temp(10)
    >>> round(quantizer.state_dict()["curr_temp"].item(), 3)
    0.697
    >>> quantizer.codes(torch.randn(5, 8)).shape
    torch.Size([5, 2])
    """

    def __init__(self, input_dim: int, num_vars: int, temp_tuple, groups: int, vq_dim: int):
        super().__init__(input_dim, num_vars, temp_tuple, groups, vq_dim)
        del self.curr_temp
        self.register_buffer("curr_temp", torch.tensor(float(self.max_temp)))

    def update_temp(self, steps: int) -> None:
        """Sets the temperature after `steps` optimiser steps."""
        self.curr_temp.fill_(max(self.max_temp * self.temp_decay**steps, self.min_temp))

    def forward(self, x: Tensor) -> dict:
        """Quantises (B, T, input_dim); returns `x` (B, T, vq_dim) and SpeechBrain's statistics."""
        logits = self.weight_proj(x).reshape(-1, self.num_vars)
        hard = F.one_hot(logits.argmax(dim=-1), self.num_vars).to(logits.dtype)
        chosen = hard
        if self.training:
            chosen = F.gumbel_softmax(logits.float(), tau=self.curr_temp, hard=True)
        chosen = chosen.to(logits.dtype).view(-1, self.groups, self.num_vars)
        entries = self.vars.view(self.groups, self.num_vars, -1)
        quantized = torch.einsum("ngv,gvd->ngd", chosen, entries)
        return {
            "x": quantized.flatten(1).unflatten(0, x.shape[:2]),
            "num_vars": self.num_vars * self.groups,
            "temp": self.curr_temp,
            "code_perplexity": self._perplexity(hard),
            "prob_perplex": self._perplexity(logits.float().softmax(dim=-1)),
        }

    def _perplexity(self, probabilities: Tensor) -> Tensor:
        """Sums the perplexities of the groups' mean distributions; in training, over all ranks."""
        grouped = probabilities.float().view(-1, self.groups, self.num_vars)
        mean = joint_mean(grouped) if self.training else grouped.mean(dim=0)
        return torch.exp(-(mean * (mean + 1e-7).log()).sum(dim=-1)).sum()

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """Finds the (N, groups) indices of the most likely entries of (N, input_dim) inputs."""
        return self.weight_proj(x).unflatten(-1, (self.groups, -1)).argmax(dim=-1)


def sample_distractors(mask: FrameMask, num: int) -> Tensor:
    """Draws, for each masked frame, other masked frames of the same utterance.

    SpeechBrain's sampler needs the same number of frames of each utterance, and shifts its
    indices by one frame too few per utterance; this one takes any number of frames.

    Arguments
    ---------
    mask : FrameMask
        A mask with N masked frames.
    num : int
        Number of distractors per frame, drawn with replacement.

    Returns
    -------
    torch.Tensor
        (num, N) indices into the masked frames in the order of `mask.select`. If an utterance has
        only one masked frame, it gets itself, which MaskedContrastiveLoss leaves out.

    Example
    -------
    >>> mask = FrameMask.of(torch.tensor([[True, True, False], [False, True, False]]))
    >>> sample_distractors(mask, 2).tolist()
    [[1, 0, 2], [1, 0, 2]]
    """
    counts = mask.frames.sum(dim=1)
    starts = counts.cumsum(dim=0) - counts
    utterance, device = mask.places // mask.frames.shape[1], mask.places.device
    place = torch.arange(utterance.shape[0], device=device) - starts[utterance]
    others = (counts[utterance] - 1).clamp(min=1)
    drawn = torch.rand(num, utterance.shape[0], device=device) * others
    drawn = torch.minimum(drawn.long(), others - 1)  # rand * n may round up to n
    # The frame's own place is skipped, so that all others are equally likely.
    drawn = drawn + ((drawn >= place) & (counts[utterance] > 1))
    return drawn + starts[utterance]


def row_keys(rows: Tensor) -> Tensor:
    """Computes a number for each row, the same for rows of the same bits.

    It is a hash of 64 bits. It costs O(N D) and, unlike torch.unique, does not wait for the device.

    Arguments
    ---------
    rows : torch.Tensor
        (N, D) floats.

    Returns
    -------
    torch.Tensor
        (N,) long hashes.

    Example
    -------
    >>> first, second, third = row_keys(torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]]))
    >>> bool(first == third), bool(first == second)
    (True, False)
    """
    factors = torch.arange(1, rows.shape[1] + 1, device=rows.device) * 0x1E3779B97F4A7C15
    factors = (factors ^ (factors >> 29)) * 0x3F58476D1CE4E5B9 | 1
    return (rows.float().view(torch.int32) * factors).sum(dim=1)


class MaskedContrastiveLoss(nn.Module):
    """wav2vec 2.0's contrastive loss, as a mean over the masked frames of a batch.

    It equals SpeechBrain's ContrastiveLoss, but takes the similarities from one matrix product of
    all N frames and targets, which needs O(N (N + K)) memory instead of O(N K D).
    Distractors that equal the target do not count.

    Arguments
    ---------
    num_distractors : int
        K, the number of distractors per masked frame.
    temperature : float
        Divisor of the cosine similarities.

    Example
    -------
    >>> mask = FrameMask.of(torch.tensor([[True, True, False], [True, True, True]]))
    >>> frames = torch.randn(5, 4)  # the five masked ones
    >>> loss, accuracy = MaskedContrastiveLoss(3, 0.1)(frames, frames, mask)
    >>> accuracy.item()
    1.0
    """

    def __init__(self, num_distractors: int, temperature: float = 0.1):
        super().__init__()
        self.num_distractors = num_distractors
        self.temperature = temperature

    def forward(self, predicted: Tensor, targets: Tensor, mask: FrameMask) -> tuple[Tensor, Tensor]:
        """Computes loss and accuracy of (N, D) predictions and targets of the mask's N frames."""
        return self.of(predicted, targets, sample_distractors(mask, self.num_distractors))

    def of(self, predicted: Tensor, targets: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Computes the same as `forward`, with given (K, N) indices of distractors."""
        with torch.autocast(predicted.device.type, enabled=False):
            predicted = F.normalize(predicted.float(), dim=-1)
            similarity = predicted @ F.normalize(targets.float(), dim=-1).T / self.temperature
        same = row_keys(targets.detach())
        own = torch.arange(targets.shape[0], device=targets.device)
        negatives = similarity[own, drawn].masked_fill(same[drawn] == same, float("-inf"))
        logits = torch.cat([similarity.diagonal().unsqueeze(0), negatives]).T
        accuracy = (logits.detach().argmax(dim=1) == 0).float().mean()
        return F.cross_entropy(logits, torch.zeros_like(own)), accuracy


class HeadLoss(nn.Module):
    """wav2vec 2.0's loss with the pretraining head of transformers, on masked frames only.

    The loss is contrastive + diversity_loss_weight * diversity, as a mean over the masked frames.

    Arguments
    ---------
    config : transformers.Wav2Vec2Config
        The head's configuration, with the number of distractors, the temperature of the cosine and
        the weight of the diversity.
    """

    def __init__(self, config):
        super().__init__()
        self.diversity_weight = config.diversity_loss_weight
        self.contrastive = MaskedContrastiveLoss(
            config.num_negatives, config.contrastive_logits_temperature
        )

    def forward(
        self,
        head: nn.Module,
        frames: Tensor,
        latents: Tensor,
        mask: FrameMask,
        temperature: Tensor | float,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss of N masked frames, and its stats.

        Arguments
        ---------
        head : transformers.Wav2Vec2ForPreTraining
            The head, whose quantiser and projections are used.
        frames : torch.Tensor
            (N, D) output of the encoder.
        latents : torch.Tensor
            (N, C) normalised output of the convolutions.
        mask : FrameMask
            The mask of the N frames.
        temperature : torch.Tensor or float
            Temperature of the quantiser.
        """
        codes, perplexity = quantize(head.quantizer, head.dropout_features(latents), temperature)
        targets = head.project_q(codes.to(head.project_q.weight.dtype))
        loss, accuracy = self.contrastive(head.project_hid(frames), targets, mask)
        num_codes = head.quantizer.num_groups * head.quantizer.num_vars
        loss = loss + self.diversity_weight * (num_codes - perplexity) / num_codes
        return loss, {"contrastive_accuracy": accuracy, "code_perplexity": perplexity.detach()}


def quantize(
    quantizer: nn.Module, latents: Tensor, temperature: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Quantises latents as transformers does, in O(N V) memory instead of O(N V D).

    In training, the perplexity is that of the joint batch of all ranks.

    Arguments
    ---------
    quantizer : transformers' Wav2Vec2GumbelVectorQuantizer
        The quantiser, with V entries in each of its groups.
    latents : torch.Tensor
        (N, C) latents.
    temperature : torch.Tensor or float
        Temperature of the Gumbel softmax.

    Returns
    -------
    codes : torch.Tensor
        (N, D) chosen entries of all groups, side by side.
    perplexity : torch.Tensor
        Scalar, the sum over groups of the perplexity of the mean distribution.
    """
    groups, num_vars = quantizer.num_groups, quantizer.num_vars
    logits = quantizer.weight_proj(latents).view(-1, num_vars)
    if quantizer.training:
        chosen = F.gumbel_softmax(logits.float(), tau=temperature, hard=True)
        distribution = logits.float().softmax(dim=-1)
    else:
        chosen = distribution = F.one_hot(logits.argmax(dim=-1), num_vars).float()
    entries = quantizer.codevectors.view(groups, num_vars, -1)
    chosen = chosen.to(entries.dtype).view(-1, groups, num_vars)
    codes = torch.einsum("ngv,gvd->ngd", chosen, entries).flatten(1)
    grouped = distribution.view(-1, groups, num_vars)
    mean = joint_mean(grouped) if quantizer.training else grouped.mean(dim=0)
    return codes, torch.exp(-torch.xlogy(mean, mean).sum(dim=-1)).sum()
