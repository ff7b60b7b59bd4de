"""Collectives across ranks; without a process group each is the identity.

torchrun is the only launcher, and the caller need not know whether it was used.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather, all_reduce
from torch.nn.parallel import DistributedDataParallel

from masr_modules.data.metadata import Metadata


def world_size() -> int:
    """Number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process; 0 without a process group."""
    return dist.get_rank() if world_size() > 1 else 0


def leave_group() -> None:
    """Ends gloo's threads, which may abort a process that ends with them; it waits for no rank."""
    if dist.is_available() and dist.is_initialized() and dist.get_backend() == "gloo":
        dist.destroy_process_group()


def unwrap(module: nn.Module) -> nn.Module:
    """The module itself, out of DDP's wrapper.

    Example
    -------
    >>> unwrap(nn.Linear(2, 3))
    Linear(in_features=2, out_features=3, bias=True)
    """
    return module.module if isinstance(module, DistributedDataParallel) else module


def global_mean(total: Tensor, count: Tensor, alone: bool = False) -> Tensor:
    """This rank's part of a mean over all ranks, for a trainer that averages gradients.

    W * total / (count of all ranks): the average of this over the W ranks, and of its
    gradients, is that of one process with the joint batch, however unevenly what is
    counted lies on the ranks. Gives 0 where nothing is counted anywhere.

    Arguments
    ---------
    total : torch.Tensor
        Scalar sum over this rank's anchors (or masked frames).
    count : torch.Tensor
        Scalar, how many there were.
    alone : bool
        Whether it is a mean of this rank's, as in validation.

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
    """(N, ...) -> (...) mean over the rows of all ranks; gradients flow back to their rank.

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
    """Where this rank's utterances lie in the joint batch of all ranks.

    Numbers of rows may differ. Making it costs one collective, for which the host waits;
    with one rank it costs nothing and `gather` gives back what it was given.

    Arguments
    ---------
    size : int
        B, utterances on this rank.
    device : torch.device or str
        Where the collectives run.
    alone : bool
        Whether this rank is a batch of its own all the same, as in validation.

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
        """Whether there is but this rank's batch."""
        return len(self.sizes) == 1

    def gather(self, values: Tensor) -> Tensor:
        """Joins (B, ...) rows of all ranks in rank order; gradients flow back to their rank."""
        if self.is_own:
            return values
        missing = max(self.sizes) - len(values)  # a collective takes tensors of one size
        padded = F.pad(values, (0, 0) * (values.dim() - 1) + (0, missing))
        parts = zip(all_gather(padded), self.sizes, strict=True)
        return torch.cat([part[:size] for part, size in parts])

    def gather_metadata(self, metadata: Metadata) -> Metadata:
        """Joins the metadata of all ranks; vocabularies must agree, ids must be known."""
        if self.is_own:
            return metadata
        if metadata.ids is None:
            raise ValueError(
                "metadata without ids cannot be joined: an utterance might be its pair"
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

    For gloo on CPUs, where torch.nn.SyncBatchNorm does not run. Costs one collective forward,
    one backward.

    Example
    -------
    >>> JointBatchNorm.convert(nn.Sequential(nn.BatchNorm1d(4)))
    Sequential(
      (0): JointBatchNorm(4, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
    )
    """

    @classmethod
    def convert(cls, module: nn.Module) -> nn.Module:
        """Puts it in the place of every BatchNorm in a module, with its state."""
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
        """(B, C, ...) -> the same; ranks may have different numbers of rows and frames."""
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
