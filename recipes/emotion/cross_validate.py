#!/usr/bin/env python3
"""Trains and tests every fold of IEMOCAP, and prints mean ± standard deviation.

> python recipes/emotion/cross_validate.py hparams/iemocap_emotion.yaml --pretrained FOLDER \\
>     --data_folder /corpora/IEMOCAP_full_release

It takes the options of train.py: every fold is a run of it with another `--fold`. A complete fold
is not repeated, and an interrupted one resumes; results of other settings or data
are refused. There are five folds, and ten with `--leave_out speaker`.
"""

import json
import sys
from pathlib import Path

from ruamel.yaml import YAML

from masr_modules.config.command_line import parse_arguments
from masr_modules.config.files import write_atomic
from masr_modules.config.provenance import check_same, facts_of
from masr_modules.config.settings import resolve_settings
from masr_modules.downstream.emotion import TASK
from masr_modules.metrics.tables import format_table
from masr_modules.training.starter import run_child

FOLDS = {"superb": 5, "session": 5, "speaker": 10}
RECIPE = Path(__file__).with_name("train.py")


def resolved(arguments: list[str]) -> str:
    """Returns the YAML as text with overrides applied, and builds no objects."""
    path, _, overrides = parse_arguments(arguments)
    return resolve_settings(path, overrides)


def settings_of(arguments: list[str]) -> dict:
    """Returns the YAML's plain values."""
    return YAML().load(resolved(arguments))


def run_fold(arguments: list[str]) -> dict:
    """Returns the results.json of one fold, which is trained where the file is missing.

    Raises
    ------
    ValueError
        If existing results were made with other settings or CSVs, such as another `leave_out`.
    """
    folder = Path(settings_of(arguments)["output_folder"])
    path = folder / "results.json"
    if path.is_file():
        for kind in ("settings", "inputs"):  # a changed setting explains changed CSVs
            check_same(folder, facts_of(resolved(arguments)), kinds=(kind,))
    else:
        run_child([sys.executable, str(RECIPE), *arguments], check=True)
    return json.loads(path.read_text(encoding="utf-8"))


def main(arguments: list[str]) -> None:
    """Trains all folds, then prints and saves the table."""
    settings = settings_of(arguments)
    if settings["leave_out"] not in FOLDS:
        raise ValueError(f"leave_out is {settings['leave_out']!r}: choose {' or '.join(FOLDS)}")
    count = FOLDS[settings["leave_out"]]
    folders = {settings_of([*arguments, "--fold", str(f)])["output_folder"] for f in (1, 2)}
    if len(folders) < 2:
        raise ValueError(
            "all folds would write to one output_folder: put the fold into it, such as "
            '--output_folder "!ref results/mine/fold<fold>/<seed>"'
        )
    runs: dict[str, list[dict]] = {}
    for fold in range(1, count + 1):
        print(f"fold {fold} of {count}", flush=True)
        results = run_fold([*arguments, "--fold", str(fold)])
        how = "frozen" if results["freeze"] else "fine-tuned"
        runs.setdefault(f"{results['encoder']}, {how}", []).append(results["metrics"])
    table = format_table(runs, TASK.columns)
    print(f"\nMean ± standard deviation of {count} folds:\n\n{table}\n")
    root = Path(settings["output_folder"]).parents[1]
    write_atomic(root / "cross_validation.md", table + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
