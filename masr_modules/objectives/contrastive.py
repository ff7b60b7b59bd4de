"""Parts of contrastive objectives: a quantiser that anneals, and distractors."""

import torch
import torch.nn.functional as F
from speechbrain.nnet.quantisers import GumbelVectorQuantizer
from torch import Tensor, nn

from masr_modules.distributed import joint_mean
from masr_modules.objectives.masking import FrameMask


class AnnealedGumbelQuantizer(GumbelVectorQuantizer):
    """SpeechBrain's Gumbel quantiser with its temperature in the state_dict, and less memory.

    SpeechBrain's keeps the temperature as a plain number: a checkpoint loses it,
    and each new value would make torch.compile compile again. The chosen entries are
    picked by a matrix product: O(N V) memory instead of O(N V D).

    Arguments
    ---------
    input_dim, num_vars, temp_tuple, groups, vq_dim
        Of GumbelVectorQuantizer.

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
        """Sets the temperature that follows `steps` optimiser steps."""
        self.curr_temp.fill_(max(self.max_temp * self.temp_decay**steps, self.min_temp))

    def forward(self, x: Tensor) -> dict:
        """(B, T, input_dim) -> SpeechBrain's result: `x` (B, T, vq_dim) and statistics."""
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
        """Of the mean distribution of each group, the groups summed; in training, of all ranks."""
        grouped = probabilities.float().view(-1, self.groups, self.num_vars)
        mean = joint_mean(grouped) if self.training else grouped.mean(dim=0)
        return torch.exp(-(mean * (mean + 1e-7).log()).sum(dim=-1)).sum()

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """(N, input_dim) -> (N, groups) indices of the most likely entries."""
        return self.weight_proj(x).unflatten(-1, (self.groups, -1)).argmax(dim=-1)


def sample_distractors(mask: FrameMask, num: int) -> Tensor:
    """Draws, for each masked frame, other masked frames of the same utterance.

    SpeechBrain's sampler wants as many frames of each utterance, and shifts its
    indices by one frame too few per utterance; this one serves ragged batches.

    Arguments
    ---------
    mask : FrameMask
        Of N masked frames.
    num : int
        Distractors per frame, drawn with replacement.

    Returns
    -------
    torch.Tensor
        (num, N) indices into the masked frames in the order of `mask.select`. The only
        masked frame of an utterance gets itself, which ContrastiveLoss leaves out.

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
    # Own place skipped, so that all others are equally likely.
    drawn = drawn + ((drawn >= place) & (counts[utterance] > 1))
    return drawn + starts[utterance]


def row_keys(rows: Tensor) -> Tensor:
    """A number for each row; rows of the same bits have the same.

    A hash of 64 bits, O(N D): unlike torch.unique it does not wait for the device.

    Arguments
    ---------
    rows : torch.Tensor
        (N, D) floats.

    Returns
    -------
    torch.Tensor
        (N,) long.

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
    """wav2vec 2.0's contrastive loss, a mean over the masked frames of a ragged batch.

    Equals SpeechBrain's ContrastiveLoss, but takes the similarities out of one matrix
    product of all frames and targets: O(N (N + K)) memory instead of O(N K D).
    Distractors that equal the target do not count.

    Arguments
    ---------
    num_distractors : int
        K, per masked frame.
    temperature : float
        Divides the cosine similarities.

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
        """(N, D) predictions and targets of the mask's N frames -> loss, accuracy."""
        return self.of(predicted, targets, sample_distractors(mask, self.num_distractors))

    def of(self, predicted: Tensor, targets: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Computes what `forward` does, with (K, N) given indices of distractors."""
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
    """wav2vec 2.0's loss with the pretraining head of transformers, of masked frames only.

    Contrastive + diversity_loss_weight * diversity, as a mean over the masked frames.

    Arguments
    ---------
    config : transformers.Wav2Vec2Config
        Of the head: number of distractors, temperature and weight.
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
        """The loss of N masked frames, and its stats.

        Arguments
        ---------
        head : transformers.Wav2Vec2ForPreTraining
            Its quantiser and projections are used.
        frames : torch.Tensor
            (N, D) the encoder's output.
        latents : torch.Tensor
            (N, C) the normalised output of the convolutions.
        mask : FrameMask
            Of the N frames.
        temperature : torch.Tensor or float
            Of the quantiser.
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
    """What the quantiser of transformers gives, in O(N V) memory instead of O(N V D).

    Its perplexity is of the joint batch of all ranks.

    Arguments
    ---------
    quantizer : transformers' Wav2Vec2GumbelVectorQuantizer
        V entries in each of its groups.
    latents : torch.Tensor
        (N, C).
    temperature : torch.Tensor or float
        Of the Gumbel softmax.

    Returns
    -------
    codes : torch.Tensor
        (N, D) the chosen entries of all groups, side by side.
    perplexity : torch.Tensor
        Scalar, of the mean distribution of each group, summed.
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
