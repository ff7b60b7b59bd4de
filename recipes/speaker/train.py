#!/usr/bin/env python3
"""Trains a speaker embedding on a pretrained encoder; tests identification and verification.

> python recipes/speaker/train.py hparams/mini_speaker.yaml --pretrained FOLDER
> python recipes/speaker/train.py hparams/voxceleb_speaker.yaml --pretrained FOLDER \\
>     --data_folder /corpora/voxceleb

FOLDER is what pretraining wrote, or a transformers model. `--test_only` tests the best
checkpoint again. An interrupted run resumes when the same command is given again.
"""

import sys
from pathlib import Path

from speechbrain.utils.distributed import run_on_main

from data_prep.common.trials import read_trials, trials_path
from masr_modules.downstream.brain import load_for
from masr_modules.downstream.classification import labelled_rows
from masr_modules.downstream.export import export_classifier
from masr_modules.downstream.report import finish
from masr_modules.downstream.speaker import TASK, Trials, draw_trials, split_voices
from masr_modules.downstream.trials import ScoredTrials, check_trials, report_lists
from masr_modules.experiment import start_experiment


def trial_lists(hparams: dict, test: dict[str, dict]) -> dict[str, Trials]:
    """Name -> trials of the lists that `trials` names, or else drawn from the test set."""
    lists = {}
    for entry in hparams["trials"] or ():
        path = entry if entry.endswith(".csv") else trials_path(hparams["csv_folder"], entry)
        lists[Path(path).stem.removeprefix("trials_")] = read_trials(path)
    lists = lists or {"drawn": draw_trials(test, hparams)}
    for name, trials in lists.items():
        check_trials(trials, test, name)
    return lists


def main(arguments: list[str]) -> None:
    """Reads top to bottom: data, encoder, training, test, report."""
    hparams, run_opts = start_experiment(arguments)
    rows = labelled_rows(hparams)
    train, held_out, valid, test = split_voices(rows, hparams).values()
    lists = trial_lists(hparams, test)
    valid_trials = []
    if hparams["valid_metric"] == "eer":  # or identification_error, which needs none
        valid_trials = draw_trials(valid, hparams)
        check_trials(valid_trials, valid, "drawn from valid, for valid_metric: eer")
    known = {"train": train, "valid": held_out, "test": {}}
    brain = TASK.brain.build(hparams, run_opts, load_for(hparams), known)
    brain.valid_trials = valid_trials
    brain.train_on(train, held_out | valid)
    metrics = brain.test_on(held_out | test)
    cohort = brain.cohort(train)

    def report() -> None:
        scored = {
            name: ScoredTrials.of(trials, brain.embeddings, cohort)
            for name, trials in lists.items()
        }
        more = report_lists(scored, test, Path(hparams["output_folder"]))
        finish(brain, hparams, TASK, metrics | more, test)
        export_classifier(brain, hparams, TASK)

    run_on_main(report)


if __name__ == "__main__":
    main(sys.argv[1:])
