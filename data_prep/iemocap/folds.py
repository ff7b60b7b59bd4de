"""The folds of IEMOCAP.

Each fold has its folder ``foldN`` with ``train.csv``, ``valid.csv`` and ``test.csv``:

- ``leave_out=superb`` makes five folds, as SUPERB does (Yang et al., Interspeech 2021, arXiv
  2105.01051; s3prl). Fold N tests on session N, and a fifth of the other sessions'
  utterances, drawn at random, validates. Most published figures have this protocol, with the
  four classes. Only the test set has unseen speakers: those of the validation set are in
  train too, so validation accuracy is higher than test accuracy will be. The utterances that
  validate differ from s3prl's draw.
- ``leave_out=session`` makes five folds. Fold N tests on session N and validates on the next
  one. No speaker is in two splits, which is stricter and leaves less to train on.
- ``leave_out=speaker`` makes ten folds. Each tests on one speaker (Ses01F is fold 1, Ses01M
  fold 2, ...) and validates on the other speaker of that session, so that no speaker of the
  session is in train.
"""

import json
import logging
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.common.checks import check_disjoint
from data_prep.common.corpus import SPLITS
from data_prep.common.writing import SETTINGS_FILE

logger = logging.getLogger(__name__)

SESSIONS = (1, 2, 3, 4, 5)

#: leave_out -> columns that no two splits of a fold share.
DISJOINT = {"superb": (), "session": ("speaker", "session"), "speaker": ("speaker",)}

#: Fraction of the utterances of the four training sessions that `superb` validates on.
VALID_SHARE = 0.2


def make_folds(leave_out: str) -> dict[str, dict[str, str]]:
    """Lists the session or speaker on which each fold tests and validates.

    Arguments
    ---------
    leave_out : str
        `superb`, `session` or `speaker`.

    Returns
    -------
    dict of str to dict
        Name of the fold -> session or speaker -> `valid` or `test`; all others are `train`,
        from which `superb` draws its validation set.

    Example
    -------
    >>> make_folds("superb")["fold5"]
    {'Session5': 'test'}
    >>> make_folds("session")["fold5"]
    {'Session5': 'test', 'Session1': 'valid'}
    >>> make_folds("speaker")["fold2"]
    {'iemocap_Ses01M': 'test', 'iemocap_Ses01F': 'valid'}
    """
    if leave_out == "speaker":
        speakers = [(f"iemocap_Ses0{n}F", f"iemocap_Ses0{n}M") for n in SESSIONS]
        held_out = [pair for woman, man in speakers for pair in ((woman, man), (man, woman))]
    elif leave_out == "session":
        held_out = [(f"Session{n}", f"Session{n % len(SESSIONS) + 1}") for n in SESSIONS]
    else:
        held_out = [(f"Session{n}",) for n in SESSIONS]
    return {
        f"fold{number}": dict(zip(names, ("test", "valid"), strict=False))
        for number, names in enumerate(held_out, start=1)
    }


def assign_splits(
    rows: Sequence[dict], splits: Mapping[str, str], leave_out: str, key: str
) -> list[tuple[str, dict]]:
    """Assigns every row to a split of a fold.

    Arguments
    ---------
    rows : sequence of dict
        Rows of the whole corpus.
    splits : mapping of str to str
        Session or speaker -> split in the fold, from `make_folds`.
    leave_out : str
        `superb`, `session` or `speaker`.
    key : str
        Seed and fold, by which the validation set of `superb` is drawn.

    Returns
    -------
    list of (str, dict)
        Split and row.

    Raises
    ------
    AssertionError
        If a test speaker or session of `superb` is in another split; `write_corpus` checks
        the other protocols.
    """
    column = "speaker" if leave_out == "speaker" else "session"
    assigned = [(splits.get(row[column], "train"), row) for row in rows]
    if leave_out != "superb":
        return assigned
    learned = sorted(row["ID"] for split, row in assigned if split == "train")
    valid = set(random.Random(key).sample(learned, round(VALID_SHARE * len(learned))))
    assigned = [("valid" if row["ID"] in valid else split, row) for split, row in assigned]
    halves = {"train or valid": [], "test": []}
    for split, row in assigned:
        halves["test" if split == "test" else "train or valid"].append(row)
    for column in ("speaker", "session"):
        check_disjoint(halves, (column,))
    return assigned


def remove_stale_folds(save_folder: str, settings: Mapping) -> list[str]:
    """Removes what an earlier preparation with other settings wrote into `foldN`.

    Otherwise, five of ten earlier folds would remain beside five new ones and be read by mistake.
    Only the CSVs and the settings file are removed, and only from folders whose settings are of
    this corpus and have no key beyond those of `settings`.

    Arguments
    ---------
    save_folder : str
        Folder of the folds.
    settings : mapping
        Settings of the preparation that is about to write, as `write_corpus` saves them.

    Returns
    -------
    list of str
        Names of the folds whose CSVs were removed.

    Example
    -------
    >>> from data_prep.common.writing import write_corpus
    >>> folder = getfixture("tmp_path")
    >>> _ = write_corpus(str(folder / "fold7"), [], {"leave_out": "speaker"})
    >>> remove_stale_folds(str(folder), {"leave_out": "session"})
    ['fold7']
    >>> list(folder.iterdir())
    []
    """
    removed = []
    for path in sorted(Path(save_folder).glob(f"fold*/{SETTINGS_FILE}")):
        folder = path.parent
        saved = _read(path)
        ours = re.fullmatch(r"fold\d+", folder.name) and saved and saved.keys() <= settings.keys()
        corpus = settings.get("corpus")
        if (
            not ours
            or saved.get("corpus", corpus) != corpus
            or saved == json.loads(json.dumps(settings))
        ):
            continue
        for split in SPLITS:
            (folder / f"{split}.csv").unlink(missing_ok=True)
        path.unlink()  # last, so that the next run finishes an interrupted removal
        if not any(folder.iterdir()):
            folder.rmdir()
        removed.append(folder.name)
    if removed:
        logger.info("%s: removed the CSVs of other settings: %s", save_folder, ", ".join(removed))
    return removed


def _read(path: Path) -> dict:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return saved if isinstance(saved, dict) else {}
