"""The table `segments` of a Kaldi data directory: utterances that are parts of recordings."""

import math
from collections.abc import Iterator

from data_prep.common.skips import SkipRegister
from data_prep.kaldi.tables import Entry
from masr_modules.data.headers import PADDING, AudioInfo


def read_segment(entry: Entry) -> tuple[str, float, float]:
    """Reads an entry of `segments`.

    Arguments
    ---------
    entry : Entry
        Recording, start and end in seconds; an end of -1 means the recording's end.

    Returns
    -------
    (str, float, float)
        Recording, start and end in seconds; infinity stands for the recording's end.

    Raises
    ------
    ValueError
        If the entry has another form, or does not end after its start; the message names file
        and line.

    Example
    -------
    >>> read_segment(Entry("r1 0.5 2.25", "segments, line 1"))
    ('r1', 0.5, 2.25)
    """
    recording, *times = entry.value.split() or [""]
    try:
        start, end = map(float, times)
    except ValueError:
        start = end = math.nan
    end = math.inf if end == -1 else end
    if not 0 <= start < end:
        raise ValueError(
            f"{entry.where}: {entry.value!r} is no segment: RECORDING START END is expected, in "
            "seconds, with an END above START (or -1: to the recording's end)"
        )
    return recording, start, end


def cut(row: dict, info: AudioInfo, skips: SkipRegister) -> Iterator[dict]:
    """Adds to a row the part of the recording that its segment is.

    Arguments
    ---------
    row : dict
        Row of an utterance; `segment`, where there is one, has start and end in seconds.
    info : AudioInfo
        Header of the recording.
    skips : SkipRegister
        Counts segments that do not lie in their recording.

    Yields
    ------
    dict
        The row: `start` and `stop` are the first sample and the one after the last, at the
        recording's sample rate. Nothing is yielded where the segment is not within the recording.

    Example
    -------
    >>> row = {"ID": "a", "wav": "$data_root/r.wav", "segment": (0.5, 2.0)}
    >>> list(cut(row, AudioInfo(8.0, 16000, 1), SkipRegister()))[0]["stop"]
    32000
    """
    segment = row.pop("segment", None)
    if segment is None:
        yield row
        return
    start, end = segment
    first, stop = (round(min(s, info.duration) * info.sample_rate) for s in segment)
    if first >= stop or info.duration + PADDING < end < math.inf:
        skips.kept -= 1  # `add_durations` counted it as kept when it read the recording's header
        case = f"{row['ID']}: {start:g} to {end:g} s of {info.duration:.3f} s"
        skips.skip("segment is not within its recording", case)
    else:
        yield row | {
            "duration": (stop - first) / info.sample_rate,
            "start": first,
            "stop": stop,
        }
