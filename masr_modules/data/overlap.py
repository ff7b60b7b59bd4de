"""A check for utterances that are in two splits, such as training and test."""

import logging
import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np

from masr_modules.data.corpus import Rows
from masr_modules.data.durations import samples_of
from masr_modules.data.metadata import column_of

logger = logging.getLogger(__name__)

#: Splits that may overlap: the probes' training set is mostly a part of the encoder's.
_MAY_SHARE = {"train", "labelled"}


class _Audio(NamedTuple):
    """Each row's file, whichever path leads to it, its first sample, and the one after its last."""

    files: list[Hashable]
    start: np.ndarray
    stop: np.ndarray


def warn_of_shared(splits: Mapping[str, Rows]) -> dict[tuple[str, str], int]:
    """Warns if two splits have utterances in common, by ID or audio.

    A file is recognised whichever path or link leads to it. Parts of a file that do not overlap
    do not count as common audio. Copies of a file are not recognised.

    Arguments
    ---------
    splits : mapping of str to Rows
        Name of each split -> its rows.

    Returns
    -------
    dict of (str, str) to int
        Pair of splits -> number of utterances of the second that are in the first, if any.

    Example
    -------
    >>> import pyarrow as pa
    >>> train = Rows(pa.table({"ID": ["a", "b"], "wav": ["a.wav", "b.wav"]}))
    >>> test = Rows(pa.table({"ID": ["c", "a"], "wav": ["./b.wav", "d.wav"]}))
    >>> warn_of_shared({"train": train, "test": test})
    {('train', 'test'): 2}
    """
    audio = {split: _audio(rows) for split, rows in splits.items()}
    shared = {}
    for split, other in combinations(splits, 2):
        if {split, other} == _MAY_SHARE:
            continue
        if other == "labelled":
            split, other = other, split
        known = set(_same_audio(audio[split], audio[other])) | {
            row for row, name in enumerate(splits[other]) if name in splits[split]
        }
        if known:
            shared[split, other] = len(known)
            logger.warning(
                "%d of %d utterances of %s are in %s too, by ID or audio (first: %s): figures on "
                "%s are not those of unseen speech; leave the utterances out of one of the two",
                *(len(known), len(splits[other]), other, split),
                *(splits[other].table["ID"][min(known)].as_py(), other),
            )
    return shared


def warn_of_shared_speakers(train: Mapping[str, Mapping], test: Mapping[str, Mapping]) -> int:
    """Warns if speakers of the test set are in the training set, and returns their number.

    Example
    -------
    >>> warn_of_shared_speakers({"a": {"speaker": "s"}}, {"b": {"speaker": "t"}, "c": {}})
    0
    """
    known, tested = ({*column_of(rows, "speaker")} - {""} for rows in (train, test))
    shared = sorted(known & tested)
    if shared:
        logger.warning(
            "%d of %d speakers of test are in train too (first: %s): the table is not that of "
            "unseen speakers",
            *(len(shared), len(tested), shared[0]),
        )
    return len(shared)


def _audio(rows: Rows) -> _Audio:
    wav = rows.table["wav"].combine_chunks().dictionary_encode()
    files = [_identity(file) for file in wav.dictionary.to_pylist()]
    start, stop = (samples_of(rows, column) for column in ("start", "stop"))
    stop = np.where(np.isnan(stop), np.inf, stop)
    return _Audio([files[place] for place in wav.indices.to_numpy()], np.nan_to_num(start), stop)


def _identity(file: str) -> Hashable:
    """Returns a value that is the same for all paths and links to a file."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return os.path.normpath(file)
    return status.st_dev, status.st_ino


def _same_audio(first: _Audio, second: _Audio) -> list[int]:
    """Returns the rows of the second whose audio overlaps with a row of the first."""
    common = set(first.files).intersection(second.files)
    parts = defaultdict(list)
    for row, file in enumerate(first.files) if common else ():
        if file in common:
            parts[file].append((first.start[row], first.stop[row]))
    found = []
    farthest = {file: list(_with_farthest(sorted(spans))) for file, spans in parts.items()}
    for row, file in enumerate(second.files) if common else ():
        spans = farthest.get(file, [])
        before = bisect_left(spans, (second.stop[row],))  # spans that begin before this ends
        if before and spans[before - 1][1] > second.start[row]:
            found.append(row)
    return found


def _with_farthest(spans: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Yields the start of each span, in order, and the farthest end so far."""
    farthest = 0.0
    for start, stop in spans:
        farthest = max(farthest, stop)
        yield start, farthest
