"""The last step of every downstream recipe: it prints its table and writes its results.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from masr_modules.config.files import write_atomic
from masr_modules.downstream.brain import DownstreamBrain
from masr_modules.downstream.task import Task
from masr_modules.metrics.tables import align, column_title, format_cell


def start_name(hparams: dict) -> str:
    """Returns the encoder's name in tables: `system`, or else the source that it was loaded from.

    Example
    -------
    >>> start_name({"system": None, "pretrained": "results/a/1", "random_init": True})
    'results/a/1 (untrained)'
    """
    if hparams["system"]:
        return hparams["system"]
    return str(hparams["pretrained"]) + (" (untrained)" if hparams["random_init"] else "")


def finish(
    brain: DownstreamBrain,
    hparams: dict,
    task: Task,
    metrics: dict,
    rows: dict,
    trained_on: str = "",
) -> None:
    """Prints the metrics as a table, and saves results.json and results.md.

    Arguments
    ---------
    brain : DownstreamBrain
        The Brain, after training and test.
    hparams : dict
        The recipe's settings.
    task : Task
        The task, whose columns that are among the metrics make the table.
    metrics : dict[str, float]
        Key -> metric; all are saved in results.json, as `metrics`.
    rows : dict
        ID -> row of the test set.
    trained_on : str
        A description of the training data, shown beside the metrics if it is not empty.
    """
    path = Path(hparams["output_folder"], "results.json")
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    # A run that only tests trains nothing, and keeps the time that training took before.
    seconds = before.get("train_seconds", brain.train_seconds)
    results = {
        "task": task.name,
        "encoder": start_name(hparams),
        "freeze": hparams["freeze"],
        **({"trained_on": trained_on} if trained_on else {}),
        "seed": hparams["seed"],
        "device": str(brain.device),
        "train_seconds": round(seconds, 1),
        "best_epoch": brain.best_epoch(),
        "layer_shares": [round(share, 4) for share in brain.mixer.shares.tolist()],
        "utterances": len(rows),
        "metrics": metrics,
    }
    columns = [column for column in task.columns if column.key in metrics]
    header = ["encoder", "", *map(column_title, columns), "seed", "device"]
    header[2:2] = ["trained on"] if trained_on else []
    row = [
        results["encoder"],
        "frozen" if hparams["freeze"] else "fine-tuned",
        *([trained_on] if trained_on else []),
        *(format_cell([metrics[key]], kind) for _, key, kind in columns),
        str(hparams["seed"]),
        results["device"],
    ]
    table = align(header, [row])
    corpora = sorted({row.get("corpus") or "" for row in rows.values()})
    if len(corpora) > 1:
        table += "\n\n" + corpus_table(metrics, task, corpora)
    print(f"\nTest set, {len(rows)} utterances:\n\n{table}\n")
    write_atomic(Path(hparams["output_folder"], "results.md"), table + "\n")
    write_atomic(path, json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def corpus_table(metrics: Mapping[str, float], task: Task, corpora: Sequence[str]) -> str:
    """Makes the table of each corpus's metrics, of which the test set's are the means.

    Arguments
    ---------
    metrics : mapping of str to float
        The metrics, with `KEY, CORPUS` beside `KEY`.
    task : Task
        The task, whose columns that a corpus has make the table.
    corpora : sequence of str
        The corpora, each of which has a row.

    Returns
    -------
    str
        The table in Markdown.

    Example
    -------
    >>> from masr_modules.downstream.emotion import TASK
    >>> metrics = {"macro_accuracy": 0.4, "macro_accuracy, a": 0.5, "macro_accuracy, b": 0.3}
    >>> print(corpus_table(metrics, TASK, ["a", "b"]))
    | corpus | unweighted accuracy (%) |
    | ------ | ----------------------- |
    | a      | 50.0                    |
    | b      | 30.0                    |
    | mean   | 40.0                    |
    """
    columns = [c for c in task.columns if any(f"{c.key}, {name}" in metrics for name in corpora)]
    rows = {name: f", {name}" for name in corpora} | {"mean": ""}
    body = [
        [name, *(format_cell([metrics.get(key + suffix)], kind) for _, key, kind in columns)]
        for name, suffix in rows.items()
    ]
    return align(["corpus", *map(column_title, columns)], body)
