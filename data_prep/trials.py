"""Lists of speaker verification trials, in one form for every corpus."""

import csv
from collections.abc import Iterable

from data_prep.common import atomic_file

#: IDs of the two utterances, and 1 if one speaker says both, else 0.
TRIAL_COLUMNS = ("enrol", "test", "target")


def write_trials(path: str, trials: Iterable[tuple[str, str, int]]) -> int:
    """Writes trials as a CSV.

    Arguments
    ---------
    path : str
        Path of the CSV, which appears when it is complete.
    trials : iterable of (str, str, int)
        ID to enrol, ID to test, and 1 (same speaker) or 0.

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
