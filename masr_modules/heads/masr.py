"""Projection, similarity and a loss on pairs: one label column that is told apart."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from masr_modules.data.metadata import Metadata
from masr_modules.distributed import JointBatch
from masr_modules.heads.projection import Layers, Projection
from masr_modules.knowledge import KnowledgeSource
from masr_modules.pairwise.losses import LossOutput, unit_norm
from masr_modules.pairwise.memory import CrossBatchMemory
from masr_modules.pairwise.prototypes import Prototypes
from masr_modules.pairwise.similarity import combine


class MASRHead(nn.Module):
    """Projection, similarity from the knowledge, and a pair-wise loss.

    Candidates are the joint batch of all ranks and, in training, what a memory holds of
    past ones, as negatives; or prototypes in the place of both.

    Arguments
    ---------
    sources : sequence of KnowledgeSource
        The knowledge; may be empty.
    loss : nn.Module
        Called with (embeddings, similarity, candidates).
    input_size : int
        Of the pooled embedding.
    embedding_size : int
        D of z.
    identity : str, optional
        See masr_modules.pairwise.similarity.combine.
    memory : CrossBatchMemory, optional
        Of this head alone.
    positive_threshold, negative_threshold : float
        For `identity=None`; see masr_modules.pairwise.similarity.combine.
    prototypes : Prototypes, optional
        Of this head alone; `bind` gives them their labels.
    layers : int or sequence of int
        Of the encoder, the last by default; see Projection.

    Raises
    ------
    ValueError
        If prototypes come with a memory or without an identity.

    Example
    -------
    >>> from masr_modules.pairwise.losses import MASRLoss
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
        memory: CrossBatchMemory | None = None,
        positive_threshold: float = 0.8,
        negative_threshold: float = 0.2,
        prototypes: Prototypes | None = None,
        layers: Layers = -1,
    ):
        super().__init__()
        if prototypes is not None and (memory is not None or identity is None):
            raise ValueError("prototypes need an identity, and take the place of a memory")
        self.sources = list(sources)
        self.identity = identity
        self.prototypes = prototypes
        self.thresholds = (positive_threshold, negative_threshold)
        self.projection = Projection(input_size, embedding_size, layers)
        self.loss = loss
        self.memory = memory
        if memory is not None:
            numbers = {s.column for s in self.sources if s.reads == "numbers"}
            labels = [column for column in self.columns if column not in numbers]
            memory.allocate(embedding_size, labels, sorted(numbers))

    @property
    def columns(self) -> list[str]:
        """The metadata columns it reads."""
        names = {source.column for source in self.sources}
        if self.prototypes is not None:
            names.update(self.prototypes.describe)
        return sorted(names | ({self.identity} if self.identity else set()))

    @property
    def identities(self) -> list[str]:
        """What it tells apart."""
        return [self.identity or "thresholds on S"]

    @property
    def used_sources(self) -> list[KnowledgeSource]:
        """Those that its loss depends on: none where mining looks at distances alone."""
        if not getattr(self.loss, "uses_knowledge", True):
            return []
        return self._sources_of_labels() if self.prototypes is not None else self.sources

    def _sources_of_labels(self) -> list[KnowledgeSource]:
        """Those that know something of a prototype."""
        columns = {self.identity, *self.prototypes.describe}
        return [source for source in self.sources if source.column in columns]

    def bind(self, metadata: Metadata) -> None:
        """Prepares for a corpus with this metadata; errors show here, not mid-epoch."""
        for source in self.sources:
            if source.column in metadata.vocabularies:
                source.bind(metadata.vocabularies[source.column])
        if self.prototypes is not None:
            self.prototypes.allocate(self.identity, self.projection.size, metadata)

    def forward(self, pooled: Tensor, metadata: Metadata) -> LossOutput:
        """(B, input_size) or (B, K, input_size) pooled frames, their metadata -> LossOutput."""
        # Ranks validate different numbers of batches: no collectives there.
        joint = JointBatch(len(pooled), pooled.device, alone=not self.training)
        everyone = self.projection(pooled, joint)
        own = everyone if joint.is_own else everyone[joint.own]
        if self.prototypes is not None:
            return self._beside_prototypes(own, metadata)
        known = joint.gather_metadata(metadata)
        # None: the batch itself, which need not be normalised twice.
        candidates, candidates_known = (None if joint.is_own else everyone), known
        if self.memory is not None and self.training:
            past = self.memory.metadata(metadata.vocabularies)
            candidates_known = known.join(past)
            candidates = torch.cat([unit_norm(everyone), self.memory.embeddings])
        similarity = combine(
            self.sources,
            metadata,
            self.identity,
            candidates_known,
            *self.thresholds,
            positive_candidates=len(everyone),
        )
        output = self.loss(own, similarity, candidates)
        if self.memory is not None and self.training:
            self.memory.enter(unit_norm(everyone.detach()), known)
        return output

    def _beside_prototypes(self, own: Tensor, metadata: Metadata) -> LossOutput:
        there, known, log_counts, place = self.prototypes(metadata)
        sources = self._sources_of_labels()
        told_by = [name for name in self.prototypes.describe if name != self.identity]
        similarity = combine(
            sources,
            metadata,
            self.identity,
            known,
            plausible_by=told_by,
            one_positive=None if told_by else place,
        )
        # Counts are of drawn labels alone; not every loss can weigh candidates.
        counts = [] if log_counts is None else [log_counts]
        return self.loss(own, similarity, there, *counts)
