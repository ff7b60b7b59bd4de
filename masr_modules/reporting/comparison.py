"""Differences between systems in the record of pretraining: means with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np

from masr_modules.metrics.intervals import Difference, paired_difference
from masr_modules.metrics.tables import CORPORA_COLUMNS, KINDS, PRETRAIN_COLUMNS, align
from masr_modules.reporting.pretrain_record import RATES, STRATA, PretrainRun, System, correctness
from masr_modules.reporting.runs import Record


def difference(
    record: Record[PretrainRun],
    ours: System,
    theirs: System,
    metric: str,
    rows: Mapping[str, Mapping[str, str]],
    only: Sequence[str] | None = None,
) -> Difference | None:
    """Computes the mean difference of two systems, ours less theirs, with its 95 % interval.

    Arguments
    ---------
    record : Record
        The record of pretraining.
    ours, theirs : (str, str, str)
        Fingerprint, SSL method and name of each system.
    metric : str
        A key of STRATA, or one of RATES.
    rows : mapping
        The labels of the test set, from load_labels.
    only : sequence of str, optional
        Labels of the metric's column: the mean is over these alone.

    Returns
    -------
    Difference or None
        The mean over the seeds that both systems have; None if they have no seed in common.
    """
    mine, other = (correctness(record, system, metric) for system in (ours, theirs))
    seeds = sorted(set(mine) & set(other))
    if not seeds:
        return None
    return interval({s: mine[s] - other[s] for s in seeds}, metric, rows, only)


def estimate(
    record: Record[PretrainRun],
    system: System,
    metric: str,
    rows: Mapping[str, Mapping[str, str]],
    seeds: Sequence[int],
    only: Sequence[str] | None = None,
) -> Difference | None:
    """Computes a system's mean over seeds with its 95 % interval.

    Arguments
    ---------
    record, system, metric, rows, only
        See `difference`.
    seeds : sequence of int
        The seeds to use, as far as they are recorded.

    Returns
    -------
    Difference or None
        The mean; None if no seed is recorded with the metric.
    """
    values = {s: v for s, v in correctness(record, system, metric).items() if s in seeds}
    if not values:
        return None
    return interval(values, metric, rows, only)


def interval(
    values: Mapping[int, np.ndarray],
    metric: str,
    rows: Mapping[str, Mapping[str, str]],
    only: Sequence[str] | None = None,
) -> Difference:
    """Computes the mean of a metric over seeds, with its 95 % interval.

    Arguments
    ---------
    values : mapping
        Seed -> (N,) values: of speakers for the EER, of test utterances for all other metrics. NaN
        where nothing was evaluated.
    metric, rows, only
        See `difference`.
    """
    count = len(next(iter(values.values())))
    groups = np.full(count, "")
    if metric in RATES:
        strata = np.full(count, "")
        speakers = np.arange(count).astype(str)
    else:
        if len(rows) != count:
            raise ValueError(f"{metric}: correctness of {count}, but {len(rows)} test utterances")
        strata = np.array([row[STRATA[metric]] for row in rows.values()])
        speakers = np.array([row["speaker"] for row in rows.values()])
        groups = np.array([row.get("corpus", "") for row in rows.values()])
    asked = np.ones(count, dtype=bool) if only is None else np.isin(strata, only)
    nothing = {seed: np.zeros(asked.sum()) for seed in values}
    values = {seed: value[asked] for seed, value in values.items()}
    return paired_difference(values, nothing, strata[asked], speakers[asked], groups=groups[asked])


def table_columns(rows: Mapping[str, Mapping[str, str]]) -> tuple[tuple[str, str, str], ...]:
    """Returns title, metric and kind of a table's columns, for a pool of corpora or one test set.

    Arguments
    ---------
    rows : mapping
        The labels of the test set, from load_labels.
    """
    return CORPORA_COLUMNS if "corpus" in next(iter(rows.values()), {}) else PRETRAIN_COLUMNS


def compare_table(
    record: Record[PretrainRun],
    ours: System,
    others: Sequence[System],
    rows: Mapping[str, Mapping[str, str]],
    only: Sequence[str] | None = None,
) -> str:
    """Makes a Markdown table of ours less each other system, with 95 % intervals if there are any.

    Arguments
    ---------
    record, ours, rows
        See `difference`.
    others : sequence of (str, str, str)
        The systems to compare with, as `theirs` of `difference`.
    only : sequence of str, optional
        The languages that the metrics of the language are over; by default all.
    """
    columns = [column for column in table_columns(rows) if column[1] in (*STRATA, *RATES)]
    header = [f"{ours[-1]} less", "seeds", *(title for title, _, _ in columns)]
    body = []
    for other in others:
        cells = []
        for _, metric, kind in columns:
            languages = only if STRATA.get(metric) == "language" else None
            found = difference(record, ours, other, metric, rows, languages)
            cells.append("" if found is None else format_difference(found, kind))
        common = set(record.seeds(ours)) & set(record.seeds(other))
        body.append([other[-1], str(len(common)), *cells])
    return align(header, body)


def format_difference(found: Difference, kind: str) -> str:
    """Formats a mean with its sign and, if there is one, its interval.

    Example
    -------
    >>> format_difference(Difference(0.012, -0.001, 0.025), "share")
    '+1.2 [-0.1, +2.5]'
    >>> format_difference(Difference(0.012, float("nan"), float("nan")), "share")
    '+1.2'
    """
    scale, digits, _ = KINDS[kind]
    mean, low, high = (f"{scale * value:+.{digits}f}" for value in found)
    return f"{mean} [{low}, {high}]" if np.isfinite(found.low) else mean
