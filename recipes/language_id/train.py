#!/usr/bin/env python3
"""Trains and tests a language identifier on a pretrained encoder.

> python recipes/language_id/train.py hparams/mini_lid.yaml --pretrained FOLDER
> python recipes/language_id/train.py hparams/mini_lid.yaml --pretrained FOLDER --freeze false

FOLDER is what pretraining wrote, or a transformers model. `--test_only` tests the best
checkpoint again. An interrupted run resumes when the same command is given again.
"""

import sys
from pathlib import Path

from speechbrain.utils.distributed import run_on_main

from masr_modules.downstream.brain import load_for
from masr_modules.downstream.classification import labelled_rows
from masr_modules.downstream.export import export_classifier
from masr_modules.downstream.language_id import TASK, families, language_metrics, save_confusions
from masr_modules.downstream.report import finish
from masr_modules.training.experiment import start_experiment


def main(arguments: list[str]) -> None:
    """Runs the recipe: data, encoder, training, test, report."""
    hparams, run_opts = start_experiment(arguments)
    label = hparams["label"]
    rows = labelled_rows(hparams)
    pretrained = load_for(hparams)
    brain = TASK.brain.build(hparams, run_opts, pretrained, rows)
    brain.train_on(rows["train"], rows["valid"])
    metrics = brain.test_on(rows["test"])

    def report() -> None:
        folder, predictions = Path(hparams["output_folder"]), brain.predictions
        predictions.write_csv(folder / "predictions.csv")
        more = language_metrics(predictions, rows["test"], label, pretrained.facts)
        finish(brain, hparams, TASK, metrics | more, rows["test"])
        export_classifier(brain, hparams, TASK)
        save_confusions(folder, predictions, families({**rows["train"], **rows["test"]}, label))

    run_on_main(report)


if __name__ == "__main__":
    main(sys.argv[1:])
