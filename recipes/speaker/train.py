#!/usr/bin/env python3
"""Trains a speaker embedding on a pretrained encoder; tests identification and verification.

> python recipes/speaker/train.py hparams/mini_speaker.yaml --pretrained FOLDER
> python recipes/speaker/train.py hparams/voxceleb_speaker.yaml --pretrained FOLDER \\
>     --data_folder /corpora/voxceleb
> python recipes/speaker/train.py hparams/voxceleb_identification.yaml --pretrained FOLDER \\
>     --data_folder /corpora/voxceleb

With `trials: []` the test set is of training speakers, and identification alone is tested.

FOLDER is what pretraining wrote, or a transformers model. `--test_only` tests the best
checkpoint again. An interrupted run resumes when the same command is given again.
"""

import sys
from pathlib import Path

from speechbrain.utils.distributed import run_on_main

from data_prep.common.trials import read_trials, trials_path
from masr_modules.data.audio_check import drop_undecodable
from masr_modules.downstream.brain import load_for
from masr_modules.downstream.classification import labelled_rows
from masr_modules.downstream.export import export_classifier
from masr_modules.downstream.report import finish
from masr_modules.downstream.speaker import (
    IDENTIFICATION,
    TASK,
    Trials,
    check_identification,
    describe_training,
    draw_trials,
    split_speakers,
)
from masr_modules.downstream.trials import ScoredTrials, check_trials, report_lists
from masr_modules.training.experiment import start_experiment


def trial_lists(hparams: dict, test: dict[str, dict]) -> dict[str, Trials]:
    """Returns the lists of trials that `trials` names, by name, or draws one from the test set."""
    lists = {}
    for entry in hparams["trials"] or ():
        path = entry if entry.endswith(".csv") else trials_path(hparams["csv_folder"], entry)
        lists[Path(path).stem.removeprefix("trials_")] = read_trials(path)
    lists = lists or draw_trials(test, hparams)
    for name, trials in lists.items():
        check_trials(trials, test, name)
    return lists


def identify(rows: dict[str, dict], hparams: dict, run_opts: dict) -> None:
    """Trains and tests identification: which training speaker says a test utterance."""
    check_identification(rows, hparams)
    brain = TASK.brain.build(hparams, run_opts, load_for(hparams), rows)
    brain.train_on(rows["train"], rows["valid"])
    metrics = brain.test_on(rows["test"])

    def report() -> None:
        trained_on = describe_training(rows["train"], hparams["label"])
        finish(brain, hparams, IDENTIFICATION, metrics, rows["test"], trained_on)
        export_classifier(brain, hparams, IDENTIFICATION)

    run_on_main(report)


def verify(rows: dict[str, dict], hparams: dict, run_opts: dict) -> None:
    """Trains and tests verification, and identification on held-out utterances."""
    train, held_out, valid, test = split_speakers(rows, hparams).values()
    held_out = drop_undecodable(held_out, hparams["max_unreadable"])  # may come from train
    lists = trial_lists(hparams, test)
    valid_trials = {}
    if hparams["valid_metric"] == "eer":  # identification_error needs no trials
        valid_trials = draw_trials(valid, hparams)
        for name, trials in valid_trials.items():
            check_trials(trials, valid, f"{name} from valid, for valid_metric: eer")
    known = {"train": train, "valid": held_out, "test": {}}
    encoder = load_for(hparams)
    brain = TASK.brain.build(hparams, run_opts, encoder, known, valid_trials=valid_trials)
    brain.train_on(train, held_out | valid)
    metrics = brain.test_on(held_out | test)
    cohort = brain.cohort(train)

    def report() -> None:
        scored = {
            name: ScoredTrials.of(trials, brain.embeddings, cohort)
            for name, trials in lists.items()
        }
        trained_on = describe_training(train, hparams["label"])
        folder, drawn = Path(hparams["output_folder"]), not hparams["trials"]
        more = report_lists(scored, test, folder, trained_on, average=drawn)
        finish(brain, hparams, TASK, metrics | more, test, trained_on)
        export_classifier(brain, hparams, TASK)

    run_on_main(report)


def main(arguments: list[str]) -> None:
    """Runs the recipe: data, then encoder, training, test, report."""
    hparams, run_opts = start_experiment(arguments)
    rows = labelled_rows(hparams)
    run = identify if hparams["trials"] == [] else verify
    run(rows, hparams, run_opts)


if __name__ == "__main__":
    main(sys.argv[1:])
