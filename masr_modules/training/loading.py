"""Loaders of one rank's batches that checkpoints resume, and that leave out unreadable audio."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from torch.utils.data import DataLoader, Sampler

from masr_modules.data.dataio import Unreadable
from masr_modules.data.waiting import Waiting
from masr_modules.distributed import rank, world_size


class RankBatches(Sampler[list[int]]):
    """A sampler of every W-th batch of another sampler, from this rank's number on, for W ranks.

    Every rank gets the same number of batches: if their number is no multiple of W, the first ones
    are repeated at the end.

    Arguments
    ---------
    batches : sampler
        The batches of all ranks; their number may differ between epochs.

    Example
    -------
    >>> list(RankBatches([[0], [1], [2]]))  # one process
    [[0], [1], [2]]
    """

    def __init__(self, batches: Iterable[list[int]]):
        self.batches = batches
        self.skip = 0

    def __len__(self) -> int:
        return -(-len(self.batches) // world_size())

    def __iter__(self) -> Iterator[list[int]]:
        batches = list(self.batches)
        batches += batches[: -len(batches) % world_size()]
        start, self.skip = self.skip, 0
        return iter(batches[rank() + start * world_size() :: world_size()])


def collate(examples: Sequence[Mapping]) -> PaddedBatch:
    """Makes a batch of the examples that could be read.

    Its attribute `unreadable` maps the IDs of the others to the reasons.

    Raises
    ------
    ValueError
        If no example could be read.
    """
    broken = {
        example["id"]: value.reason
        for example in examples
        for value in example.values()
        if isinstance(value, Unreadable)
    }
    good = [example for example in examples if example["id"] not in broken]
    if not good:
        raise ValueError(
            f"nothing of a batch of {len(examples)} could be read (first: "
            f"{next(iter(broken.values()))}): check that the disk is mounted"
        )
    batch = PaddedBatch(good)
    batch.unreadable = broken
    return batch


@register_checkpoint_hooks
class RankLoader(DataLoader):
    """A DataLoader of RankBatches that SpeechBrain's Checkpointer can save inside an epoch.

    It saves the number of batches that all ranks together were given. A run with another number
    of ranks resumes there, or less than one batch per rank earlier.

    Arguments
    ---------
    dataset : Dataset
        All utterances.
    batches : sampler
        The batches of all ranks.
    **options
        Options of a DataLoader, such as `num_workers`.
    """

    def __init__(self, dataset, batches: Iterable[list[int]], **options):
        self.own = RankBatches(batches)
        super().__init__(dataset, batch_sampler=self.own, collate_fn=collate, **options)
        self.given = self.resume_at = 0
        self.waiting = Waiting()

    def __iter__(self) -> Iterator[PaddedBatch]:
        self.given = self.own.skip = self.resume_at
        self.resume_at = 0
        for batch in self.waiting.timed(super().__iter__):
            self.given += 1
            yield batch

    @mark_as_saver
    def save(self, path: str | Path) -> None:
        """Saves how many batches of the epoch all ranks together were given."""
        Path(path).write_text(str(self.given * world_size()), encoding="utf-8")

    @mark_as_loader
    def load(self, path: str | Path, end_of_epoch: bool) -> None:
        """Restores the saved position in the epoch, or the start if the saved epoch had ended."""
        given = int(Path(path).read_text(encoding="utf-8"))
        self.resume_at = 0 if end_of_epoch else given // world_size()
