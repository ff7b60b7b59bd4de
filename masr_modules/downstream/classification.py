"""One label per utterance: what the tasks that name a class share."""

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
    """Classes in alphabetical order, and nothing else: an unknown label is an error.

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
        If none has one: names the column and the split.
    """
    kept = {utterance: row for utterance, row in rows.items() if row.get(column)}
    if not kept:
        raise ValueError(f"{name}: no utterance has a {column!r}: which column holds the label?")
    if len(kept) < len(rows):
        logger.warning(f"{name}: {len(rows) - len(kept)} utterances without {column} are left out")
    return kept


def labelled_rows(hparams: dict) -> dict[str, dict[str, dict]]:
    """Split -> ID -> row of what a recipe can use: readable, long enough, with a label.

    Where the YAML has them, `unheard_corpus` (a name or null) and `drop_unvalidated` (a bool) leave
    more out: see `masr_modules.downstream.corpus_classes`.
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
    """Head and classifier on an encoder.

    Arguments
    ---------
    labels : CategoricalEncoder
        The classes.
    label_of : mapping of str to str
        ID -> label of every utterance.
    corpora : CorpusClasses
        Of every utterance.
    **options
        Of DownstreamBrain.
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
        """The Brain for the labels of the training set.

        Arguments
        ---------
        hparams : dict
            With `label`, the column, and `head` and `classifier`, which build them.
        run_opts : dict
            Of SpeechBrain.
        pretrained : PretrainedEncoder
            From `load_encoder`.
        rows : dict
            Split -> rows, all with a label.
        **own
            What a subclass takes beside.
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
        """(B, classes) log-posteriors."""
        return self.modules.classifier(self.modules.head(*self.frames(batch, stage)))

    def compute_objectives(
        self, predictions: Tensor, batch: PaddedBatch, stage: sb.Stage
    ) -> Tensor:
        """Cross-entropy of the utterances whose label is a class."""
        truth = [self.labels.lab2ind.get(self.label_of[key], -1) for key in batch.id]
        if stage != sb.Stage.TRAIN:
            self.collected.append((batch.id, predictions.float().cpu()))
        truth = torch.tensor(truth, device=predictions.device)
        total = torch.nn.functional.nll_loss(
            predictions.float(), truth, ignore_index=-1, reduction="sum"
        )
        return global_mean(total, (truth >= 0).sum().float(), alone=stage != sb.Stage.TRAIN)

    def test_on(self, test: dict[str, dict]) -> dict[str, float]:
        """See DownstreamBrain; with the number of classes."""
        return super().test_on(test) | {"classes": len(self.labels.lab2ind)}

    def start_scores(self, stage: sb.Stage) -> None:
        """See DownstreamBrain."""
        self.collected = []

    def scores(self, stage: sb.Stage) -> dict[str, float]:
        """Weighted and unweighted accuracy, of each corpus; keeps `self.predictions`."""
        ids = [utterance for batch, _ in self.collected for utterance in batch]
        self.predictions = Predictions.of(
            ids,
            tuple(self.labels.ind2lab[i] for i in range(len(self.labels.ind2lab))),
            torch.cat([posteriors for _, posteriors in self.collected]).numpy(),
            [self.label_of[utterance] for utterance in ids],
        )
        return self.corpora.metrics(self.predictions)


def guess_a_class(results: Mapping) -> Guess:
    """One class in all is right, whichever is named, where classes count alike.

    Of several corpora, the mean over their numbers of classes (`chance`).

    Arguments
    ---------
    results : Mapping
        results.json of a run.

    Returns
    -------
    Guess
        The accuracy.

    Example
    -------
    >>> guess_a_class({"utterances": 100, "metrics": {"classes": 5}})
    Guess(score=0.2, grace=0.08)
    """
    metrics = results["metrics"]
    return Guess.of_share(metrics.get("chance", 1 / metrics["classes"]), results["utterances"])


def report_strange(rows: dict[str, dict], column: str, labels: CategoricalEncoder) -> None:
    """Warns of labels that occur outside training only, with their number of utterances.

    Raises
    ------
    ValueError
        If there are fewer than two classes.
    """
    if len(labels.lab2ind) < 2:
        raise ValueError(f"train: only one {column}: {list(labels.lab2ind)}; two are needed")
    for split in ("valid", "test"):
        found = Counter(row[column] for row in rows[split].values())
        for label in sorted(found.keys() - labels.lab2ind.keys()):
            logger.warning(
                f"{split}: {found[label]} utterances of {column} {label!r}, which no training "
                "utterance has: they cannot be named right, and count as errors"
            )
