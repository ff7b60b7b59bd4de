"""What every downstream recipe ends with: its table and its results.json."""

import json
from pathlib import Path

from masr_modules.downstream.brain import DownstreamBrain
from masr_modules.results import align, column_title, format_cell, write_atomic

#: Task -> title, key and kind of the figures in its table; the first counts in the joint one.
COLUMNS = {
    "language_id": [
        ("macro accuracy", "macro_accuracy", "share"),
        ("accuracy", "accuracy", "share"),
        ("Cavg", "cavg", "cost"),
        ("top 3", "top_3", "share"),
        ("family error", "family_error", "share"),
        ("inside family", "within_family", "share"),
    ],
    "asr": [
        ("mean CER of languages", "macro_cer", "share"),
        ("mean WER of languages", "macro_wer", "share"),
        ("CER", "cer", "share"),
        ("WER", "wer", "share"),
    ],
    "emotion": [
        ("unweighted accuracy", "macro_accuracy", "share"),
        ("weighted accuracy", "accuracy", "share"),
    ],
    "speaker": [
        ("EER", "eer", "share"),
        ("minDCF 0.01", "min_dcf_01", "cost"),
        ("minDCF 0.05", "min_dcf_05", "cost"),
        ("EER, s-norm", "eer_snorm", "share"),
        ("EER, other language", "eer_cross_language", "share"),
        ("identification accuracy", "identification", "share"),
    ],
}


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


def finish(brain: DownstreamBrain, hparams: dict, task: str, figures: dict, rows: dict) -> None:
    """Prints the figures as a row of SpeechBrain's tables, and saves them.

    Arguments
    ---------
    brain : DownstreamBrain
        After training and test.
    hparams : dict
        Of the recipe.
    task : str
        Name of the recipe's folder.
    figures : dict[str, float]
        Key -> figure; all go to results.json.
    rows : dict
        Of the test set.
    """
    path = Path(hparams["output_folder"], "results.json")
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    seconds = before.get("train_seconds", brain.train_seconds)  # a test alone trains nothing
    results = {
        "task": task,
        "encoder": start_name(hparams),
        "freeze": hparams["freeze"],
        "seed": hparams["seed"],
        "device": str(brain.device),
        "train_seconds": round(seconds, 1),
        "best_epoch": brain.best_epoch(),
        "layer_shares": [round(share, 4) for share in brain.modules.mixer.shares.tolist()],
        "utterances": len(rows),
        "figures": figures,
    }
    columns = [column for column in COLUMNS[task] if column[1] in figures]
    header = ["encoder", "", *map(column_title, columns), "seed", "device"]
    row = [
        results["encoder"],
        "frozen" if hparams["freeze"] else "fine-tuned",
        *(format_cell([figures[key]], kind) for _, key, kind in columns),
        str(hparams["seed"]),
        results["device"],
    ]
    table = align(header, [row])
    print(f"\nTest set, {len(rows)} utterances:\n\n{table}\n")
    write_atomic(Path(hparams["output_folder"], "results.md"), table + "\n")
    write_atomic(path, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
