"""How far one system is above another, from the record of pretraining: means with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np

from masr_modules.metrics.intervals import Difference, paired_bootstrap
from masr_modules.metrics.tables import KINDS, PRETRAIN_COLUMNS, align
from masr_modules.reporting.pretrain_record import STRATA, PretrainRun, System, correctness
from masr_modules.reporting.runs import Record


def difference(
    record: Record[PretrainRun],
    ours: System,
    theirs: System,
    metric: str,
    rows: Mapping[str, Mapping[str, str]],
    only: Sequence[str] | None = None,
) -> Difference | None:
    """How far a system is above another, with its interval; None where it was not measured.

    Arguments
    ---------
    record : Record
        Of pretraining.
    ours, theirs : (str, str, str)
        Fingerprint, SSL method and name of each system.
    metric : str
        A key of STRATA, or speaker_eer.
    rows : mapping
        The test set, from load_labels.
    only : sequence of str, optional
        Values of the metric's column: the mean is over these alone.
    """
    mine, other = (correctness(record, system, metric) for system in (ours, theirs))
    if not set(mine) & set(other):
        return None
    count = len(next(iter(mine.values())))
    strata = _strata(metric, rows, count)
    asked = _asked(strata, only)
    mine, other = ({s: v[asked] for s, v in run.items()} for run in (mine, other))
    return paired_bootstrap(mine, other, strata[asked])


def _strata(metric: str, rows: Mapping[str, Mapping[str, str]], count: int) -> np.ndarray:
    """(count,) label of each test utterance; of the EER's speakers, all alike."""
    if metric == "speaker_eer":
        return np.array([""] * count)
    strata = np.array([row[STRATA[metric]] for row in rows.values()])
    if len(strata) != count:
        raise ValueError(f"{metric}: correctness of {count}, but {len(strata)} test utterances")
    return strata


def _asked(strata: np.ndarray, only: Sequence[str] | None) -> np.ndarray:
    """(count,) bool: which items the mean is over."""
    return np.ones(len(strata), dtype=bool) if only is None else np.isin(strata, only)


def estimate(
    record: Record[PretrainRun],
    system: System,
    metric: str,
    rows: Mapping[str, Mapping[str, str]],
    seeds: Sequence[int],
    only: Sequence[str] | None = None,
) -> Difference | None:
    """A system's mean over seeds with its interval; None where it was not measured.

    Seeds and test items are drawn as in `difference`. The interval of the EER, whose mean of
    jackknife values is without its bias, is laid around the mean that was measured.

    Arguments
    ---------
    record, system, metric, rows, only
        As of `difference`.
    seeds : sequence of int
        Those to use, as far as they are recorded.
    """
    values = {s: v for s, v in correctness(record, system, metric).items() if s in seeds}
    if not values:
        return None
    strata = _strata(metric, rows, len(next(iter(values.values()))))
    asked = _asked(strata, only)
    nothing = {seed: np.zeros(asked.sum()) for seed in values}
    found = paired_bootstrap({s: v[asked] for s, v in values.items()}, nothing, strata[asked])
    if only is not None:
        return found
    mean = float(np.mean([record.metrics(PretrainRun(*system, seed))[metric] for seed in values]))
    return Difference(*(value + mean - found.mean for value in found))


def compare_table(
    record: Record[PretrainRun],
    ours: System,
    others: Sequence[System],
    rows: Mapping[str, Mapping[str, str]],
    only: Sequence[str] | None = None,
) -> str:
    """A Markdown table: ours less each other system, with 95 % intervals.

    Arguments
    ---------
    record, ours, others, rows
        As of `difference`.
    only : sequence of str, optional
        Languages that the language's metrics are over.
    """
    columns = [c for c in PRETRAIN_COLUMNS if c[1] in STRATA or c[1] == "speaker_eer"]
    header = [f"{ours[-1]} less", "seeds", *(title for title, _, _ in columns)]
    body = []
    for other in others:
        cells = []
        for _, metric, kind in columns:
            languages = only if STRATA.get(metric) == "language" else None
            found = difference(record, ours, other, metric, rows, languages)
            scale, digits, _ = KINDS[kind]
            cells.append(
                ""
                if found is None
                else "{} [{}, {}]".format(*(f"{scale * x:+.{digits}f}" for x in found))
            )
        common = set(record.seeds(ours)) & set(record.seeds(other))
        body.append([other[-1], str(len(common)), *cells])
    return align(header, body)
