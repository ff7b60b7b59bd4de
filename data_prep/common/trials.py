"""Lists of speaker verification trials, in one form for every corpus."""

import contextlib
import csv
import os
from collections.abc import Iterable

from masr_modules.config.files import atomic_file
from masr_modules.data.csv_text import clean_header, strict_rows, text_lines
from masr_modules.data.labels import trim_cell

#: Columns: IDs of the two utterances, and 1 if the same speaker says both, else 0.
TRIAL_COLUMNS = ("enrol", "test", "target")

_FORM = f"a list of trials has the columns {','.join(TRIAL_COLUMNS)}"


def trials_path(save_folder: str, name: str) -> str:
    """Returns the path of a list of trials.

    Example
    -------
    >>> trials_path("csv", "O_cleaned")
    'csv/trials_O_cleaned.csv'
    """
    return os.path.join(save_folder, f"trials_{name}.csv")


def remove_trials(save_folder: str, names: Iterable[str]) -> None:
    """Removes the lists of an earlier run, which name utterances of CSVs that are replaced."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.remove(trials_path(save_folder, name))


def write_trials(path: str, trials: Iterable[tuple[str, str, int]]) -> int:
    """Writes trials as a CSV.

    Arguments
    ---------
    path : str
        Path of the CSV, which appears when it is complete.
    trials : iterable of (str, str, int)
        ID of the enrolment utterance, ID of the test utterance, and 1 (same speaker) or 0.

    Returns
    -------
    int
        Number of trials.

    Example
    -------
    >>> path = str(getfixture("tmp_path") / "trials.csv")
    >>> write_trials(path, [("a", "b", 1)])
    1
    >>> open(path).read()
    'enrol,test,target\\na,b,1\\n'
    """
    count = 0
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(TRIAL_COLUMNS)
        for count, trial in enumerate(trials, start=1):  # noqa: B007
            writer.writerow(trial)
    return count


def read_trials(path: str) -> list[tuple[str, str, int]]:
    """Reads trials from a CSV that `write_trials` wrote, or one of the same form.

    Arguments
    ---------
    path : str
        Path of the CSV: columns `enrol` and `test` (IDs) and `target` (1 or 0); others are
        ignored.

    Returns
    -------
    list of (str, str, int)
        ID of the enrolment utterance, ID of the test utterance, and 1 (same speaker) or 0.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing, a cell is empty or wrong, or there is no trial; the message names
        the file, the line and the column.

    Example
    -------
    >>> path = str(getfixture("tmp_path") / "trials.csv")
    >>> _ = write_trials(path, [("a", "b", 1), ("a", "c", 0)])
    >>> read_trials(path)
    [('a', 'b', 1), ('a', 'c', 0)]
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{path}: no such list of trials; a preparation that makes trials writes it beside "
            "test.csv"
        )
    rows = strict_rows(text_lines(path), path)
    found = clean_header(next(rows, (1, []))[1], path)
    if missing := [column for column in TRIAL_COLUMNS if column not in found]:
        raise ValueError(
            f"{path}, line 1: no column {', '.join(missing)} (found: "
            f"{', '.join(found) or 'none'}); {_FORM}"
        )
    trials = [_parse_trial(found, cells, f"{path}, line {line}") for line, cells in rows if cells]
    if not trials:
        raise ValueError(
            f"{path}: no trial; the test set it was written for needs utterances of two or more "
            "known speakers"
        )
    return trials


def _parse_trial(names: list[str], row: list[str], where: str) -> tuple[str, str, int]:
    if len(row) > len(names):
        raise ValueError(f"{where}: more cells than columns; {_FORM}, quote IDs that hold a comma")
    cells = dict.fromkeys(names, "") | dict(zip(names, map(trim_cell, row), strict=False))
    for column in ("enrol", "test"):
        if not cells[column]:
            raise ValueError(f"{where}: column {column} is empty; give the ID of an utterance")
    if cells["target"] not in ("0", "1"):
        raise ValueError(
            f"{where}: column target is {cells['target']!r}; give 1 (same speaker) or 0"
        )
    return cells["enrol"], cells["test"], int(cells["target"])
