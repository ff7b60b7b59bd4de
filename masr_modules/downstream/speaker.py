"""Speaker verification: a Brain that learns speaker embeddings, and the splits of speakers."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch
from torch import Tensor
from tqdm import tqdm

from masr_modules.data.audio_check import drop_undecodable
from masr_modules.distributed import global_mean
from masr_modules.downstream.classification import ClassificationBrain, guess_a_class
from masr_modules.downstream.hold_out import hold_out, utterances_per_label
from masr_modules.downstream.task import Column, Guess, Task, Use
from masr_modules.metrics.detection import equal_error_rate
from masr_modules.metrics.verification import sample_trials, score_trials, speaker_mean_cohort

logger = logging.getLogger(__name__)

#: ID to enrol, ID to test, and 1 (same speaker) or 0.
Trials = list[tuple[str, str, int]]


class SpeakerBrain(ClassificationBrain):
    """A Brain that classifies training speakers by their embeddings, to verify unseen speakers.

    Arguments
    ---------
    valid_trials : mapping of str to Trials, optional
        Lists of trials of the validation set, for `valid_metric: eer`, the mean of their EERs.
    **options
        Options of ClassificationBrain.
    """

    def __init__(self, *, valid_trials: Mapping[str, Trials] | None = None, **options):
        super().__init__(**options)
        self.valid_trials = valid_trials or {}

    def compute_forward(self, batch: PaddedBatch, stage: sb.Stage) -> tuple[Tensor, Tensor]:
        """Computes (B, E) embeddings and (B, 1, speakers) cosines."""
        embeddings = self.modules.head(*self.frames(batch, stage))
        return embeddings, self.modules.classifier(embeddings)

    def compute_objectives(self, predictions: tuple, batch: PaddedBatch, stage: sb.Stage) -> Tensor:
        """Computes the additive angular margin softmax of utterances of training speakers."""
        embeddings, cosines = predictions
        speakers = [self.label_of.get(utterance) for utterance in batch.id]
        truth = [self.labels.lab2ind.get(speaker, -1) for speaker in speakers]
        truth = torch.tensor(truth, device=cosines.device)
        known = truth >= 0
        if stage != sb.Stage.TRAIN:
            self.embeddings |= dict(zip(batch.id, embeddings.float().cpu().numpy(), strict=True))
            # A speaker that is not in training (-1) is never predicted.
            named = cosines.squeeze(1).argmax(dim=1) == truth
            labelled = torch.tensor(
                [speaker is not None for speaker in speakers], device=named.device
            )
            self.right += named[labelled].tolist()
        total, count = cosines.sum() * 0.0, known.sum().float()
        if known.any():
            total = count * self.hparams.objective(cosines[known], truth[known].unsqueeze(1))
        return global_mean(total, count, alone=stage != sb.Stage.TRAIN)

    def start_scores(self, stage: sb.Stage) -> None:
        """See DownstreamBrain."""
        self.embeddings, self.right = {}, []

    def scores(self, stage: sb.Stage) -> dict[str, float]:
        """Computes identification of held-out utterances and, in validation, the trials' EER."""
        metrics = {}
        if self.right:
            metrics["identification"] = sum(self.right) / len(self.right)
            metrics["identification_error"] = 1 - metrics["identification"]
            metrics["identified_of"] = len(self.right)
        if stage == sb.Stage.VALID and self.valid_trials:
            place = {utterance: index for index, utterance in enumerate(self.embeddings)}
            matrix, rates = np.stack(list(self.embeddings.values())), []
            for trials in self.valid_trials.values():
                pairs = np.array([(place[a], place[b]) for a, b, _ in trials])
                targets = [target for *_, target in trials]
                rates.append(equal_error_rate(score_trials(matrix, pairs), targets))
            metrics["eer"] = float(np.mean(rates))
        return metrics

    @torch.no_grad()
    def embed(self, rows: dict[str, dict]) -> dict[str, np.ndarray]:
        """Computes ID -> (E,) embedding."""
        self.modules.eval()
        embeddings = {}
        for batch in tqdm(self.loader(rows), "embedding", disable=self.noprogressbar):
            batch = batch.to(self.device)
            found = self.modules.head(*self.frames(batch, sb.Stage.TEST)).float().cpu().numpy()
            embeddings |= dict(zip(batch.id, found, strict=True))
        return embeddings

    def cohort(self, train: dict[str, dict]) -> np.ndarray:
        """Computes the (speakers, E) mean embeddings of the training speakers."""
        size, label = self.hparams.cohort_utterances, self.hparams.label
        train = utterances_per_label(train, label, size) if size else train
        train = drop_undecodable(train, self.hparams.max_unreadable)
        embeddings = self.embed(train)
        matrix = np.stack(list(embeddings.values()))
        return speaker_mean_cohort(matrix, [train[utterance][label] for utterance in embeddings])


