"""What is done with the Debian recordings: which texts to trust, what each task hears, trials."""

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
#: Seed and shares of the sides that sentences are drawn to.
SEED = 1234
SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
#: Speaker verification: whose voices train, validate and test. Only fillets has two known
#: speakers in one language.
VOICES = {"train": "tuxpaint", "valid": "asterisk", "test": "fillets"}
#: Trials of each kind, at most, for each language.
MAX_TRIALS = 2000


def _grouped(rows: Iterable[Row], *columns: str) -> dict[tuple, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[column] for column in columns)].append(row)
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
    """What pretraining, speech recognition and speaker verification hear.

    Every sentence is drawn to one side, the same in all tasks.

    - ``asr``: the utterances with a text, by side.
    - ``speaker``: the voices of a source each (`VOICES`). Validation also has the training
      voices' utterances of its side, for identification.
    - ``pretrain``: no source whose voices validate or test, the others by side. So it
      trains on nothing that a task validates or tests on.

    Arguments
    ---------
    rows : iterable of dict
        Utterances.

    Returns
    -------
    dict of str to dict
        Task -> side -> its utterances.

    Example
    -------
    >>> rows = [
    ...     {"source": s, "sentence": "1", "speaker": s, "text": "one"}
    ...     for s in ("tuxpaint", "asterisk", "fillets")
    ... ]
    >>> {
    ...     task: {side: [row["source"] for row in some] for side, some in sides.items() if some}
    ...     for task, sides in split_tasks(rows).items()
    ... }["speaker"]
    {'train': ['tuxpaint'], 'valid': ['asterisk'], 'test': ['fillets']}
    """
    tasks = {task: {side: [] for side in SPLITS} for task in ("pretrain", "asr", "speaker")}
    role = {source: side for side, source in VOICES.items()}
    for row in rows:
        side, voices = draw_side(f"{SEED}/{row['sentence']}", SHARES), role.get(row["source"])
        if row["text"]:
            tasks["asr"][side].append(row)
        if voices not in ("valid", "test"):
            tasks["pretrain"][side].append(row)
        if row["speaker"] and voices == "train" and side != "test":
            tasks["speaker"][side].append(row)
        elif row["speaker"] and voices in ("valid", "test"):
            tasks["speaker"][voices].append(row)
    return tasks


def speaker_trials(rows: Iterable[Row]) -> list[tuple[str, str, int]]:
    """Pairs of utterances by the same or different speakers, within a language.

    Within a language of one source neither language nor recording chain tells the speaker.

    Arguments
    ---------
    rows : iterable of dict
        Utterances of one source, with known speakers.

    Returns
    -------
    list of (str, str, int)
        Two IDs, and 1 (same) or 0 (different speaker); as many of each kind from a
        language, at most `MAX_TRIALS`.

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
