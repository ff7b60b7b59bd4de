"""Cross-entropy on the labels of the pooled embedding: what MASR is compared with."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.data.candidates import CandidateLabels
from masr_modules.data.metadata import MISSING, Metadata
from masr_modules.distributed import JointBatch, global_mean
from masr_modules.heads.projection import Layers, Projection
from masr_modules.knowledge import KnowledgeSource
from masr_modules.pairwise.losses import LossOutput


class ClassifierHead(nn.Module):
    """Cross-entropy on labels, the mean over columns: the plain alternative to MASR.

    With `candidates_by`, an utterance without a label counts too: its loss is -log of the
    probability of all its candidate labels (Jin and Ghahramani, 2002, "Learning with
    Multiple Labels").

    Arguments
    ---------
    columns : sequence of str
        Label columns to classify.
    input_size : int
        Of the pooled embedding.
    embedding_size : int
        Of the projection before the classifiers, the same as MASRHead's.
    metadata : Metadata
        Of the corpus: a column has a class for each label.
    layers : int or sequence of int
        Of the encoder, the last by default; see Projection.
    candidates_by : sequence of str
        Label columns that tell what an utterance without a label may be, as far as the
        utterances of a class agree in them, such as the family of a language; see
        masr_modules.data.candidates.CandidateLabels.

    Example
    -------
    >>> metadata = Metadata.from_columns({"language": ["fra", "fra", "deu"]})
    >>> head = ClassifierHead(["language"], input_size=8, embedding_size=4, metadata=metadata)
    >>> sorted(head(torch.randn(3, 8), metadata).stats)
    ['accuracy_language']
    """

    def __init__(
        self,
        columns: Sequence[str],
        input_size: int,
        embedding_size: int,
        metadata: Metadata,
        layers: Layers = -1,
        candidates_by: Sequence[str] = (),
    ):
        super().__init__()
        self.targets = list(columns)
        self.projection = Projection(input_size, embedding_size, layers)
        self.classifiers = nn.ModuleDict(
            {
                column: nn.Linear(embedding_size, len(metadata.vocabulary(column)))
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
        embeddings = self.projection(pooled, joint)[joint.own]
        losses, stats = [], {}
        for column in self.targets:
            codes = metadata[column]
            logits = self.classifiers[column](embeddings).float()
            losses.append(global_mean(*self._cross_entropy(column, logits, metadata)))
            with torch.no_grad():
                known = (codes != MISSING).float().sum()
                right = (logits.argmax(dim=1) == codes).float().sum()
                stats[f"accuracy_{column}"] = right / known.clamp(min=1.0)
        return LossOutput(torch.stack(losses).mean(), stats)

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
