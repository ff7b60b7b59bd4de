"""The parts that tasks with one label per utterance share."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.encoder import CategoricalEncoder
from torch import Tensor

from masr_modules.distributed import global_mean
from masr_modules.downstream.brain import DownstreamBrain, drop_short
from masr_modules.downstream.corpus_classes import CorpusClasses, drop_unvalidated, leave_corpus_out
from masr_modules.downstream.task import Guess
from masr_modules.encoders.pretrained import PretrainedEncoder
from masr_modules.metrics.predictions import Predictions
from masr_modules.training.experiment import load_rows

logger = logging.getLogger(__name__)


def encode_labels(labels: Iterable[str]) -> CategoricalEncoder:
    """Makes an encoder of labels, in alphabetical order, for which an unknown label is an error.

    Example
    -------
    >>> encode_labels(["b", "a", "b"]).lab2ind
    {'a': 0, 'b': 1}
    """
    encoder = CategoricalEncoder()
    encoder.expect_len(len(labels := sorted(set(labels))))
    encoder.update_from_iterable(labels)
    return encoder


def keep_labelled(rows: dict[str, dict], column: str, name: str) -> dict[str, dict]:
    """Leaves out, and counts, utterances without a label.

    Raises
    ------
    ValueError
        If no utterance has a label.
    """
    kept = {utterance: row for utterance, row in rows.items() if row.get(column)}
    if not kept:
        raise ValueError(
            f"{name}: no utterance has a {column!r}: set `label` to the column that has labels"
        )
    if len(kept) < len(rows):
        logger.warning(f"{name}: {len(rows) - len(kept)} utterances without {column} are left out")
    return kept


def labelled_rows(hparams: dict) -> dict[str, dict[str, dict]]:
    """Loads the utterances that a recipe can use: they are readable, long enough and labelled.

    If the YAML has them, `unheard_corpus` (a name or null) and `drop_unvalidated` (a bool) leave
    out more: see `masr_modules.downstream.corpus_classes`.

    Returns
    -------
    dict
        Split -> ID -> row.
    """
    label = hparams["label"]
    rows = {
        split: keep_labelled(drop_short(rows, split), label, split)
        for split, rows in load_rows(hparams).items()
    }
    if hparams.get("unheard_corpus"):
        rows = leave_corpus_out(rows, hparams["unheard_corpus"], label)
    return drop_unvalidated(rows, label) if hparams.get("drop_unvalidated") else rows


class ClassificationBrain(DownstreamBrain):
    """A Brain with a head and a classifier on an encoder.

    Arguments
    ---------
    labels : CategoricalEncoder
        The classes.
    label_of : mapping of str to str
        ID -> label of every utterance.
    corpora : CorpusClasses
        The corpora of all utterances.
    **options
        Options of DownstreamBrain.
    """

    def __init__(
        self,
        *,
        labels: CategoricalEncoder,
        label_of: Mapping[str, str],
        corpora: CorpusClasses,
        **options,
    ):
        super().__init__(**options)
        self.labels, self.label_of, self.corpora = labels, label_of, corpora

    @classmethod
    def build(
        cls,
        hparams: dict,
        run_opts: dict,
        pretrained: PretrainedEncoder,
        rows: dict[str, dict],
        **own,
    ) -> "ClassificationBrain":
        """Builds the Brain for the labels of the training set.

        Arguments
        ---------
        hparams : dict
            The settings, with `label`, the column, and the functions `head` and `classifier`.
        run_opts : dict
            SpeechBrain's run options.
        pretrained : PretrainedEncoder
            The encoder, from `load_encoder`.
        rows : dict
            Split -> ID -> row, all with a label.
        **own
            Further arguments of a subclass.
        """
        column = hparams["label"]
        labels = encode_labels(row[column] for row in rows["train"].values())
        report_strange(rows, column, labels)
        head = hparams["head"](input_size=pretrained.d_model)
        classifier = hparams["classifier"](
            input_size=head.embedding_size, out_neurons=len(labels.lab2ind)
        )
        label_of = {key: row[column] for split in rows.values() for key, row in split.items()}
        modules = {"head": head, "classifier": classifier}
        own |= {"labels": labels, "label_of": label_of, "corpora": CorpusClasses(rows, column)}
        brain = cls.from_hparams(hparams, run_opts, pretrained, modules, **own)
        hparams["checkpointer"].add_recoverable("label_encoder", labels)
        return brain

    def compute_forward(self, batch: PaddedBatch, stage: sb.Stage) -> Tensor:
        """Computes (B, classes) log-posteriors."""
        return self.modules.classifier(self.modules.head(*self.frames(batch, stage)))

    def compute_objectives(
        self, predictions: Tensor, batch: PaddedBatch, stage: sb.Stage
    ) -> Tensor:
        """Computes the mean cross-entropy of the utterances whose label is a class."""
        truth = [self.labels.lab2ind.get(self.label_of[key], -1) for key in batch.id]
        if stage != sb.Stage.TRAIN:
            self.collected.append((batch.id, predictions.float().cpu()))
        truth = torch.tensor(truth, device=predictions.device)
        total = torch.nn.functional.nll_loss(
            predictions.float(), truth, ignore_index=-1, reduction="sum"
        )
        return global_mean(total, (truth >= 0).sum().float(), alone=stage != sb.Stage.TRAIN)

    def test_on(self, test: dict[str, dict]) -> dict[str, float]:
        """See DownstreamBrain; the metrics also have the number of `classes`."""
        return super().test_on(test) | {"classes": len(self.labels.lab2ind)}

    def start_scores(self, stage: sb.Stage) -> None:
        """See DownstreamBrain."""
        self.collected = []

    def scores(self, stage: sb.Stage) -> dict[str, float]:
        """Computes the accuracies of `CorpusClasses.metrics`; sets `self.predictions`."""
        ids = [utterance for batch, _ in self.collected for utterance in batch]
        self.predictions = Predictions.of(
            ids,
            tuple(self.labels.ind2lab[i] for i in range(len(self.labels.ind2lab))),
            torch.cat([posteriors for _, posteriors in self.collected]).numpy(),
            [self.label_of[utterance] for utterance in ids],
        )
        return self.corpora.metrics(self.predictions)


def guess_a_class(results: Mapping) -> Guess:
    """Returns the unweighted accuracy of always predicting the same class: 1 / classes.

    For several corpora it is the mean over corpora (`chance`).

    Arguments
    ---------
    results : Mapping
        results.json of a run.

    Returns
    -------
    Guess
        The accuracy, and its grace.

    Example
    -------
    >>> guess_a_class({"utterances": 100, "metrics": {"classes": 5}})
    Guess(score=0.2, grace=0.08)
    """
    metrics = results["metrics"]
    return Guess.of_share(metrics.get("chance", 1 / metrics["classes"]), results["utterances"])


def report_strange(rows: dict[str, dict], column: str, labels: CategoricalEncoder) -> None:
    """Warns of labels that validation or test have but training lacks, and counts their utterances.

    Raises
    ------
    ValueError
        If there are fewer than two classes.
    """
    if len(labels.lab2ind) < 2:
        raise ValueError(
            f"train: only one {column}: {list(labels.lab2ind)}; two are needed: add utterances of "
            "others to train_csv"
        )
    for split in ("valid", "test"):
        found = Counter(row[column] for row in rows[split].values())
        for label in sorted(found.keys() - labels.lab2ind.keys()):
            logger.warning(
                f"{split}: {found[label]} utterances have {column} {label!r}, which no training "
                "utterance has: they count as errors"
            )
