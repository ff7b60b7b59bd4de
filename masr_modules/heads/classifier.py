"""Cross-entropy on the labels of the pooled embedding: what MASR is compared with."""

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
    """Cross-entropy on labels, the sum over columns: the plain alternative to MASR.

    With `candidates_by`, an utterance without a label counts too: its loss is -log of the
    probability of all its candidate labels (Jin and Ghahramani, 2002, "Learning with
    Multiple Labels").

    Arguments
    ---------
    columns : mapping of str to float, or sequence of str
        Label column to classify -> weight of its loss. Of a sequence each has the same, and
        together they have 1.
    input_size : int
        Of the pooled embedding.
    embedding_size : int
        Of the projection before the classifiers, the same as MASRHead's.
    metadata : Metadata
        Of the corpus: a column has a class for each label.
    layers : int, sequence of int, or mapping of str to (int or sequence of int)
        Of the encoder, the last by default; see Projection. With a mapping of columns, each
        column has a projection of its own.
    margin : nn.Module, optional
        SpeechBrain's AdditiveAngularMargin: logits are then cosines, the label's with a margin,
        times a scale (AAM-softmax, Xiang et al., 2019, arXiv 1906.07317).
    candidates_by : sequence of str
        Label columns that tell what an utterance without a label may be, as far as the
        utterances of a class agree in them, such as the family of a language; see
        masr_modules.data.candidates.CandidateLabels.

    Raises
    ------
    ValueError
        If a weight is not above 0, `layers` names another column, or candidate labels go with a
        margin, which is of one label.

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
            raise ValueError("a margin is of the one label: give it or candidates_by")
        read: dict[str, Layers]
        if isinstance(layers, Mapping):
            if unknown := {*layers} - {*columns}:
                raise ValueError(f"layers names {sorted(unknown)}, no columns: {self.targets}")
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
        """None: a classifier knows labels."""
        return []

    @property
    def identities(self) -> list[str]:
        """The columns that it classifies."""
        return self.targets

    @property
    def used_sources(self) -> list[KnowledgeSource]:
        """None: a classifier knows labels."""
        return []

    def forward(self, pooled: Tensor, metadata: Metadata) -> LossOutput:
        """(B, input_size) or (B, K, input_size) pooled frames, their metadata -> LossOutput."""
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
        """(B, D) -> (B, labels) float32, in training with the margin of the label."""
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
        """The sum over utterances, and how many count."""
        codes = metadata[column]
        if column not in self.candidates:
            total = F.cross_entropy(logits, codes, ignore_index=MISSING, reduction="sum")
            return total, (codes != MISSING).float().sum()
        candidates = self.candidates[column]
        assert isinstance(candidates, CandidateLabels)
        labels = candidates.labels
        may_be = codes.unsqueeze(1) == labels[column].unsqueeze(0)  # a missing one is no label's
        may_be = may_be | candidates.allowed(metadata, labels)
        told = may_be.any(dim=1)
        among = logits.masked_fill(~(may_be | ~told.unsqueeze(1)), float("-inf"))
        return (logits.logsumexp(dim=1) - among.logsumexp(dim=1)).sum(), told.float().sum()
