"""What is done with the Debian recordings: which texts to trust, which side, which trials."""

import random
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

import numpy as np

from data_prep.common.corpus import SPLITS
from data_prep.common.skips import SkipRegister
from data_prep.common.splits import draw_side

#: One utterance: column -> value.
Row = dict[str, object]

#: Texts of a source and language are kept where their length goes with the duration.
MIN_CORRELATION = 0.9
#: Fewer texts cannot be checked.
MIN_TEXTS = 20
#: A single text is kept where the duration is within this factor of the expected one.
MAX_RATIO = 2.0
#: Shares of the random split.
SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
#: Trials of each kind, at most, for each source and language.
MAX_TRIALS = 2000


def _grouped(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row["source"], row["language"]].append(row)
    return dict(groups)


def check_texts(rows: list[Row], skips: SkipRegister) -> None:
    """Clear texts that do not fit the durations: other words are said than are written.

    In each source and language the durations are fitted by a line in the number
    of characters. All texts go where the correlation is below `MIN_CORRELATION`
    or there are too few to tell; else single texts far from the line.

    Arguments
    ---------
    rows : list of dict
        Utterances; their ``text`` is cleared in place.
    skips : SkipRegister
        Where cleared texts are counted.

    Example
    -------
    >>> rows = [
    ...     {"ID": n, "source": "a", "language": "fra", "text": "x" * n, "duration": 0.1 * n + 0.5}
    ...     for n in range(1, 31)
    ... ]
    >>> rows[9]["duration"] = 3.5
    >>> skips = SkipRegister()
    >>> check_texts(rows, skips)
    >>> rows[8]["text"], rows[9]["text"], skips.noted.total()
    ('xxxxxxxxx', '', 1)
    """
    for group, members in _grouped(row for row in rows if row["text"]).items():
        lengths = np.array([len(row["text"]) for row in members], dtype=float)
        durations = np.array([row["duration"] for row in members], dtype=float)
        varied = len(members) >= MIN_TEXTS and np.ptp(lengths) > 0 and np.ptp(durations) > 0
        r = float(np.corrcoef(lengths, durations)[0, 1]) if varied else float("nan")
        if r >= MIN_CORRELATION:
            slope, offset = np.polyfit(lengths, durations, 1)
            ratio = durations / np.maximum(slope * lengths + offset, 1e-3)
            misfit = (ratio > MAX_RATIO) | (ratio < 1 / MAX_RATIO)
        else:
            misfit = np.ones(len(members), dtype=bool)
        for row, wrong in zip(members, misfit, strict=True):
            if wrong:
                reason = "text cleared, its length does not fit the recording"
                skips.note(f"{' '.join(group)}: {reason} (r = {r:.2f})", row["ID"])
                row["text"] = ""


def split_random(rows: list[Row], seed: int) -> dict[str, list[Row]]:
    """Split at random: the same sources and voices on all sides.

    A probe of language on this split measures the recording channel and the
    voice: nearly every language has a source and a voice of its own. A sentence
    that is said several times stays on one side.

    Arguments
    ---------
    rows : list of dict
        Utterances.
    seed : int
        The side of an utterance depends on it and the sentence alone.

    Returns
    -------
    dict of str to list of dict
        The sides.
    """
    sides: dict[str, list[Row]] = {side: [] for side in SPLITS}
    for row in rows:
        sides[draw_side(f"{seed}/{row['sentence'] or row['recording']}", SHARES)].append(row)
    return sides


def split_by_source(
    rows: list[Row], test_sources: Iterable[str], valid_sources: Iterable[str]
) -> dict[str, list[Row]]:
    """Split by source: every source is on one side.

    Validation and test have the languages that a training source has; others
    are left out.

    Arguments
    ---------
    rows : list of dict
        Utterances.
    test_sources, valid_sources : iterable of str
        Sources of the test and of the validation set; the others train.

    Returns
    -------
    dict of str to list of dict
        The sides.

    Raises
    ------
    ValueError
        If a source is on both lists, or a side is empty.

    Example
    -------
    >>> rows = [
    ...     {"source": "a", "language": "fra"}, {"source": "b", "language": "fra"},
    ...     {"source": "b", "language": "deu"}, {"source": "c", "language": "fra"},
    ...     {"source": "c", "language": "deu"},
    ... ]
    >>> sides = split_by_source(rows, ["c"], ["b"])
    >>> {side: [f"{r['source']} {r['language']}" for r in of] for side, of in sides.items()}
    {'train': ['a fra'], 'valid': ['b fra'], 'test': ['c fra']}
    """
    test_sources, valid_sources = set(test_sources), set(valid_sources)
    both = test_sources & valid_sources
    if both:
        raise ValueError(f"{', '.join(sorted(both))}: in test_sources and in valid_sources")
    held_out = test_sources | valid_sources
    sides = {"train": [row for row in rows if row["source"] not in held_out]}
    trained = {row["language"] for row in sides["train"]}
    for side, sources in (("valid", valid_sources), ("test", test_sources)):
        sides[side] = [r for r in rows if r["source"] in sources and r["language"] in trained]
    for side, members in sides.items():
        if not members:
            raise ValueError(
                f"no utterance in {side}: test_sources {sorted(test_sources)} and valid_sources "
                f"{sorted(valid_sources)} leave none of the sources there are "
                f"({', '.join(sorted({str(row['source']) for row in rows}))})"
            )
    return sides


def speaker_trials(rows: list[Row], seed: int) -> list[tuple[str, str, int]]:
    """Pairs of utterances by the same or different speakers, within source and language.

    Within them the recording chain and the language tell nothing about the speaker.

    Arguments
    ---------
    rows : list of dict
        Utterances of one side.
    seed : int
        Of the choice among the pairs.

    Returns
    -------
    list of (str, str, int)
        Two IDs, and 1 (same) or 0 (different speaker); as many of each kind from a
        source and language, at most `MAX_TRIALS`. Empty where no source and
        language has two known speakers.

    Example
    -------
    >>> rows = [
    ...     {"ID": i, "source": "s", "language": "nld", "speaker": i[0]} for i in ("a1", "a2", "b1")
    ... ]
    >>> speaker_trials(rows, 1)
    [('a1', 'a2', 1), ('a1', 'b1', 0)]
    """
    trials = []
    for group, members in sorted(_grouped(row for row in rows if row["speaker"]).items()):
        pairs = {0: [], 1: []}
        for a, b in combinations(members, 2):
            pairs[int(a["speaker"] == b["speaker"])].append((a["ID"], b["ID"]))
        count = min(MAX_TRIALS, len(pairs[0]), len(pairs[1]))
        generator = random.Random(f"{seed}/{'/'.join(group)}")
        for target in (1, 0):
            trials += [(*pair, target) for pair in sorted(generator.sample(pairs[target], count))]
    return trials
