"""Comparison of a CSV's durations and segments with the headers of its audio."""

import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from masr_modules.data.corpus import Rows
from masr_modules.data.headers import PADDING

logger = logging.getLogger(__name__)

#: Fraction of a file's length by which headers of compressed audio may be wrong, added to PADDING.
SHARE = 0.02

#: Factor by which a duration differs if it is in another unit than seconds -> the unit.
UNITS = {1e3: "milliseconds", 1e6: "microseconds", 1 / 60: "minutes", 1 / 3600: "hours"}


def find_disagreements(
    rows: Rows, seconds: np.ndarray, rates: np.ndarray
) -> tuple[dict[str, str], int]:
    """Finds rows whose duration or segment disagrees with their audio.

    The segment of a row (`start`, `stop`) has to lie in its file and last as long as `duration`
    says. The duration of a whole file may not be longer than its audio. It may be shorter, as in
    lists of trimmed speech; a warning counts such rows, since the whole file is read. The
    tolerance is 0.1 s and 2 % of the file.

    Arguments
    ---------
    rows : Rows
        N rows, from load_csv.
    seconds : numpy.ndarray
        (N,) durations of their files by the headers, in seconds; NaN where not known.
    rates : numpy.ndarray
        (N,) sample rates of their files, in Hz.

    Returns
    -------
    dict of str to str, int
        ID -> what is wrong; and the number of rows with a shorter duration than their file.

    Raises
    ------
    ValueError
        If half of the rows or more disagree by one factor: durations are in another unit, or
        samples are counted at another rate. The message names column, factor and remedy. It is
        also raised if a `start` or `stop` is not a number of samples.

    Example
    -------
    >>> rows = Rows(pa.table({"ID": ["a", "b"], "duration": [2.0, 2.0], "wav": ["a.wav", "b.wav"]}))
    >>> find_disagreements(rows, np.array([2.0, 1.0]), np.full(2, 16000))
    ({'b': 'duration is 2.000 s, the audio has 1.000 s'}, 0)
    """
    claimed = rows.table["duration"].to_numpy()
    start, stop = samples_of(rows, "start"), samples_of(rows, "stop")
    segment = ~(np.isnan(start) & np.isnan(stop))
    first = np.nan_to_num(start) / rates
    last = np.where(np.isnan(stop), seconds, stop / rates)
    expected = last - first
    tolerance = PADDING + SHARE * np.abs(seconds)
    with np.errstate(invalid="ignore"):  # comparisons with NaN are False
        off = np.abs(claimed - expected) > tolerance
        outside = (last > seconds + tolerance) | (first >= seconds)
        wrong = outside | off & (segment | (claimed > expected))
        _refuse_factor(
            rows, claimed, np.where(off & (expected > 0), expected, np.nan), segment, rates
        )
    if (shorter := off & ~wrong).any():
        logger.warning(
            "%s: %d of %d rows have a duration below that of their audio (first: %s, %.3f s of "
            "%.3f s), which is read whole: give start and stop (samples) of the part that is "
            "meant, or the duration of the whole file",
            *(rows.name, shorter.sum(), len(rows), _id(rows, int(shorter.argmax()))),
            *(claimed[shorter.argmax()], expected[shorter.argmax()]),
        )
    problems = {}
    for row in np.flatnonzero(wrong).tolist():
        what = f"duration is {claimed[row]:.3f} s, the audio has {expected[row]:.3f} s"
        if segment[row]:
            what = (
                f"duration is {claimed[row]:.3f} s, start and stop enclose {first[row]:.3f} s to "
                f"{last[row]:.3f} s of {seconds[row]:.3f} s"
            )
        problems[_id(rows, row)] = what
    return problems, int(shorter.sum())


def _id(rows: Rows, row: int) -> str:
    return rows.table["ID"][row].as_py()


def _refuse_factor(
    rows: Rows,
    claimed: np.ndarray,
    expected: np.ndarray,
    segment: np.ndarray,
    rates: np.ndarray,
) -> None:
    """Raises a ValueError if rows disagree by one factor; `expected` is NaN where a row agrees."""
    off = np.flatnonzero(~np.isnan(expected))
    if not len(off) or len(off) < len(rows) / 2:
        return
    ratios = claimed[off] / expected[off]
    low, factor, high = np.quantile(ratios, (0.1, 0.5, 0.9))
    units = UNITS | {float(np.median(rates[off])): "samples"}
    unit = next((u for f, u in units.items() if f / 1.1 < factor < f * 1.1), None)
    # Ratios of sample rates are exact, while those of trimmed speech differ from file to file.
    if high > low * (1.25 if unit else 1.02) or (unit is None and len(off) < 3):
        return
    problem = f"{rows.name}: of {len(off)} of {len(rows)} rows"
    first = f"(first: {_id(rows, off[0])}, {claimed[off[0]]:g} s for {expected[off[0]]:.3f} s)"
    if unit:
        raise ValueError(
            f"{problem} duration is in {unit} {first}: it must be in seconds; divide it by "
            f"{factor:.4g}"
        )
    if segment[off].mean() > 0.5:
        raise ValueError(
            f"{problem} start and stop do not enclose duration {first}: they count samples at "
            f"another rate than the files have now; multiply them by {factor:.4g}"
        )
    raise ValueError(
        f"{problem} duration is {factor:.4g} times that of the audio {first}: it has another "
        "unit, or is that of another sample rate or part of the file; divide it by the factor, or "
        "give start and stop"
    )


def samples_of(rows: Rows, column: str) -> np.ndarray:
    """Reads a column of numbers of samples.

    Arguments
    ---------
    rows : Rows
        N rows.
    column : str
        `start` or `stop`.

    Returns
    -------
    numpy.ndarray
        (N,) samples; NaN where a cell is empty or there is no such column.

    Raises
    ------
    ValueError
        If a cell is not a number of samples. The message names its utterance.

    Example
    -------
    >>> samples_of(Rows(pa.table({"ID": ["a", "b"], "stop": ["16000", ""]})), "stop")
    array([16000.,    nan])
    """
    if column not in rows.table.column_names:
        return np.full(len(rows), np.nan)
    cells = rows.table[column].cast(pa.string())
    empty = pc.equal(cells, "")
    digits = pc.or_(empty, pc.utf8_is_decimal(cells))
    if not pc.all(digits).as_py():
        row = pc.index(digits, False).as_py()
        raise ValueError(
            f"{rows.name}: {column} of {_id(rows, row)} is {cells[row].as_py()!r}, which is no "
            "number of samples; leave start and stop empty if the file is one utterance"
        )
    return pc.if_else(empty, "nan", cells).cast(pa.float64()).to_numpy()
