"""Cross-entropy on the labels of the pooled embedding: what MASR is compared with."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.data.metadata import MISSING, Metadata
from masr_modules.distributed import JointBatch, global_mean
from masr_modules.heads.projection import Layers, Projection
from masr_modules.knowledge import KnowledgeSource
from masr_modules.pairwise.losses import LossOutput
from masr_modules.pairwise.prototypes import describe_labels
from masr_modules.pairwise.similarity import combine


class ClassifierHead(nn.Module):
    """Cross-entropy on labels, the mean over columns: the plain alternative to MASR.

    With `plausible_by`, an utterance without a label counts too: its loss is -log of the
    probability of all classes that it may be (Jin and Ghahramani, 2002, "Learning with
    Multiple Labels"), those that no column of `plausible_by` contradicts.

    Arguments
    ---------
    columns : sequence of str
        Label columns to classify.
    input_size : int
        Of the pooled embedding.
    embedding_size : int
        Of the projection before the classifiers, the same as MASRHead's.
    layers : int or sequence of int
        See MASRHead.
    plausible_by : sequence of str
        Label columns that tell what an utterance without a label may be, as far as all
        utterances of a class agree in them; such as the family of a language.

    Example
    -------
    >>> head = ClassifierHead(["language"], input_size=8, embedding_size=4)
    >>> metadata = Metadata.from_columns({"language": ["fra", "fra", "deu"]})
    >>> head.bind(metadata)
    >>> sorted(head(torch.randn(3, 8), metadata).stats)
    ['accuracy_language']
    """

    def __init__(
        self,
        columns: Sequence[str],
        input_size: int,
        embedding_size: int,
        layers: Layers = -1,
        plausible_by: Sequence[str] = (),
    ):
        super().__init__()
        self.targets = list(columns)
        self.plausible_by = list(plausible_by)
        self.embedding_size = embedding_size
        self.projection = Projection(input_size, embedding_size, layers)
        self.classifiers = nn.ModuleDict()

    @property
    def columns(self) -> list[str]:
        """The metadata columns it reads."""
        return list(dict.fromkeys([*self.targets, *self.plausible_by]))

    @property
    def identities(self) -> list[str]:
        """What it tells apart."""
        return self.targets

    @property
    def used_sources(self) -> list[KnowledgeSource]:
        """None: a classifier knows labels."""
        return []

    def bind(self, metadata: Metadata) -> None:
        """Makes a classifier for each column, with a class for each label."""
        for column in self.targets:
            if column not in self.classifiers:
                classes = len(metadata.vocabularies[column])
                self.classifiers[column] = nn.Linear(self.embedding_size, classes)
                for told in self.plausible_by:
                    shared = describe_labels(metadata, column, told)
                    self.register_buffer(f"{column}_{told}", shared, persistent=False)

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

    def _cross_entropy(self, column: str, logits: Tensor, metadata: Metadata):
        """The sum over utterances, and how many count."""
        codes = metadata[column]
        if not self.plausible_by:
            total = F.cross_entropy(logits, codes, ignore_index=MISSING, reduction="sum")
            return total, (codes != MISSING).float().sum()
        described = {told: getattr(self, f"{column}_{told}") for told in self.plausible_by}
        classes = torch.arange(logits.shape[1], device=codes.device)
        classes = Metadata({column: classes, **described}, metadata.vocabularies)
        may_be = combine([], metadata, column, classes, plausible_by=self.plausible_by).positive
        told = may_be.any(dim=1)
        among = logits.masked_fill(~(may_be | ~told.unsqueeze(1)), float("-inf"))
        return (logits.logsumexp(dim=1) - among.logsumexp(dim=1)).sum(), told.float().sum()
