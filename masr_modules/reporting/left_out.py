"""Tables of trainings that leave out one corpus each, which is then the one that is tested."""

from collections.abc import Mapping, Sequence

import numpy as np

from masr_modules.metrics.tables import align, format_cell
from masr_modules.reporting.comparison import format_difference, interval
from masr_modules.reporting.pretrain_record import PretrainRun, System, correctness
from masr_modules.reporting.runs import Record

#: Metric -> its title, in the order of the columns.
TITLES = {
    "emotion_unheard": "emotion, probe of other corpora",
    "emotion": "emotion, probe of this corpus",
}


def left_out_tables(
    record: Record[PretrainRun],
    systems: Mapping[str, Mapping[str, System]],
    labels: Mapping[str, Mapping[str, str]],
    seeds: Sequence[int],
    against: Sequence[str],
) -> tuple[str, str]:
    """Makes two tables: the accuracies on corpora that were left out, and the last system's gains.

    Arguments
    ---------
    record : Record
        The record of pretraining.
    systems : mapping
        System -> corpus -> the key of its runs that left out this corpus.
    labels : mapping
        The labels of the test set, from load_labels, with the corpus of each utterance.
    seeds : sequence of int
        The seeds to use, as far as all runs of a system are recorded.
    against : sequence of str
        The systems with which the last one is compared.

    Returns
    -------
    table, gains : str
        Markdown tables; one is empty where nothing for it is recorded. A row counts
        only the seeds for which the trainings of all left-out corpora are recorded.
    """
    corpora = list(next(iter(systems.values())))
    titles = [f"{title}: {name}" for title in TITLES.values() for name in (*corpora, "mean")]
    body, found = [], {}
    for system, runs in systems.items():
        there = [s for s in seeds if all(s in record.seeds(key) for key in runs.values())]
        if not there:
            continue
        found[system] = {metric: _joined(record, runs, metric, labels, there) for metric in TITLES}
        cells = []
        for metric in TITLES:
            rows = [_metrics(record, runs, metric, seed) for seed in there]
            cells += [format_cell(column, "share") for column in zip(*rows, strict=True)]
        body.append([system, str(len(there)), *cells])
    table = align(["system", "seeds", *(f"{title} (%)" for title in titles)], body) if body else ""
    ours = [*systems][-1]
    others = [name for name in against if name in found and ours in found]
    gains = []
    for name in others:
        common = sorted({*found[ours]["emotion"]} & {*found[name]["emotion"]})
        if not common:
            continue
        cells = []
        for metric in TITLES:
            gap = {s: found[ours][metric][s] - found[name][metric][s] for s in common}
            cells.append(format_difference(interval(gap, metric, labels), "share"))
        gains.append([name, str(len(common)), *cells])
    header = [f"{ours} less", "seeds", *TITLES.values()]
    return table, align(header, gains) if gains else ""


def _metrics(
    record: Record[PretrainRun], runs: Mapping[str, System], metric: str, seed: int
) -> list[float]:
    """Returns the metric of each corpus, by the training that left it out, and their mean."""
    values = [
        record.metrics(PretrainRun(*key, seed)).get(f"{metric}.{corpus}", np.nan)
        for corpus, key in runs.items()
    ]
    return [*values, float(np.mean(values))]


def _joined(
    record: Record[PretrainRun],
    runs: Mapping[str, System],
    metric: str,
    labels: Mapping[str, Mapping[str, str]],
    seeds: Sequence[int],
) -> dict[int, np.ndarray]:
    """Returns seed -> (N,) correctness of each corpus by the training that left it out."""
    of = np.array([row["corpus"] for row in labels.values()])
    joined = {seed: np.full(len(of), np.nan) for seed in seeds}
    for corpus, key in runs.items():
        correct = correctness(record, key, metric)
        for seed in seeds:
            joined[seed][of == corpus] = correct[seed][of == corpus]
    return joined
