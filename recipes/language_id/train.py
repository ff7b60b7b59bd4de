#!/usr/bin/env python3
"""Trains and tests a language identifier on a pretrained encoder.

> python recipes/language_id/train.py hparams/mini_lid.yaml --pretrained FOLDER
> python recipes/language_id/train.py hparams/mini_lid.yaml --pretrained FOLDER --freeze false

FOLDER is what pretraining wrote, or a transformers model. `--test_only` tests the best
checkpoint again. An interrupted run resumes when the same command is given again.
"""

import sys
from pathlib import Path

import numpy as np
from speechbrain.utils.distributed import run_on_main

from masr_modules.downstream.brain import load_for
from masr_modules.downstream.classification import ClassificationBrain, labelled_rows
from masr_modules.downstream.export import export_classifier
from masr_modules.downstream.report import finish
from masr_modules.experiment import start_experiment
from masr_modules.knowledge.languages import resolve_language
from masr_modules.metrics.classification import (
    by_group,
    duration_group,
    family_error,
    most_confused,
    plot_confusion,
    top_k_accuracy,
    within_family_accuracy,
)
from masr_modules.metrics.detection import average_cost, log_likelihood_ratios
from masr_modules.metrics.predictions import Predictions
from masr_modules.results import align, write_atomic


def figures_of(predictions: Predictions, rows: dict[str, dict], facts: dict, label: str) -> dict:
    """Every figure of the test set, in [0, 1]; groups have their name in the key."""
    family_of = {row[label]: row["family"] for row in rows.values() if row["family"]}
    present = np.unique(predictions.truth[predictions.truth >= 0])
    ratios = log_likelihood_ratios(predictions.log_posteriors, among=present)
    figures = {
        "cavg": average_cost(ratios, predictions.truth),
        "top_3": top_k_accuracy(predictions, 3),
        "family_error": family_error(predictions, family_of),
        "within_family": within_family_accuracy(predictions, family_of),
        "not_a_class": sum(predictions.unseen_counts.values()),
    }
    groups = {f"accuracy, {k}": v for k, v in by_group(predictions, durations(rows)).items()}
    if seen := set(facts.get("languages", [])):
        pretraining = {
            one: "seen in pretraining" if language in seen else "not seen in pretraining"
            for one, language in languages(rows, label).items()
        }
        groups |= {f"accuracy, {k}": v for k, v in by_group(predictions, pretraining).items()}
    return figures | groups


def durations(rows: dict[str, dict]) -> dict[str, str]:
    """ID -> group of duration."""
    return {one: duration_group(row["duration"]) for one, row in rows.items()}


def languages(rows: dict[str, dict], label: str) -> dict[str, str]:
    """ID -> ISO 639-3 code."""
    return {one: row.get("language") or resolve_language(row[label]) for one, row in rows.items()}


def save_confusions(folder: Path, predictions: Predictions, family_of: dict[str, str]) -> None:
    """Figure and table of what is taken for what."""
    plot_confusion(predictions, family_of, folder / "confusion.png")
    pairs = most_confused(predictions, 20)
    header = ["language", "taken for", "share (%)", "utterances"]
    body = [
        [truth, other, f"{100 * share:.1f}", str(count)] for truth, other, share, count in pairs
    ]
    write_atomic(folder / "confused.md", align(header, body) + "\n" if body else "none\n")


def main(arguments: list[str]) -> None:
    """Reads top to bottom: data, encoder, training, test, report."""
    hparams, run_opts = start_experiment(arguments)
    label = hparams["label"]
    rows = labelled_rows(hparams)
    pretrained = load_for(hparams)
    brain = ClassificationBrain.build(hparams, run_opts, pretrained, rows)
    brain.train_on(rows["train"], rows["valid"])
    figures = brain.test_on(rows["test"])

    def report() -> None:
        folder = Path(hparams["output_folder"])
        predictions = brain.predictions
        predictions.write_csv(folder / "predictions.csv")
        every = {**rows["train"], **rows["test"]}
        family_of = {row[label]: row["family"] for row in every.values() if row["family"]}
        save_confusions(folder, predictions, family_of)
        more = figures_of(predictions, rows["test"], pretrained.facts, label)
        finish(brain, hparams, "language_id", figures | more, rows["test"])
        export_classifier(brain, hparams, "language_id")

    run_on_main(report)


if __name__ == "__main__":
    main(sys.argv[1:])
