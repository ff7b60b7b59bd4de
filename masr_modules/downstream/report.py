"""What every downstream recipe ends with: its table and its results.json."""

import json
from pathlib import Path

from masr_modules.config.files import write_atomic
from masr_modules.downstream.brain import DownstreamBrain
from masr_modules.downstream.task import Task
from masr_modules.metrics.tables import align, column_title, format_cell


def start_name(hparams: dict) -> str:
    """What the encoder is called in tables: `system`, or where it was loaded from.

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
    """Prints the metrics as a row of SpeechBrain's tables, and saves them.

    Arguments
    ---------
    brain : DownstreamBrain
        After training and test.
    hparams : dict
        Of the recipe.
    task : Task
        Its columns that are among the metrics make the table.
    metrics : dict[str, float]
        Key -> metric; all go to results.json, as `metrics`.
    rows : dict
        Of the test set.
    trained_on : str
        What stands beside the metrics where they mean little without it.
    """
    path = Path(hparams["output_folder"], "results.json")
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    seconds = before.get("train_seconds", brain.train_seconds)  # a test alone trains nothing
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
    print(f"\nTest set, {len(rows)} utterances:\n\n{table}\n")
    write_atomic(Path(hparams["output_folder"], "results.md"), table + "\n")
    write_atomic(path, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
