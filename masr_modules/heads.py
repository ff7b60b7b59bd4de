"""What is trained on the pooled embedding beside the SSL loss: one block of the YAML.

Swapping the block swaps the experiment: MASRHead for the pair-wise losses,
ClassifierHead for plain cross-entropy on the same labels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.knowledge import KnowledgeSource
from masr_modules.losses import LossOutput
from masr_modules.metadata import MISSING, Metadata
from masr_modules.similarity import combine


class Projection(nn.Module):
    """Linear, then BatchNorm without affine: z before its normalisation.

    Mean-pooled encoder outputs share one large direction; without the
    BatchNorm all cosine distances start near 0 and hard mining stays at its
    collapse value phi(m).

    Example
    -------
    >>> Projection(8, 4)(torch.randn(3, 8)).shape
    torch.Size([3, 4])
    """

    def __init__(self, input_size: int, output_size: int):
        super().__init__()
        self.linear = nn.Linear(input_size, output_size, bias=False)
        self.norm = nn.BatchNorm1d(output_size, affine=False)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, input_size) -> (B, output_size)."""
        x = self.linear(pooled)
        if self.training and len(x) == 1:
            # One utterance has no batch statistics; the running ones are the best known.
            return F.batch_norm(x, self.norm.running_mean, self.norm.running_var)
        return self.norm(x)


class MASRHead(nn.Module):
    """Projection, similarity from the knowledge, and a pair-wise loss.

    Arguments
    ---------
    sources : sequence of KnowledgeSource
        The knowledge; may be empty.
    loss : nn.Module
        Called with (embeddings, similarity).
    input_size : int
        Of the pooled embedding.
    embedding_size : int
        D of z.
    identity : str, optional
        See masr_modules.similarity.combine.

    Example
    -------
    >>> from masr_modules.losses import MASRLoss
    >>> head = MASRHead([], MASRLoss(), input_size=8, embedding_size=4)
    >>> metadata = Metadata.from_columns({"language": ["fra", "fra", "deu"]})
    >>> head(torch.randn(3, 8), metadata).loss.shape
    torch.Size([])
    """

    def __init__(
        self,
        sources: Sequence[KnowledgeSource],
        loss: nn.Module,
        input_size: int,
        embedding_size: int,
        identity: str | None = "language",
    ):
        super().__init__()
        self.sources = list(sources)
        self.identity = identity
        self.projection = Projection(input_size, embedding_size)
        self.loss = loss

    @property
    def columns(self) -> list[str]:
        """The metadata columns it reads."""
        names = {source.column for source in self.sources}
        return sorted(names | ({self.identity} if self.identity else set()))

    def bind(self, vocabularies: dict[str, list[str]]) -> None:
        """Prepares the sources for the corpus's labels; errors show here, not mid-epoch."""
        for source in self.sources:
            if source.column in vocabularies:
                source.bind(vocabularies[source.column])

    def forward(self, pooled: Tensor, metadata: Metadata) -> LossOutput:
        """(B, input_size) pooled frames and their metadata -> LossOutput."""
        similarity = combine(self.sources, metadata, self.identity)
        return self.loss(self.projection(pooled), similarity)


class ClassifierHead(nn.Module):
    """Cross-entropy on labels, the mean over columns: the plain alternative to MASR.

    Arguments
    ---------
    columns : sequence of str
        Label columns to classify.
    input_size : int
        Of the pooled embedding.
    embedding_size : int
        Of the projection before the classifiers, the same as MASRHead's.

    Example
    -------
    >>> head = ClassifierHead(["language"], input_size=8, embedding_size=4)
    >>> metadata = Metadata.from_columns({"language": ["fra", "fra", "deu"]})
    >>> head.bind(metadata.vocabularies)
    >>> sorted(head(torch.randn(3, 8), metadata).stats)
    ['accuracy_language']
    """

    def __init__(self, columns: Sequence[str], input_size: int, embedding_size: int):
        super().__init__()
        self.columns = list(columns)
        self.embedding_size = embedding_size
        self.projection = Projection(input_size, embedding_size)
        self.classifiers = nn.ModuleDict()

    def bind(self, vocabularies: dict[str, list[str]]) -> None:
        """Makes one classifier a column, with a class a label."""
        for column in self.columns:
            if column not in self.classifiers:
                self.classifiers[column] = nn.Linear(self.embedding_size, len(vocabularies[column]))

    def forward(self, pooled: Tensor, metadata: Metadata) -> LossOutput:
        """(B, input_size) pooled frames and their metadata -> LossOutput."""
        embeddings = self.projection(pooled)
        losses, stats = [], {}
        for column in self.columns:
            codes = metadata[column]
            known = (codes != MISSING).float()
            logits = self.classifiers[column](embeddings).float()
            total = F.cross_entropy(logits, codes, ignore_index=MISSING, reduction="sum")
            losses.append(total / known.sum().clamp(min=1.0))
            with torch.no_grad():
                right = (logits.argmax(dim=1) == codes).float().sum()
                stats[f"accuracy_{column}"] = right / known.sum().clamp(min=1.0)
        return LossOutput(torch.stack(losses).mean(), stats)
