"""A head with cross-entropy on labels of the pooled embedding; MASR is compared with it."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.data.candidates import CandidateLabels
from masr_modules.data.metadata import MISSING, Metadata
from masr_modules.distributed import JointBatch, global_mean
from masr_modules.heads.projection import Layers, Projection
from masr_modules.knowledge import KnowledgeSource
from masr_modules.pairwise.losses import LossOutput, unit_norm

#: The name of a projection that all columns share.
_SHARED = "shared"


class ClassifierHead(nn.Module):
    """Classifiers of label columns, whose loss is the weighted sum of their cross-entropies.

    With `candidates_by`, an utterance without a label counts too: its loss is -log of the
    summed probability of its candidate labels (Jin and Ghahramani, 2002, "Learning with
    Multiple Labels").

    Arguments
    ---------
    columns : mapping of str to float, or sequence of str
        Label column to classify -> weight of its loss. The columns of a sequence have equal
        weights whose sum is 1.
    input_size : int
        Dimensions of the pooled embedding.
    embedding_size : int
        Dimensions of the projection before the classifiers, which is like MASRHead's.
    metadata : Metadata
        Metadata of the corpus: a column has a class for each label.
    layers : int, sequence of int, or mapping of str to (int or sequence of int)
        Layers of the encoder, the last by default; see Projection. With a mapping from columns,
        each column has a projection of its own.
    candidates_by : sequence of str
        Label columns, such as the family of a language, that give an utterance without a label
        its candidate labels; see masr_modules.data.candidates.CandidateLabels.
    margin : nn.Module, optional
        SpeechBrain's AdditiveAngularMargin: logits are then cosines times a scale, and in training
        the correct label's has a margin (AAM-softmax, Xiang et al., 2019, arXiv 1906.07317).

    Raises
    ------
    ValueError
        If a weight is not above 0, `layers` names another column, or both a margin and
        `candidates_by` are given.

    Example
    -------
    >>> metadata = Metadata.from_columns({"language": ["fra", "fra", "deu"]})
    >>> head = ClassifierHead(["language"], input_size=8, embedding_size=4, metadata=metadata)
    >>> sorted(head(torch.randn(3, 8), metadata).stats)
    ['accuracy_language']
    """

    def __init__(
        self,
        columns: Mapping[str, float] | Sequence[str],
        input_size: int,
        embedding_size: int,
        metadata: Metadata,
        layers: Layers | Mapping[str, Layers] = -1,
        candidates_by: Sequence[str] = (),
        margin: nn.Module | None = None,
    ):
        super().__init__()
        self.targets = list(columns)
        even = [1.0 / len(columns)] * len(columns)
        weights = list(columns.values()) if isinstance(columns, Mapping) else even
        self.weights = dict(zip(self.targets, weights, strict=True))
        if any(not weight > 0 for weight in weights):
            raise ValueError(f"columns need a weight above 0 each, got {self.weights}")
        if margin is not None and candidates_by:
            raise ValueError(
                "a margin needs the one label of an utterance: give either margin or candidates_by"
            )
        read: dict[str, Layers]
        if isinstance(layers, Mapping):
            if unknown := {*layers} - {*columns}:
                raise ValueError(
                    f"layers names {sorted(unknown)}, which are not among columns: {self.targets}"
                )
            read = {column: layers.get(column, -1) for column in self.targets}
        else:
            read = {_SHARED: layers}
        self.projections = nn.ModuleDict(
            {name: Projection(input_size, embedding_size, layer) for name, layer in read.items()}
        )
        self.margin = margin
        self.classifiers = nn.ModuleDict(
            {
                column: nn.Linear(
                    embedding_size, len(metadata.vocabulary(column)), bias=margin is None
                )
                for column in columns
            }
        )
        self.candidates = nn.ModuleDict()
        if candidates_by:
            for column in columns:
                self.candidates[column] = CandidateLabels(column, candidates_by, metadata)

    @staticmethod
    def read_sources(**_: object) -> list:
        """Returns no source: a classifier reads labels alone."""
        return []

    @property
    def identities(self) -> list[str]:
        """The label columns that the head classifies."""
        return self.targets

    @property
    def used_sources(self) -> list[KnowledgeSource]:
        """No source: a classifier reads labels alone."""
        return []

    def forward(self, pooled: Tensor, metadata: Metadata) -> LossOutput:
        """Computes the loss on (B, input_size) pooled frames, or (B, K, input_size) of K layers."""
        joint = JointBatch(len(pooled), pooled.device, alone=not self.training)
        embeddings = {
            name: projection(pooled, joint)[joint.own]
            for name, projection in self.projections.items()
        }
        losses, stats = [], {}
        for column in self.targets:
            codes = metadata[column]
            logits = self._logits(
                column, embeddings[column if column in embeddings else _SHARED], codes
            )
            loss = global_mean(*self._cross_entropy(column, logits, metadata))
            losses.append(self.weights[column] * loss)
            with torch.no_grad():
                known = (codes != MISSING).float().sum()
                right = (logits.argmax(dim=1) == codes).float().sum()
                stats[f"accuracy_{column}"] = right / known.clamp(min=1.0)
        return LossOutput(torch.stack(losses).sum(), stats)

    def _logits(self, column: str, embeddings: Tensor, codes: Tensor) -> Tensor:
        """Returns (B, labels) float32 logits; in training, the correct label's has the margin."""
        classifier = self.classifiers[column]
        assert isinstance(classifier, nn.Linear)
        if self.margin is None:
            return classifier(embeddings).float()
        with torch.autocast(embeddings.device.type, enabled=False):
            cosines = F.linear(unit_norm(embeddings), unit_norm(classifier.weight))
            own = F.one_hot(codes.clamp(min=0), cosines.shape[1])
            own = own * (codes != MISSING).unsqueeze(1) * self.training
            return self.margin(cosines, own.to(cosines.dtype))

    def _cross_entropy(
        self, column: str, logits: Tensor, metadata: Metadata
    ) -> tuple[Tensor, Tensor]:
        """Returns the sum over utterances, and the number of utterances in it."""
        codes = metadata[column]
        if column not in self.candidates:
            total = F.cross_entropy(logits, codes, ignore_index=MISSING, reduction="sum")
            return total, (codes != MISSING).float().sum()
        candidates = self.candidates[column]
        assert isinstance(candidates, CandidateLabels)
        labels = candidates.labels
        may_be = codes.unsqueeze(1) == labels[column].unsqueeze(0)  # a missing label equals none
        may_be = may_be | candidates.allowed(metadata, labels)
        told = may_be.any(dim=1)
        among = logits.masked_fill(~(may_be | ~told.unsqueeze(1)), float("-inf"))
        return (logits.logsumexp(dim=1) - among.logsumexp(dim=1)).sum(), told.float().sum()