def split_speakers(
    rows: Mapping[str, dict[str, dict]], hparams: Mapping
) -> dict[str, dict[str, dict]]:
    """Separates training speakers from others, and holds some of their utterances out.

    The utterances of training speakers in valid are held out or, if there are none, a fraction of
    train.

    Arguments
    ---------
    rows : Mapping
        Split -> ID -> row, of train, valid and test.
    hparams : Mapping
        The settings `label`, `held_out_by`, `held_out_share`, `seed` and `valid_metric`.

    Returns
    -------
    dict
        Split -> ID -> row of train, held_out (of the same speakers), valid and test (of others).

    Raises
    ------
    ValueError
        If test has a speaker of train or valid, or `valid_metric` is identification_error and no
        utterance is held out.

    Example
    -------
    >>> def row(speaker):
    ...     return {"speaker": speaker}
    >>> rows = {
    ...     "train": {"1": row("ann"), "2": row("bo")},
    ...     "valid": {"3": row("ann"), "4": row("cy")},
    ...     "test": {"5": row("di")},
    ... }
    >>> splits = split_speakers(rows, {"label": "speaker", "valid_metric": "eer"})
    >>> {split: list(found) for split, found in splits.items()}
    {'train': ['1', '2'], 'held_out': ['3'], 'valid': ['4'], 'test': ['5']}
    """
    label, train = hparams["label"], rows["train"]
    speakers = {row[label] for row in train.values()}
    seen = speakers | {row[label] for row in rows["valid"].values()}
    if mixed := [utterance for utterance, row in rows["test"].items() if row[label] in seen]:
        raise ValueError(
            f"test: {len(mixed)} of {len(rows['test'])} utterances are of speakers of training "
            f"or validation (first: {mixed[0]}, {rows['test'][mixed[0]][label]}); verification is "
            "tested on unseen speakers: leave them out of train_csv and valid_csv"
        )
    held_out, unseen = {}, {}
    for utterance, row in rows["valid"].items():
        (held_out if row[label] in speakers else unseen)[utterance] = row
    if not held_out:
        by, share = hparams["held_out_by"], hparams["held_out_share"]
        train, held_out = hold_out(train, label, by, share, hparams["seed"])
    if not held_out and hparams["valid_metric"] == "identification_error":
        raise ValueError(
            "valid_metric: identification_error, but no utterance of a training speaker is held "
            "out: raise held_out_share, or use valid_metric: eer"
        )
    return {"train": train, "held_out": held_out, "valid": unseen, "test": rows["test"]}


def check_identification(rows: Mapping[str, Mapping[str, dict]], hparams: Mapping) -> None:
    """Checks that identification, without verification, can be validated and tested.

    Arguments
    ---------
    rows : Mapping
        Split -> ID -> row, of train, valid and test.
    hparams : Mapping
        The settings `label` and `valid_metric`.

    Raises
    ------
    ValueError
        If valid or test has no training speaker, or `valid_metric` is not identification_error.

    Example
    -------
    >>> rows = {"train": {"1": {"speaker": "ann"}}, "valid": {"2": {"speaker": "bo"}}}
    >>> hparams = {"label": "speaker", "valid_metric": "identification_error"}
    >>> check_identification(rows | {"test": {}}, hparams)
    Traceback (most recent call last):
    ...
    ValueError: valid: no utterance is of a training speaker, and trials: [] asks for ...
    """
    if hparams["valid_metric"] != "identification_error":
        raise ValueError(
            f"valid_metric: {hparams['valid_metric']}, but trials: [] asks for identification "
            "alone: set valid_metric: identification_error"
        )
    speakers = {row[hparams["label"]] for row in rows["train"].values()}
    for split in ("valid", "test"):
        if not speakers & {row[hparams["label"]] for row in rows[split].values()}:
            raise ValueError(
                f"{split}: no utterance is of a training speaker, and trials: [] asks for "
                f"identification alone: give another {split}_csv, or trials: null"
            )


