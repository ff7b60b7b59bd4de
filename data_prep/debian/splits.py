"""Checks of the Debian recordings' texts, the splits of each task, and trials of speakers."""

import random
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

import numpy as np

from data_prep.common.corpus import SPLITS
from data_prep.common.skips import SkipRegister
from data_prep.common.splits import draw_split

#: One utterance: column -> value.
Row = dict[str, object]

#: Texts of a source and language are kept only where the correlation of text length and duration
#: is at least this.
MIN_CORRELATION = 0.9
#: With fewer texts in a source and language, none is kept, as the correlation cannot be checked.
MIN_TEXTS = 20
#: A single text is kept where the duration is within this factor of the expected one.
MAX_RATIO = 2.0
#: Seed and fractions of the splits to which sentences are drawn.
SEED = 1234
SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
#: Speaker verification: split -> the source whose speakers it has. Only fillets has two known
#: speakers in one language.
SPEAKER_SOURCES = {"train": "tuxpaint", "valid": "asterisk", "test": "fillets"}
#: Largest number of trials of each kind (same or different speaker) for each language.
MAX_TRIALS = 2000


def _grouped(rows: Iterable[Row], *columns: str) -> dict[tuple, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[column] for column in columns)].append(row)
    return dict(groups)


def check_texts(rows: list[Row], skips: SkipRegister) -> None:
    """Clear texts that do not fit the durations, whose recordings must hold other words.

    In each source and language, a line is fitted to the durations as a function of the number
    of characters. All texts are cleared where the correlation is below `MIN_CORRELATION` or there
    are fewer than `MIN_TEXTS`; otherwise, single texts far from the line (`MAX_RATIO`).

    Arguments
    ---------
    rows : list of dict
        Utterances; their ``text`` is cleared in place.
    skips : SkipRegister
        Notes cleared texts.

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
    written = [row for row in rows if row["text"]]
    for group, members in _grouped(written, "source", "language").items():
        lengths = np.array([len(row["text"]) for row in members], dtype=float)
        durations = np.array([row["duration"] for row in members], dtype=float)
        varied = len(members) >= MIN_TEXTS and np.ptp(lengths) > 0 and np.ptp(durations) > 0
        r = float(np.corrcoef(lengths, durations)[0, 1]) if varied else float("nan")
        misfit = np.ones(len(members), dtype=bool)
        if r >= MIN_CORRELATION:
            slope, offset = np.polyfit(lengths, durations, 1)
            ratio = durations / np.maximum(slope * lengths + offset, 1e-3)
            misfit = (ratio > MAX_RATIO) | (ratio < 1 / MAX_RATIO)
        for row, wrong in zip(members, misfit, strict=True):
            if wrong:
                reason = "text cleared, its length does not fit the recording"
                skips.note(f"{' '.join(group)}: {reason} (r = {r:.2f})", row["ID"])
                row["text"] = ""


def split_tasks(rows: Iterable[Row]) -> dict[str, dict[str, list[Row]]]:
    """Make the splits of pretraining, speech recognition and speaker verification.

    Every sentence is drawn to one split, the same in all tasks.

    - ``asr``: the utterances with a text, by split.
    - ``speaker``: each split has the known speakers of one source (`SPEAKER_SOURCES`). Validation
      also has the training speakers' utterances of its sentences, for identification.
    - ``pretrain``: all sources but those whose speakers validate and test, by split. So it trains
      on nothing that a task validates or tests on.

    Arguments
    ---------
    rows : iterable of dict
        Utterances.

    Returns
    -------
    dict of str to dict
        Task -> split -> its utterances.

    Example
    -------
    >>> rows = [
    ...     {"source": s, "sentence": "1", "speaker": s, "text": "one"}
    ...     for s in ("tuxpaint", "asterisk", "fillets")
    ... ]
    >>> {
    ...     task: {split: [row["source"] for row in some] for split, some in splits.items() if some}
    ...     for task, splits in split_tasks(rows).items()
    ... }["speaker"]
    {'train': ['tuxpaint'], 'valid': ['asterisk'], 'test': ['fillets']}
    """
    tasks = {task: {split: [] for split in SPLITS} for task in ("pretrain", "asr", "speaker")}
    role = {source: split for split, source in SPEAKER_SOURCES.items()}
    for row in rows:
        split, use = draw_split(f"{SEED}/{row['sentence']}", SHARES), role.get(row["source"])
        if row["text"]:
            tasks["asr"][split].append(row)
        if use not in ("valid", "test"):
            tasks["pretrain"][split].append(row)
        if row["speaker"] and use == "train" and split != "test":
            tasks["speaker"][split].append(row)
        elif row["speaker"] and use in ("valid", "test"):
            tasks["speaker"][use].append(row)
    return tasks


def speaker_trials(rows: Iterable[Row]) -> list[tuple[str, str, int]]:
    """Draw pairs of utterances by the same or different speakers, within a language.

    Within a language of one source, neither language nor recording chain reveals the speaker.

    Arguments
    ---------
    rows : iterable of dict
        Utterances of one source, with known speakers.

    Returns
    -------
    list of (str, str, int)
        Two IDs, and 1 (same) or 0 (different speaker); each language gives the same number of
        both kinds, at most `MAX_TRIALS` of each.

    Example
    -------
    >>> rows = [{"ID": i, "language": "nld", "speaker": i[0]} for i in ("a1", "a2", "b1")]
    >>> speaker_trials(rows)
    [('a1', 'a2', 1), ('a1', 'b1', 0)]
    """
    trials = []
    for (language,), members in sorted(_grouped(rows, "language").items()):
        pairs = {1: [], 0: []}
        for a, b in combinations(members, 2):
            pairs[int(a["speaker"] == b["speaker"])].append((a["ID"], b["ID"]))
        count = min(MAX_TRIALS, *map(len, pairs.values()))
        generator = random.Random(f"{SEED}/{language}")
        for target, found in pairs.items():
            trials += [(*pair, target) for pair in sorted(generator.sample(found, count))]
    return trials
