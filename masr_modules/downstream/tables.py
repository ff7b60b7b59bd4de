"""Tables of the metrics of downstream runs, from their record."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from masr_modules.downstream.task import Guess, Task
from masr_modules.metrics.tables import align, column_title, format_cell, format_table
from masr_modules.reporting.runs import Record

#: Keys recorded beside the task's metrics: seconds of training, and the guess without the audio.
MINUTES, GUESS, GRACE = "minutes", "guess", "guess_grace"
AT_CHANCE = " †"
LEGEND = (
    "† no better than a guess that does not listen: within two standard errors of it, or worse."
)


class DownstreamRun(NamedTuple):
    """The key of a training: corpus, task, encoder, tuning (frozen or fine-tuned) and seed."""

    corpus: str
    task: str
    encoder: str
    tuning: str
    seed: int

    @property
    def row(self) -> str:
        """The name of its row in a table."""
        return f"{self.encoder}, {self.tuning}"


def downstream_record(path: str | Path) -> Record[DownstreamRun]:
    """Opens the record of downstream runs in a CSV.

    Example
    -------
    >>> record = downstream_record(getfixture("tmp_path") / "runs.csv")
    >>> run = DownstreamRun("mini", "toy", "MASR", "frozen", 1234)
    >>> results = {"metrics": {"accuracy": 0.59, "note": "text"}, "train_seconds": 60.0}
    >>> metrics = recorded_metrics(results, Guess(score=0.5, grace=0.1))
    >>> record.add(run, metrics, if_recorded="replace")
    >>> downstream_record(record.path).metrics(run)
    {'accuracy': 0.59, 'minutes': 60.0, 'guess': 0.5, 'guess_grace': 0.1}
    """
    return Record(path, DownstreamRun)


def recorded_metrics(results: Mapping, guess: Guess) -> dict[str, float]:
    """Returns the metrics of a run that are recorded.

    Arguments
    ---------
    results : Mapping
        The run's results.json; its `metrics` that are numbers and its `train_seconds` are recorded.
    guess : Guess
        The main metric of a guess without the audio.
    """
    beside = {MINUTES: results["train_seconds"], GUESS: guess.score, GRACE: guess.grace}
    found = {**results["metrics"], **beside}
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float)}


def rows_of(
    record: Record[DownstreamRun], corpus: str, task: Task
) -> dict[tuple[str, str], list[dict[str, float]]]:
    """Returns encoder and tuning -> the metrics of each seed, in the order of the record."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for run in record.runs:
        if (run.corpus, run.task) == (corpus, task.name):
            found.setdefault((run.encoder, run.tuning), []).append(record.metrics(run))
    return found


def joint_table(record: Record[DownstreamRun], corpus: str, tasks: Sequence[Task]) -> str:
    """Makes the table of the main metrics of all recorded tasks, a row per encoder and tuning."""
    found = {task: rows for task in tasks if (rows := rows_of(record, corpus, task))}
    header = ["encoder", "tuning"]
    header += [f"{task.prefix}: {column_title(task.first)}" for task in found]
    body = []
    there = ((run.encoder, run.tuning) for run in record.runs if run.corpus == corpus)
    for row in dict.fromkeys(there):
        cells = [_first(task, rows[row]) if row in rows else "" for task, rows in found.items()]
        body.append([*row, *cells])
    return align(header, body) + f"\n\n{LEGEND}"


def task_table(record: Record[DownstreamRun], corpus: str, task: Task) -> str:
    """Makes the table of all metrics of a task, and the time that training took."""
    rows = {", ".join(row): several for row, several in rows_of(record, corpus, task).items()}
    known = set().union(*(metrics for several in rows.values() for metrics in several))
    columns = [column for column in task.columns if column.key in known]
    return format_table(rows, [*columns, ("training", MINUTES, "minutes")])


def blocks(record: Record[DownstreamRun], tasks: Sequence[Task]) -> dict[tuple[str, str], str]:
    """Makes the table of each block, by the recipe's folder and the block's name.

    The joint table is the block downstream-results of `downstream`, and a task's own table is the
    block TASK-results of its recipe. Blocks of other corpora than the synthetic one have CORPUS-
    before their names.
    """
    found = {}
    for corpus in dict.fromkeys(run.corpus for run in record.runs):
        prefix = "" if corpus == "mini" else f"{corpus}-"
        there = [task for task in tasks if rows_of(record, corpus, task)]
        found["downstream", f"{prefix}downstream-results"] = joint_table(record, corpus, there)
        for task in there:
            found[task.name, f"{prefix}{task.name}-results"] = task_table(record, corpus, task)
    return found


def _first(task: Task, runs: Sequence[Mapping[str, float]]) -> str:
    """Formats a task's main metric, and marks it if it is no better than a guess."""
    scores = [metrics[task.first.key] for metrics in runs]
    guess = Guess(runs[0][GUESS], runs[0][GRACE])
    return format_cell(scores, task.first.kind) + AT_CHANCE * task.at_chance(scores, guess)