def describe_training(train: Mapping[str, dict], label: str) -> str:
    """Describes the training set: the number of speakers of each corpus that IDs name.

    Arguments
    ---------
    train : Mapping
        ID -> row of the training set.
    label : str
        Column of the speaker.

    Returns
    -------
    str
        The description, with corpora in alphabetical order.

    Example
    -------
    >>> speakers = {"voxceleb2_a1": "voxceleb2_a", "voxceleb1_b1": "voxceleb1_b", "1": "cy"}
    >>> describe_training({i: {"speaker": name} for i, name in speakers.items()}, "speaker")
    '1 speaker, 1 speaker of voxceleb1, 1 speaker of voxceleb2'
    """
    speakers = defaultdict(set)
    for utterance, row in train.items():
        corpus = row[label].partition("_")[0]
        named = utterance.startswith(f"{corpus}_") and row[label] != corpus
        speakers[f" of {corpus}" if named else ""].add(row[label])
    counts = sorted((corpus, len(found)) for corpus, found in speakers.items())
    return ", ".join(f"{count} speaker{'s' * (count > 1)}{corpus}" for corpus, count in counts)


def draw_trials(rows: Mapping[str, dict], hparams: Mapping) -> dict[str, Trials]:
    """Draws the trials of a split that has no list of them; each of several corpora has its own.

    There are no trials across corpora, because the recording channel would separate the speakers.

    Arguments
    ---------
    rows : Mapping
        ID -> row, with `corpus` if there are several corpora.
    hparams : Mapping
        The settings `label`, `max_trials`, `trials_within` and `seed`.

    Returns
    -------
    dict
        Corpus -> list of (str, str, int), see `masr_modules.metrics.verification.sample_trials`.
        The list of a single corpus is called `drawn`.

    Example
    -------
    >>> rows = {"a1": {"who": "a"}, "a2": {"who": "a"}, "b1": {"who": "b"}}
    >>> hparams = {"label": "who", "max_trials": 10, "trials_within": [], "seed": 0}
    >>> draw_trials(rows, hparams)
    {'drawn': [('a1', 'a2', 1), ('a1', 'b1', 0), ('a2', 'b1', 0)]}
    """
    within = hparams["trials_within"]
    if without := sum(not all(row.get(name) for name in within) for row in rows.values()):
        logger.warning(
            f"{without} of {len(rows)} utterances are in no trial, because they lack "
            f"{' or '.join(within)}"
        )
    rows = {utterance: row | {"speaker": row[hparams["label"]]} for utterance, row in rows.items()}
    of_corpus = defaultdict(dict)
    for utterance, row in rows.items():
        of_corpus[row.get("corpus") or "drawn"][utterance] = row
    parts = of_corpus if len(of_corpus) > 1 else {"drawn": rows}
    return {
        name: sample_trials(part, hparams["max_trials"], hparams["seed"], within)
        for name, part in parts.items()
    }


def guess_a_verdict(results: Mapping) -> Guess:
    """Returns the equal error rate of random scores, 50 %.

    Example
    -------
    >>> guess_a_verdict({"utterances": 100})
    Guess(score=0.5, grace=0.1)
    """
    return Guess.of_share(0.5, results["utterances"])


def state_threshold(metrics: Mapping[str, float]) -> str:
    """Writes the paragraph of the model card on the decision.

    Example
    -------
    >>> "at a threshold of 0.412: compare" in state_threshold({"threshold": 0.4123})
    True
    """
    threshold = metrics["threshold"]
    return f"""\
It prints a cosine, and a decision at SpeechBrain's threshold of 0.25. On the trials of the test
set, both kinds of errors are equally frequent at a threshold of {threshold:.3f}: compare the cosine
with it, or with a threshold that was chosen on recordings like yours."""


TASK = Task(
    name="speaker",
    title="Speaker verification",
    brain=SpeakerBrain,
    columns=(
        Column("EER", "eer", "share"),
        Column("minDCF 0.01", "min_dcf_01", "cost"),
        Column("minDCF 0.05", "min_dcf_05", "cost"),
        Column("EER, s-norm", "eer_snorm", "share"),
        Column("EER, other language", "eer_cross_language", "share"),
        Column("identification accuracy", "identification", "share"),
    ),
    higher_is_better=False,
    chance=guess_a_verdict,
    use=Use(
        "speaker",
        "SpeakerRecognition",
        "verify_files",
        arguments='"one.wav", "other.wav"',
        note=state_threshold,
    ),
    mini_yaml="mini_speaker.yaml",
    prefix="speaker",
    place=4,
)

#: The task if the test set is of training speakers and there are no trials.
IDENTIFICATION = replace(
    TASK,
    title="Speaker identification",
    columns=TASK.columns[-1:],
    higher_is_better=True,
    chance=guess_a_class,
    use=Use("classifiers", "EncoderClassifier", "classify_file"),
    mini_yaml="",
)
