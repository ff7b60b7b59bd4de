"""Projection, similarity and a loss on pairs: one label column that is discriminated."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from masr_modules.config.factories import setting_of
from masr_modules.data.metadata import Metadata
from masr_modules.distributed import JointBatch
from masr_modules.heads.projection import Projection
from masr_modules.knowledge import KnowledgeSource, build_sources, source_settings
from masr_modules.pairwise.losses import LossOutput, unit_norm
from masr_modules.pairwise.memory import CrossBatchMemory
from masr_modules.pairwise.prototypes import Prototypes
from masr_modules.pairwise.similarity import combine


class MASRHead(nn.Module):
    """Projection, similarity from the knowledge, and a loss on pairs.

    Candidates are the joint batch of all ranks and, in training, what a memory holds of
    past ones, as negatives; or prototypes in the place of both.

    Arguments
    ---------
    sources : sequence of KnowledgeSource or of their factories
        The knowledge; may be empty.
    loss : nn.Module
        Called with (embeddings, similarity, candidates).
    projection : Projection
        From the pooled embedding to z.
    metadata : Metadata
        Of the corpus.
    identity : str, optional
        See masr_modules.pairwise.similarity.combine.
    memory : factory of a CrossBatchMemory, optional
        Called with `embedding_size`, `labels` and `numbers`.
    positive_threshold, negative_threshold : float
        For `identity=None`; see masr_modules.pairwise.similarity.combine.
    prototypes : factory of Prototypes, optional
        Called with `identity`, `embedding_size` and `metadata`.

    Raises
    ------
    ValueError
        If prototypes come with a memory or without an identity, or the metadata do not have a
        column that is read, as it is read.

    Example
    -------
    >>> from masr_modules.pairwise.losses import MASRLoss
    >>> metadata = Metadata.from_columns({"language": ["fra", "fra", "deu"]})
    >>> head = MASRHead([], MASRLoss(), Projection(8, 4), metadata)
    >>> head(torch.randn(3, 8), metadata).loss.shape
    torch.Size([])
    """

    def __init__(
        self,
        sources: Sequence[KnowledgeSource | Callable[..., KnowledgeSource]],
        loss: nn.Module,
        projection: Projection,
        metadata: Metadata,
        identity: str | None = "language",
        memory: Callable[..., CrossBatchMemory] | None = None,
        positive_threshold: float = 0.8,
        negative_threshold: float = 0.2,
        prototypes: Callable[..., Prototypes] | None = None,
    ):
        super().__init__()
        if prototypes is not None and (memory is not None or identity is None):
            raise ValueError("prototypes need an identity, and take the place of a memory")
        self.sources = build_sources(sources, metadata)
        self.identity = identity
        self.thresholds = (positive_threshold, negative_threshold)
        self.projection = projection
        self.loss = loss
        size = projection.size
        self.prototypes: Prototypes | None = None
        if prototypes is not None:
            self.prototypes = prototypes(identity=identity, embedding_size=size, metadata=metadata)
        if identity is not None:
            metadata.require(identity)
        self.memory: CrossBatchMemory | None = None
        if memory is not None:
            numbers = {source.column for source in self.sources if source.reads == "numbers"}
            labels = {source.column for source in self.sources} - numbers
            labels |= set() if identity is None else {identity}
            self.memory = memory(
                embedding_size=size, labels=sorted(labels), numbers=sorted(numbers)
            )

    @staticmethod
    def read_sources(
        sources: Sequence,
        loss: nn.Module,
        identity: str | None = "language",
        prototypes: object = None,
        **_: object,
    ) -> list:
        """Those of the sources, or of their factories, that the loss depends on.

        None where mining looks at distances alone; of prototypes, those that know something of a
        label. Takes the arguments of a head, so that it can be told before one is built.
        """
        if not getattr(loss, "uses_knowledge", True):
            return []
        if prototypes is None:
            return list(sources)
        known = {identity, *_columns_of(prototypes)}
        return [source for source in sources if source_settings(source).column in known]

    @property
    def identities(self) -> list[str]:
        """The label column that it discriminates."""
        return [self.identity or "thresholds on S"]

    @property
    def used_sources(self) -> list[KnowledgeSource]:
        """See `read_sources`."""
        return self.read_sources(self.sources, self.loss, self.identity, self.prototypes)

    def forward(self, pooled: Tensor, metadata: Metadata) -> LossOutput:
        """(B, input_size) or (B, K, input_size) pooled frames, their metadata -> LossOutput."""
        # Ranks validate different numbers of batches: no collectives there.
        joint = JointBatch(len(pooled), pooled.device, alone=not self.training)
        everyone = self.projection(pooled, joint)
        own = everyone if joint.is_own else everyone[joint.own]
        if self.prototypes is not None:
            return self._beside_prototypes(self.prototypes, own, metadata)
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

    def _beside_prototypes(
        self, prototypes: Prototypes, own: Tensor, metadata: Metadata
    ) -> LossOutput:
        there, known, log_counts, place = prototypes(metadata)
        told_by = prototypes.candidates if prototypes.candidates.by else None
        similarity = combine(
            self.used_sources,
            metadata,
            self.identity,
            known,
            candidate_labels=told_by,
            one_positive=place if told_by is None else None,
        )
        # Counts are of drawn labels alone; not every loss can weigh candidates.
        counts = [] if log_counts is None else [log_counts]
        return self.loss(own, similarity, there, *counts)


def _columns_of(prototypes: object) -> Sequence[str]:
    """The columns that prototypes, or those that a factory makes, carry beside the identity."""
    if isinstance(prototypes, Prototypes):
        return prototypes.candidates.by
    columns = setting_of(prototypes, "candidates_by")
    assert isinstance(columns, Sequence)
    return columns
