"""The time that training waits for its batches."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Batch = TypeVar("Batch")


class Waiting:
    """A clock of the seconds in which an epoch's loop waits for batches.

    Work between two batches, such as saving a checkpoint, is not waiting.

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
            Returns the batches. The time that it takes, such as to start workers, is waiting too.
        """
        self.began, self.waited = time.perf_counter(), 0.0
        asked = self.began
        for batch in start():
            self.waited += time.perf_counter() - asked
            yield batch
            asked = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the epoch began."""
        return time.perf_counter() - self.began

    def share(self) -> float:
        """Returns the fraction of the time since the epoch began in which the loop waited."""
        return self.waited / self.seconds
