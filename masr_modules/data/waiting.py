"""How long training waits for its batches."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Batch = TypeVar("Batch")


class Waiting:
    """The seconds of an epoch in which its loop waited for batches.

    What comes between two batches, such as a checkpoint, is not waited for.

    Example
    -------
    >>> waiting = Waiting()
    >>> for batch in waiting.timed(lambda: [1, 2]):
    ...     time.sleep(0.01)
    >>> waiting.share() < 0.5
    True
    """

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.waited = 0.0

    def timed(self, start: Callable[[], Iterable[Batch]]) -> Iterator[Batch]:
        """Yields the batches of an epoch.

        Arguments
        ---------
        start : callable
            Gives the batches; what it takes itself, such as to start workers, is waited for too.
        """
        self.began, self.waited = time.perf_counter(), 0.0
        asked = self.began
        for batch in start():
            self.waited += time.perf_counter() - asked
            yield batch
            asked = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the epoch began."""
        return time.perf_counter() - self.began

    def share(self) -> float:
        """What was waited, as a fraction of the seconds since the epoch began."""
        return self.waited / self.seconds
