"""The head for one discriminated label column: projection, similarity and a loss on pairs."""

from collections.abc import Callable, Collection, Sequence
from math import inf

import torch
from torch import Tensor, nn

from masr_modules.config.factories import setting_of
from masr_modules.data.metadata import Metadata
from masr_modules.distributed import JointBatch
from masr_modules.heads.projection import Projection
from masr_modules.knowledge import Categorical, KnowledgeSource, build_sources, source_settings
from masr_modules.pairwise.losses import LossOutput, unit_norm
from masr_modules.pairwise.memory import CrossBatchMemory
from masr_modules.pairwise.prototypes import Prototypes
from masr_modules.pairwise.similarity import combine


class MASRHead(nn.Module):
    """A head with a projection, similarities from the knowledge, and a loss on pairs.

    The loss is L = L_prototypes + pair_weight * L_pairs, or L_pairs alone without prototypes. The
    candidates of L_pairs are the utterances of the joint batch of all ranks and, in training, the
    entries of a memory of past batches as further negatives. The candidates of L_prototypes are
    learned embeddings of the labels. All sources act on pairs of utterances; only those that
    read the identity or a column of the prototypes' `candidates_by` act on prototypes.

    Arguments
    ---------
    sources : sequence of KnowledgeSource or of their factories
        The knowledge; may be empty.
    loss : nn.Module
        Called with (embeddings, similarity, candidates), and with the prototypes' log counts if
        they draw labels.
    projection : Projection
        Maps the pooled embedding to z.
    metadata : Metadata
        Metadata of the corpus.
    identity : str, optional
        The label column that is discriminated; without one, thresholds on the similarity decide
        which pairs are positive. See masr_modules.pairwise.similarity.combine.
    memory : factory of a CrossBatchMemory, optional
        Called with `embedding_size`, `labels` and `numbers`.
    positive_threshold, negative_threshold : float
        Thresholds for `identity=None`; see masr_modules.pairwise.similarity.combine.
    prototypes : factory of Prototypes, optional
        Called with `identity`, `embedding_size` and `metadata`.
    pair_weight : float
        Weight of the loss on pairs of utterances beside the loss on prototypes.

    Raises
    ------
    KeyError
        If a Metadata lacks a column that is read; a MetadataTable raises a ValueError.
    ValueError
        If prototypes come without an identity, `pair_weight` is negative or infinite,
        `pair_weight` or a memory has no effect, some source is read by no part of the loss, or the
        metadata hold numbers where labels are read.

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
        pair_weight: float = 0.0,
    ):
        super().__init__()
        check_pair_weight(pair_weight, prototypes, memory)
        if prototypes is not None and identity is None:
            raise ValueError(
                "prototypes need an identity: name a label column, or set them to null"
            )
        self.pair_weight = pair_weight
        self.sources = build_sources(sources, metadata)
        self.identity = identity
        self.thresholds = (positive_threshold, negative_threshold)
        self.projection = projection
        self.loss = loss
        size = projection.size
        self.prototypes: Prototypes | None = None
        if prototypes is not None:
            self.prototypes = prototypes(identity=identity, embedding_size=size, metadata=metadata)
            refuse_idle(self.sources, self.used_sources, loss, [identity])
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
        pair_weight: float = 0.0,
        **_: object,
    ) -> list:
        """Returns those of the sources, or of their factories, that the loss depends on.

        If mining uses distances alone, the list is empty. If there are prototypes and no pairs of
        utterances, it holds the sources that read the identity or a column of `candidates_by`. The
        arguments are those of a head, which need not be built.
        """
        if not getattr(loss, "uses_knowledge", True):
            return []
        if prototypes is None or pair_weight:
            return list(sources)
        known = {identity, *candidate_columns(prototypes)}
        return [source for source in sources if source_settings(source).column in known]

    @property
    def identities(self) -> list[str]:
        """The label column that the head discriminates, as a list."""
        return [self.identity or "thresholds on S"]

    @property
    def used_sources(self) -> list[KnowledgeSource]:
        """The sources that the loss depends on; see `read_sources`."""
        return self.read_sources(
            self.sources, self.loss, self.identity, self.prototypes, self.pair_weight
        )

    @property
    def projections(self) -> dict[str, Projection]:
        """The label column that it discriminates -> the projection to its space."""
        return dict.fromkeys(self.identities, self.projection)

    def forward(self, pooled: Tensor, metadata: Metadata) -> LossOutput:
        """Computes the loss on (B, input_size) pooled frames, or (B, K, input_size) of K layers."""
        # In validation the batch of each rank stands alone.
        joint = JointBatch(len(pooled), pooled.device, alone=not self.training)
        everyone = self.projection(pooled, joint)
        own = everyone if joint.is_own else everyone[joint.own]
        if self.prototypes is None:
            return self._of_pairs(own, everyone, joint, metadata)
        output = self._of_prototypes(self.prototypes, own, metadata)
        if not self.pair_weight:
            return output
        pairs = self._of_pairs(own, everyone, joint, metadata)
        stats = {"pairs": pairs.loss.detach(), "pairs_anchors": pairs.stats["anchors"]}
        return LossOutput(output.loss + self.pair_weight * pairs.loss, output.stats | stats)

    def _of_pairs(
        self, own: Tensor, everyone: Tensor, joint: JointBatch, metadata: Metadata
    ) -> LossOutput:
        known = joint.gather_metadata(metadata)
        # With None the loss takes the batch itself, and normalises it once.
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
        output = LossOutput.checked(self.loss(own, similarity, candidates), self.loss)
        if self.memory is not None and self.training:
            self.memory.enter(unit_norm(everyone.detach()), known)
        return output

    def _of_prototypes(self, prototypes: Prototypes, own: Tensor, metadata: Metadata) -> LossOutput:
        there, known, log_counts, place = prototypes(metadata)
        told_by = prototypes.candidates if prototypes.candidates.by else None
        similarity = combine(
            self.read_sources(self.sources, self.loss, self.identity, prototypes),
            metadata,
            self.identity,
            known,
            candidate_labels=told_by,
            one_positive=place if told_by is None else None,
        )
        # There are counts only if labels are drawn; not every loss can weight candidates.
        counts = [] if log_counts is None else [log_counts]
        return LossOutput.checked(self.loss(own, similarity, there, *counts), self.loss)


def candidate_columns(prototypes: object) -> Sequence[str]:
    """Returns the `candidates_by` of prototypes, or of a factory of them."""
    if isinstance(prototypes, Prototypes):
        return prototypes.candidates.by
    columns = setting_of(prototypes, "candidates_by")
    assert isinstance(columns, Sequence)
    return columns


def check_pair_weight(pair_weight: float, prototypes: object, memory: object) -> None:
    """Raises a ValueError if the weight is out of range, or if it or a memory has no effect."""
    if not 0 <= pair_weight < inf:
        raise ValueError(f"pair_weight must not be negative, nor infinite; it is {pair_weight}")
    if pair_weight and prototypes is None:
        raise ValueError(
            f"pair_weight is {pair_weight}, which weights pairs of utterances beside prototypes, "
            "and there are no prototypes: set it to 0; pairs of utterances are then the loss"
        )
    if memory is not None and prototypes is not None and not pair_weight:
        raise ValueError(
            "a memory serves pairs of utterances, and prototypes take their place: set memory "
            "to null, or pair_weight above 0"
        )


def refuse_idle(
    sources: Sequence, used: Sequence, loss: nn.Module, identities: Collection[str | None]
) -> None:
    """Raises a ValueError if a loss that uses knowledge leaves a source unused."""
    idle = [source for source in sources if not any(source is other for other in used)]
    if not idle or not getattr(loss, "uses_knowledge", True):
        return
    named = ", ".join(f"{type(s).__name__} of '{s.column}'" for s in idle)
    if all(isinstance(s, Categorical) and s.column in identities for s in idle):
        raise ValueError(
            f"no part of the loss reads {named}: in the space of a label, a Categorical of this "
            "label says nothing more, and there is no space of another label. Take the source out "
            "of `knowledge`, which may be []"
        )
    raise ValueError(
        f"no part of the loss reads {named}. Prototypes stand for labels, on which a source acts "
        "only if it reads the identity or a column of candidates_by. Set pair_weight above 0, so "
        "that all sources act on pairs of utterances, or take the source out of `knowledge`"
    )
