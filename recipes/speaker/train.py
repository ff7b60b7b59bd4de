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

import numpy as np
import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.distributed import run_on_main
from torch import Tensor
from tqdm import tqdm

from data_prep.common.trials import read_trials, trials_path
from masr_modules.downstream.brain import load_for
from masr_modules.downstream.classification import ClassificationBrain, labelled_rows
from masr_modules.downstream.export import export_classifier
from masr_modules.downstream.hold_out import hold_out, utterances_per_label
from masr_modules.downstream.report import finish
from masr_modules.downstream.trials import ScoredTrials, check_trials, report_lists
from masr_modules.experiment import start_experiment
from masr_modules.metrics.detection import equal_error_rate
from masr_modules.metrics.verification import sample_trials, score_trials, speaker_mean_cohort

Trials = list[tuple[str, str, int]]


class SpeakerBrain(ClassificationBrain):
    """Tells training voices apart by angles between embeddings, which unseen voices get too."""

    def compute_forward(self, batch: PaddedBatch, stage: sb.Stage) -> tuple[Tensor, Tensor]:
        """(B, E) embeddings and (B, 1, voices) cosines."""
        embeddings = self.modules.head(*self.frames(batch, stage))
        return embeddings, self.modules.classifier(embeddings)

    def compute_objectives(self, predictions: tuple, batch: PaddedBatch, stage: sb.Stage) -> Tensor:
        """Additive angular margin softmax of the utterances of training voices."""
        embeddings, cosines = predictions
        truth = [self.labels.lab2ind.get(self.label_of.get(one), -1) for one in batch.id]
        truth = torch.tensor(truth, device=cosines.device)
        known = truth >= 0
        if stage != sb.Stage.TRAIN:
            self.embeddings |= dict(zip(batch.id, embeddings.float().cpu().numpy(), strict=True))
            self.right += (cosines.squeeze(1).argmax(dim=1) == truth)[known].tolist()
        if not known.any():
            return cosines.sum() * 0.0
        return self.hparams.objective(cosines[known], truth[known].unsqueeze(1))

    def start_scores(self, stage: sb.Stage) -> None:
        """See DownstreamBrain."""
        self.embeddings, self.right = {}, []

    def scores(self, stage: sb.Stage) -> dict[str, float]:
        """Identification of held-out utterances; in validation, EER of its trials if any."""
        figures = {}
        if self.right:
            figures["identification"] = sum(self.right) / len(self.right)
            figures["identification_error"] = 1 - figures["identification"]
            figures["identified_of"] = len(self.right)
        if stage == sb.Stage.VALID and self.valid_trials:
            place = {one: index for index, one in enumerate(self.embeddings)}
            pairs = np.array([(place[a], place[b]) for a, b, _ in self.valid_trials])
            scores = score_trials(np.stack(list(self.embeddings.values())), pairs)
            figures["eer"] = equal_error_rate(scores, [target for *_, target in self.valid_trials])
        return figures

    @torch.no_grad()
    def embed(self, rows: dict[str, dict]) -> dict[str, np.ndarray]:
        """ID -> (E,) embedding."""
        self.modules.eval()
        embeddings = {}
        for batch in tqdm(self.loader(rows), "embedding", disable=self.noprogressbar):
            batch = batch.to(self.device)
            found = self.modules.head(*self.frames(batch, sb.Stage.TEST)).float().cpu().numpy()
            embeddings |= dict(zip(batch.id, found, strict=True))
        return embeddings

    def cohort(self, train: dict[str, dict]) -> np.ndarray:
        """(voices, E) mean embedding of every training voice."""
        size, label = self.hparams.cohort_utterances, self.hparams.label
        train = utterances_per_label(train, label, size) if size else train
        embeddings = self.embed(train)
        matrix = np.stack(list(embeddings.values()))
        return speaker_mean_cohort(matrix, [train[one][label] for one in embeddings])


def split_voices(rows: dict, hparams: dict) -> dict[str, dict[str, dict]]:
    """Split -> rows: train, held_out (same voices), valid and test (other voices).

    Held out is what valid has of training voices, or else a share of train.

    Raises
    ------
    ValueError
        If test has a voice of train or valid, or `valid_metric` asks for what is not there.
    """
    label, train = hparams["label"], rows["train"]
    voices = {row[label] for row in train.values()}
    heard = voices | {row[label] for row in rows["valid"].values()}
    if mixed := [one for one, row in rows["test"].items() if row[label] in heard]:
        raise ValueError(
            f"test: {len(mixed)} of {len(rows['test'])} utterances are of voices of training or "
            f"validation (first: {mixed[0]}, {rows['test'][mixed[0]][label]}); verification is "
            "tested on voices that were never heard: leave them out of train_csv and valid_csv"
        )
    held_out = {one: row for one, row in rows["valid"].items() if row[label] in voices}
    unseen = {one: row for one, row in rows["valid"].items() if one not in held_out}
    if not held_out:
        by, share = hparams["held_out_by"], hparams["held_out_share"]
        train, held_out = hold_out(train, label, by, share, hparams["seed"])
    if not held_out and hparams["valid_metric"] == "identification_error":
        raise ValueError(
            "valid_metric: identification_error, but no utterance of a training voice is held out: "
            "raise held_out_share, or use valid_metric: eer"
        )
    return {"train": train, "held_out": held_out, "valid": unseen, "test": rows["test"]}


def draw_trials(rows: dict[str, dict], hparams: dict) -> Trials:
    """Trials of a split that has no list of them."""
    voices = {one: row | {"speaker": row[hparams["label"]]} for one, row in rows.items()}
    return sample_trials(voices, hparams["max_trials"], hparams["seed"])


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
    brain = SpeakerBrain.build(hparams, run_opts, load_for(hparams), known)
    brain.valid_trials = valid_trials
    brain.train_on(train, held_out | valid)
    figures = brain.test_on(held_out | test)
    cohort = brain.cohort(train)

    def report() -> None:
        scored = {
            name: ScoredTrials.of(trials, brain.embeddings, cohort)
            for name, trials in lists.items()
        }
        more = report_lists(scored, test, Path(hparams["output_folder"]))
        finish(brain, hparams, "speaker", figures | more, test)
        export_classifier(brain, hparams, "speaker")

    run_on_main(report)


if __name__ == "__main__":
    main(sys.argv[1:])
