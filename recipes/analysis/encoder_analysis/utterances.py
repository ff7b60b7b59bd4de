"""The utterances of an analysis, whose language has to be known."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masr_modules.data.corpus import load_csv
from masr_modules.knowledge.languages import language_lineage, resolve_language

NO_LANGUAGE, UNKNOWN = "no language", "unknown language code"
UNREADABLE = "unreadable audio"
#: Smallest number of utterances; fewer would have too few neighbours.
LEAST_UTTERANCES = 5


@dataclass
class Utterances:
    """Rows of a CSV with a known language, and the number of those left out.

    Arguments
    ---------
    rows : dict of str to dict
        ID -> row; `language` is an ISO 639-3 code, `family` the top-level family by URIEL+, or "".
    left_out : Counter
        Reason -> number of rows.
    """

    rows: dict[str, dict]
    left_out: Counter

    def column(self, name: str) -> np.ndarray:
        """Returns the (N,) cells of a column, "" where not known."""
        return np.array([row.get(name) or "" for row in self.rows.values()], dtype=np.str_)

    def keep(self, utterances: Sequence[str], reason: str) -> "Utterances":
        """Returns the given utterances, with the others counted as left out for a reason."""
        rows = {utterance: self.rows[utterance] for utterance in utterances}
        gone = Counter({reason: len(self.rows) - len(rows)})
        return Utterances(rows, self.left_out + gone)


def read_utterances(path: str | Path, data_root: str | Path) -> Utterances:
    """Reads a CSV; rows without a language, or with an unknown code, are left out and counted.

    Arguments
    ---------
    path : str or Path
        The CSV, with a column `language`; see `masr_modules.data.corpus.load_csv`.
    data_root : str or Path
        Folder that `$data_root` stands for.

    Returns
    -------
    Utterances
        The rows that are kept, and the number of the others.

    Raises
    ------
    FileNotFoundError
        If there is no such CSV.
    ValueError
        If the CSV has no column `language`, or no row with a known language; the message names
        the file.

    Example
    -------
    >>> path = getfixture("tmp_path") / "test.csv"
    >>> _ = path.write_text("ID,duration,wav,language\\na,1,a.wav,es\\nb,1,b.wav,qqq\\n")
    >>> found = read_utterances(path, "/corpus")
    >>> found.rows["a"]["language"], found.rows["a"]["family"], dict(found.left_out)
    ('spa', 'Indo-European', {'unknown language code': 1})
    """
    read = load_csv(path, data_root)
    if "language" not in read.names:
        raise ValueError(
            f"{path}: no column language (found: {', '.join(read.names)}); the analysis needs one"
        )
    rows, left_out = {}, Counter()
    for utterance, row in read.items():
        code = row["language"]
        iso = _resolve(code)
        if iso is None:
            left_out[UNKNOWN if code else NO_LANGUAGE] += 1
            continue
        family = next(iter(language_lineage(iso)), "")
        rows[utterance] = row | {"language": iso, "family": family}
    if not rows:
        raise ValueError(f"{path}: no row has a known language ({dict(left_out)})")
    return Utterances(rows, left_out)


def check_analysable(utterances: Utterances, path: str | Path) -> None:
    """Checks that there are enough languages and utterances to compare.

    Raises
    ------
    ValueError
        If there is one language only, or fewer utterances than LEAST_UTTERANCES.
    """
    languages = {row["language"] for row in utterances.rows.values()}
    if len(languages) < 2:
        raise ValueError(
            f"{path}: {len(languages)} language with readable audio; the analysis compares "
            "languages"
        )
    if len(utterances.rows) < LEAST_UTTERANCES:
        raise ValueError(
            f"{path}: too few utterances, {len(utterances.rows)}; at least {LEAST_UTTERANCES} "
            "are needed"
        )


def _resolve(code: str) -> str | None:
    try:
        return resolve_language(code)
    except ValueError:
        return None
