#!/usr/bin/env python3
"""Trains and tests an emotion recogniser on a pretrained encoder.

> python recipes/emotion/train.py hparams/mini_emotion.yaml --pretrained FOLDER
> python recipes/emotion/cross_validate.py hparams/iemocap_emotion.yaml --pretrained FOLDER \\
>     --data_folder /corpora/IEMOCAP_full_release

The second trains and tests all folds of IEMOCAP. FOLDER is what pretraining wrote, or a
transformers model. An interrupted run resumes when the same command is given again.
"""

import sys
from pathlib import Path

from speechbrain.utils.distributed import run_on_main

from masr_modules.config.extras import skip_without_extra
from masr_modules.downstream.brain import load_for
from masr_modules.downstream.classification import labelled_rows
from masr_modules.downstream.emotion import TASK
from masr_modules.downstream.export import export_classifier
from masr_modules.downstream.report import finish
from masr_modules.metrics.classification import most_confused, plot_confusion
from masr_modules.training.experiment import start_experiment


def main(arguments: list[str]) -> None:
    """Runs the recipe: data, encoder, training, test, report."""
    hparams, run_opts = start_experiment(arguments)
    rows = labelled_rows(hparams)
    pretrained = load_for(hparams)
    brain = TASK.brain.build(hparams, run_opts, pretrained, rows)
    brain.train_on(rows["train"], rows["valid"])
    metrics = brain.test_on(rows["test"])

    def report() -> None:
        folder, predictions = Path(hparams["output_folder"]), brain.predictions
        predictions.write_csv(folder / "predictions.csv")
        for truth, other, share, _ in most_confused(predictions, 3):
            print(f"{truth} is taken for {other}: {100 * share:.0f} %")
        finish(brain, hparams, TASK, metrics, rows["test"])
        export_classifier(brain, hparams, TASK)
        with skip_without_extra("confusion.png"):
            plot_confusion(predictions, {}, folder / "confusion.png")

    run_on_main(report)


if __name__ == "__main__":
    main(sys.argv[1:])
