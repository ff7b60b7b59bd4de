"""Cross-entropy beside regression onto vectors of the labels: knowledge as a target."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from masr_modules.data.metadata import MISSING, Metadata
from masr_modules.distributed import JointBatch, global_mean
from masr_modules.heads.classifier import ClassifierHead
from masr_modules.heads.projection import Layers, Projection
from masr_modules.knowledge import KnowledgeSource, build_sources
from masr_modules.pairwise.losses import LossOutput
from masr_modules.pairwise.similarity import graded_sources, label_similarity


class RegressionHead(nn.Module):
    """Cross-entropy on labels, and regression from a layer of the encoder onto the label's vector.

    The products of the vectors approximate the centred similarities that the sources give to the
    pairs of labels (classical scaling, Torgerson, 1952). With languages and their places this is
    the auxiliary task of geolocation-aware language identification (Wang et al., 2025,
    arXiv 2508.17148), which regresses onto lang2vec's vectors. That work also feeds the prediction
    into later layers, which this class does not.

    Arguments
    ---------
    classifier : factory of ClassifierHead
        Called with `metadata`.
    sources : sequence of KnowledgeSource or of their factories
        Sources that read `column` and grade its labels; others are an error.
    input_size : int
        Dimensions of the pooled embedding.
    metadata : Metadata
        Metadata of the corpus.
    column : str
        The label column.
    vector_size : int
        Largest number of dimensions of a label's vector; those of largest variance are kept.
    weight : float
        Weight of the mean squared error; the vectors have a mean square of 1.
    layers : int or sequence of int
        Layers from which the vector is predicted; see Projection.

    Raises
    ------
    ValueError
        If a source does not grade the column's labels, or none does.

    Example
    -------
    >>> from functools import partial
    >>> from masr_modules.knowledge import Geographic
    >>> metadata = Metadata.from_columns({"language": ["fra", "spa", "tam", ""]})
    >>> classifier = partial(ClassifierHead, ["language"], 8, 4)
    >>> sources = [partial(Geographic, "language")]
    >>> head = RegressionHead(classifier, sources, 8, metadata, vector_size=2)
    >>> sorted(head(torch.randn(4, 8), metadata).stats)
    ['accuracy_language', 'regression']
    """

    vectors: Tensor

    def __init__(
        self,
        classifier: Callable[..., ClassifierHead],
        sources: Sequence[KnowledgeSource | Callable[..., KnowledgeSource]],
        input_size: int,
        metadata: Metadata,
        column: str = "language",
        vector_size: int = 16,
        weight: float = 1.0,
        layers: Layers = -1,
    ):
        super().__init__()
        idle = [source for source in sources if source not in graded_sources(sources, column)]
        if idle or not sources:
            raise ValueError(
                f"regression onto '{column}' needs sources that grade its labels, such as "
                f"Geographic; got {idle or 'none'}"
            )
        self.classifier = classifier(metadata=metadata)
        self.sources = build_sources(sources, metadata)
        self.column, self.weight = column, weight
        vectors = label_vectors(self.sources, column, metadata, vector_size)
        self.register_buffer("vectors", vectors, persistent=False)
        self.predict = Projection(input_size, vectors.shape[1], layers)

    @staticmethod
    def read_sources(sources: Sequence, **_: object) -> list:
        """Returns all sources: their similarities are the targets."""
        return list(sources)

    @property
    def identities(self) -> list[str]:
        """The label columns that the head classifies."""
        return self.classifier.identities

    @property
    def used_sources(self) -> list[KnowledgeSource]:
        """The sources that the head regresses onto: all of them."""
        return self.sources

    @property
    def projections(self) -> nn.ModuleDict:
        """The projections of its classifier."""
        return self.classifier.projections

    def forward(self, pooled: Tensor, metadata: Metadata) -> LossOutput:
        """Computes the loss on (B, input_size) pooled frames, or (B, K, input_size) of K layers."""
        output = self.classifier(pooled, metadata)
        joint = JointBatch(len(pooled), pooled.device, alone=not self.training)
        guess = self.predict(pooled, joint)[joint.own]
        codes = metadata[self.column]
        known = (codes != MISSING).to(guess.dtype)
        errors = (guess - self.vectors[codes]).square().mean(dim=1)
        loss = global_mean((errors * known).sum(), known.sum())
        stats: Mapping[str, Tensor] = {"regression": loss.detach()}
        return LossOutput(output.loss + self.weight * loss, {**output.stats, **stats})


def label_vectors(
    sources: Sequence[KnowledgeSource], column: str, metadata: Metadata, size: int
) -> Tensor:
    """Returns a vector for each of L labels, near the vectors of labels with a high similarity.

    Arguments
    ---------
    sources : sequence of KnowledgeSource
        Sources that grade the column's labels.
    column : str
        The label column.
    metadata : Metadata
        Metadata of the corpus.
    size : int
        Largest number of dimensions.

    Returns
    -------
    torch.Tensor
        (L, min(size, L - 1)) float32. Each dimension has mean 0; the mean square of all values
        is 1.
    """
    similarity = label_similarity(sources, column, metadata.vocabulary(column))
    assert similarity is not None  # the sources grade it
    centred = similarity.double() - similarity.double().mean(dim=0)
    centred = centred - centred.mean(dim=1, keepdim=True)
    variances, axes = torch.linalg.eigh((centred + centred.T) / 2)
    size = min(size, len(similarity) - 1)
    vectors = axes[:, -size:] * variances[-size:].clamp(min=0).sqrt()
    return (vectors / vectors.square().mean().sqrt()).flip(1).float()
