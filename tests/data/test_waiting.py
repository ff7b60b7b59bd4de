"""The part of an epoch that its loop waits for batches."""

import pytest

from masr_modules.data import waiting
from masr_modules.data.waiting import Waiting


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test lets pass."""
    now = [0.0]
    monkeypatch.setattr(waiting.time, "perf_counter", lambda: now[0])
    return now


def test_what_a_loader_takes_is_waited_and_what_the_loop_takes_is_not(clock):
    def start():
        clock[0] += 2  # its workers
        for batch in "ab":
            clock[0] += 1
            yield batch

    measured = Waiting()
    for _ in measured.timed(start):
        clock[0] += 3
    assert (measured.waited, measured.seconds) == (4, 10)
    assert measured.share() == 0.4


def test_a_loop_that_ends_early_counts_its_last_batch(clock):
    measured = Waiting()
    for _ in measured.timed(lambda: iter("ab")):
        clock[0] += 3
        break
    assert (measured.waited, measured.seconds) == (0, 3)


def test_each_epoch_starts_anew(clock):
    def start():
        clock[0] += 1
        return "a"

    measured = Waiting()
    for _ in range(2):
        for _ in measured.timed(start):
            clock[0] += 1
        assert measured.share() == 0.5
