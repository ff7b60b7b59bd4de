"""What downstream runs measured: a CSV with a row for each run and metric, and its tables."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from masr_modules.config.files import write_atomic
from masr_modules.downstream.task import Guess, Task
from masr_modules.metrics.tables import align, column_title, format_cell, format_table

COLUMNS = ("corpus", "task", "encoder", "tuning", "seed", "metric", "value")
#: Beside the task's metrics: seconds of training, and the score that takes no listening.
MINUTES, GUESS, GRACE = "minutes", "guess", "guess_grace"
AT_CHANCE = " †"
LEGEND = (
    "† no better than a guess that does not listen: within two standard errors of it, or worse."
)


class Run(NamedTuple):
    """One training, on a corpus: task, encoder, tuning (frozen or fine-tuned) and seed."""

    corpus: str
    task: str
    encoder: str
    tuning: str
    seed: int

    @property
    def row(self) -> str:
        """Name of the table's row."""
        return f"{self.encoder}, {self.tuning}"


class Outcomes:
    """The record.

    Arguments
    ---------
    path : str or Path
        The CSV; made by `save` where it is missing.

    Raises
    ------
    ValueError
        If the file has other columns.

    Example
    -------
    >>> outcomes = Outcomes(getfixture("tmp_path") / "runs.csv")
    >>> run = Run("mini", "toy", "MASR", "frozen", 1234)
    >>> results = {"metrics": {"accuracy": 0.59}, "train_seconds": 60.0}
    >>> outcomes.add(run, results, Guess(score=0.5, grace=0.1))
    >>> outcomes.save()
    >>> Outcomes(outcomes.path).runs == {
    ...     run: {"accuracy": 0.59, "minutes": 60.0, "guess": 0.5, "guess_grace": 0.1}
    ... }
    True
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.runs: dict[Run, dict[str, float]] = {}
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError(f"{self.path}: its columns are not {', '.join(COLUMNS)}")
            for row in reader:
                run = Run(*(row[name] for name in COLUMNS[:4]), int(row["seed"]))
                self.runs.setdefault(run, {})[row["metric"]] = float(row["value"])

    def add(self, run: Run, results: Mapping, guess: Guess) -> None:
        """Enters a run in place of what there was of it.

        Arguments
        ---------
        run : Run
            Which.
        results : Mapping
            Its results.json: `metrics` and `train_seconds`.
        guess : Guess
            What the first metric would be without listening.
        """
        beside = {MINUTES: results["train_seconds"], GUESS: guess.score, GRACE: guess.grace}
        found = {**results["metrics"], **beside}
        self.runs[run] = {k: float(v) for k, v in found.items() if isinstance(v, int | float)}

    def save(self) -> None:
        """Writes the CSV, whole."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for run, metrics in self.runs.items():
            writer.writerows((*run, metric, repr(value)) for metric, value in metrics.items())
        write_atomic(self.path, file.getvalue())

    def rows(self, corpus: str, task: Task) -> dict[tuple[str, str], list[dict[str, float]]]:
        """Encoder and tuning -> the metrics of each seed, in the order of the record."""
        found: dict[tuple[str, str], list[dict[str, float]]] = {}
        for run, metrics in self.runs.items():
            if (run.corpus, run.task) == (corpus, task.name):
                found.setdefault((run.encoder, run.tuning), []).append(metrics)
        return found

    def joint_table(self, corpus: str, tasks: Sequence[Task]) -> str:
        """The first metric of every task that was run, a row per encoder and tuning."""
        found = {task: rows for task in tasks if (rows := self.rows(corpus, task))}
        header = ["encoder", "tuning"]
        header += [f"{task.prefix}: {column_title(task.first)}" for task in found]
        body = []
        there = ((run.encoder, run.tuning) for run in self.runs if run.corpus == corpus)
        for row in dict.fromkeys(there):
            cells = [_first(task, rows[row]) if row in rows else "" for task, rows in found.items()]
            body.append([*row, *cells])
        return align(header, body) + f"\n\n{LEGEND}"

    def task_table(self, corpus: str, task: Task) -> str:
        """Every metric of a task, and the time that training took."""
        rows = {", ".join(row): several for row, several in self.rows(corpus, task).items()}
        known = set().union(*(metrics for several in rows.values() for metrics in several))
        columns = [column for column in task.columns if column.key in known]
        return format_table(rows, [*columns, ("training", MINUTES, "minutes")])

    def blocks(self, tasks: Sequence[Task]) -> dict[tuple[str, str], str]:
        """Folder of recipes and name of a block there -> its table.

        The joint table is downstream-results of `downstream`, a task's own TASK-results of its
        recipe; of other corpora than the embedded one with CORPUS- before it.
        """
        found = {}
        for corpus in dict.fromkeys(run.corpus for run in self.runs):
            prefix = "" if corpus == "mini" else f"{corpus}-"
            there = [task for task in tasks if self.rows(corpus, task)]
            found["downstream", f"{prefix}downstream-results"] = self.joint_table(corpus, there)
            for task in there:
                found[task.name, f"{prefix}{task.name}-results"] = self.task_table(corpus, task)
        return found


def _first(task: Task, runs: Sequence[Mapping[str, float]]) -> str:
    """The cell of a task's first metric, marked where it is no better than a guess."""
    scores = [metrics[task.first.key] for metrics in runs]
    guess = Guess(runs[0][GUESS], runs[0][GRACE])
    return format_cell(scores, task.first.kind) + AT_CHANCE * task.at_chance(scores, guess)
