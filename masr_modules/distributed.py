"""Collective operations across ranks; with one rank each works on its batch alone.

Only torchrun starts several ranks; callers need not know whether it did.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather, all_reduce
from torch.nn.parallel import DistributedDataParallel

from masr_modules.data.metadata import Metadata


def world_size() -> int:
    """Returns the number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Returns the rank of this process; 0 without a process group."""
    return dist.get_rank() if world_size() > 1 else 0


def leave_group() -> None:
    """Destroys a gloo process group; if its threads run at exit, they may abort the process.

    It does not wait for other ranks, and leaves groups of other backends as they are.
    """
    if dist.is_available() and dist.is_initialized() and dist.get_backend() == "gloo":
        dist.destroy_process_group()


def unwrap(module: nn.Module) -> nn.Module:
    """Returns the module that DDP wraps, or the module itself if DDP does not wrap it.

    Example
    -------
    >>> unwrap(nn.Linear(2, 3))
    Linear(in_features=2, out_features=3, bias=True)
    """
    return module.module if isinstance(module, DistributedDataParallel) else module


def global_mean(total: Tensor, count: Tensor, alone: bool = False) -> Tensor:
    """Returns this rank's part of a mean over all ranks, for a trainer that averages gradients.

    With W ranks the part is W * total / (sum of the counts of all ranks). Averaged over the
    ranks, it and its gradients equal those of one process with the joint batch, however
    unevenly the counted items are spread over the ranks. If no rank counts any, it is 0.

    Arguments
    ---------
    total : torch.Tensor
        Scalar sum over this rank's anchors (or masked frames).
    count : torch.Tensor
        Scalar, the number of terms in `total`.
    alone : bool
        Whether to take the mean over this rank alone, as in validation.

    Returns
    -------
    torch.Tensor
        Scalar.

    Example
    -------
    >>> global_mean(torch.tensor(6.0), torch.tensor(3.0)).item()
    2.0
    """
    count = count.detach().clone()
    if world_size() == 1 or alone:
        return total / count.clamp(min=1.0)
    dist.all_reduce(count)
    return world_size() * total / count.clamp(min=1.0)


def joint_mean(values: Tensor) -> Tensor:
    """Returns the (...) mean over the (N, ...) rows of all ranks; gradients reach every rank.

    Example
    -------
    >>> joint_mean(torch.tensor([[1.0], [3.0]]))
    tensor([2.])
    """
    if world_size() == 1:
        return values.mean(dim=0)
    total = values.sum(dim=0)
    counted = torch.cat([total.flatten(), total.new_tensor([len(values)])])
    summed = all_reduce(counted)
    return (summed[:-1] / summed[-1].detach()).view_as(total)


class JointBatch:
    """The place of this rank's utterances in the joint batch of all ranks.

    Ranks may have different numbers of utterances. The constructor runs one collective, for
    which the host waits. With one rank it runs none, and `gather` returns its argument.

    Arguments
    ---------
    size : int
        B, the number of utterances on this rank.
    device : torch.device or str
        Device of the collective in the constructor.
    alone : bool
        Whether the joint batch is this rank's batch even if there are other ranks, as in
        validation.

    Example
    -------
    >>> joint = JointBatch(2)
    >>> joint.gather(torch.ones(2, 3)).shape, joint.own
    (torch.Size([2, 3]), slice(0, 2, None))
    """

    def __init__(self, size: int, device: torch.device | str = "cpu", alone: bool = False):
        self.sizes = [size]
        before = 0
        if world_size() > 1 and not alone:
            before = rank()
            own = torch.tensor([size], device=device)
            sizes = [torch.empty_like(own) for _ in range(world_size())]
            dist.all_gather(sizes, own)
            self.sizes = torch.cat(sizes).tolist()
        start = sum(self.sizes[:before])
        self.own = slice(start, start + size)

    @property
    def is_own(self) -> bool:
        """Whether the joint batch is this rank's batch."""
        return len(self.sizes) == 1

    def gather(self, values: Tensor) -> Tensor:
        """Joins the (B, ...) rows of all ranks in rank order; gradients flow back to their rank."""
        if self.is_own:
            return values
        missing = max(self.sizes) - len(values)  # a collective takes tensors of one size
        padded = F.pad(values, (0, 0) * (values.dim() - 1) + (0, missing))
        parts = zip(all_gather(padded), self.sizes, strict=True)
        return torch.cat([part[:size] for part, size in parts])

    def gather_metadata(self, metadata: Metadata) -> Metadata:
        """Joins the metadata of all ranks, whose vocabularies must agree.

        Raises
        ------
        ValueError
            If there are several ranks and the metadata have no ids.
        """
        if self.is_own:
            return metadata
        if metadata.ids is None:
            raise ValueError(
                "metadata without ids cannot be joined across ranks, for an utterance might be "
                "paired with itself; MetadataTable gives ids"
            )
        labels = [
            name for name, values in metadata.columns.items() if not values.is_floating_point()
        ]
        numbers = [name for name in metadata.columns if name not in labels]
        codes = self.gather(torch.stack([metadata.ids, *(metadata[c] for c in labels)], dim=1))
        columns = {name: codes[:, i] for i, name in enumerate(labels, start=1)}
        if numbers:
            values = self.gather(torch.stack([metadata[c] for c in numbers], dim=1))
            columns |= {name: values[:, i] for i, name in enumerate(numbers)}
        return Metadata(columns, metadata.vocabularies, codes[:, 0])


class JointBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the joint batch of all ranks, on any device.

    It serves gloo on CPUs, where torch.nn.SyncBatchNorm does not run. It costs one collective
    forward and one backward.

    Example
    -------
    >>> JointBatchNorm.convert(nn.Sequential(nn.BatchNorm1d(4)))
    Sequential(
      (0): JointBatchNorm(4, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
    )
    """

    @classmethod
    def convert(cls, module: nn.Module) -> nn.Module:
        """Replaces every BatchNorm in a module by one with its state, and returns the module."""
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            own = cls(module.num_features, module.eps, module.momentum, module.affine)
            own.load_state_dict(module.state_dict())
            return own.train(module.training)
        for name, child in module.named_children():
            setattr(module, name, cls.convert(child))
        return module

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected (B, C) or (B, C, ...), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalises (B, C, ...) inputs; ranks may have different numbers of rows and frames.

        Raises
        ------
        ValueError
            If the input has fewer than two dimensions.
        """
        if not self.training or world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        others = [dim for dim in range(input.dim()) if dim != 1]
        count = input.new_tensor([input.numel() / input.shape[1]])
        sums = torch.cat([input.sum(others), input.square().sum(others), count])
        sums = all_reduce(sums)
        size, count = self.num_features, sums[-1].detach()
        mean = sums[:size] / count
        variance = sums[size : 2 * size] / count - mean.square()
        with torch.no_grad():
            self.num_batches_tracked += 1
            unbiased = variance * count / (count - 1).clamp(min=1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        shape = [1, size] + [1] * (input.dim() - 2)
        scale = (variance.clamp(min=0) + self.eps).rsqrt()
        out = (input - mean.view(shape)) * scale.view(shape)
        return out * self.weight.view(shape) + self.bias.view(shape) if self.affine else out
