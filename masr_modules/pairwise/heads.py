"""What is trained on the pooled embedding beside the SSL loss: one block of the YAML.

Swapping the block swaps the experiment: MASRHead for the pair-wise losses on one identity,
PerSourceHead for several, ClassifierHead for plain cross-entropy on the same labels.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from masr_modules.data.metadata import Metadata
from masr_modules.distributed import JointBatch
from masr_modules.knowledge import Categorical, KnowledgeSource
from masr_modules.pairwise.classifier import ClassifierHead
from masr_modules.pairwise.losses import LossOutput, unit_norm
from masr_modules.pairwise.memory import CrossBatchMemory
from masr_modules.pairwise.projection import Layers, Projection
from masr_modules.pairwise.prototypes import Prototypes
from masr_modules.pairwise.similarity import combine

__all__ = ["ClassifierHead", "MASRHead", "PerSourceHead"]


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


class PerSourceHead(nn.Module):
    """Each label column in turn is the identity, in an embedding space of its own.

    So sources that pull apart (speaker and language) do not fight in one space: the
    multi-label form. Loss = sum over identities of weight * MASRHead's loss.

    Arguments
    ---------
    identities : dict of str to float
        Label column -> weight of its loss.
    sources : sequence of KnowledgeSource
        The knowledge that says which pairs of each are hard. One that reads the identity
        itself as Categorical is left out there: it is the same for all of P and of N.
    loss : nn.Module
        Copied for each identity.
    input_size : int
        Of the pooled embedding.
    embedding_size : int
        D of each z.
    memory : CrossBatchMemory, optional
        Copied for each identity.
    prototypes : Prototypes, optional
        Copied for each identity.
    layers : dict of str to (int or sequence of int), optional
        Identity -> what it reads of the encoder, the last layer by default; see Projection.
        Lower layers keep more of the voice: a space that reads one does not take from what
        those above it can tell.

    Example
    -------
    >>> from masr_modules.pairwise.losses import MASRLoss
    >>> head = PerSourceHead({"language": 1.0, "speaker": 0.5}, [], MASRLoss(), 8, 4)
    >>> metadata = Metadata.from_columns({"language": ["fra", "fra", "deu"], "speaker": ["a"] * 3})
    >>> sorted(head(torch.randn(3, 8), metadata).stats)[:2]
    ['active_language', 'active_speaker']
    """

    def __init__(
        self,
        identities: dict[str, float],
        sources: Sequence[KnowledgeSource],
        loss: nn.Module,
        input_size: int,
        embedding_size: int,
        memory: CrossBatchMemory | None = None,
        prototypes: Prototypes | None = None,
        layers: dict[str, Layers] | None = None,
    ):
        super().__init__()
        if not identities or any(not weight > 0 for weight in identities.values()):
            raise ValueError(f"identities need a weight above 0 each, got {dict(identities)}")
        layers = layers or {}
        if unknown := set(layers) - set(identities):
            raise ValueError(f"layers names {sorted(unknown)}, no identities: {list(identities)}")
        self.weights = dict(identities)
        self.heads = nn.ModuleDict()
        for identity in identities:
            others = [
                source
                for source in sources
                if not (isinstance(source, Categorical) and source.column == identity)
            ]
            own = copy.deepcopy({"loss": loss, "memory": memory, "prototypes": prototypes})
            self.heads[identity] = MASRHead(
                others,
                input_size=input_size,
                embedding_size=embedding_size,
                identity=identity,
                layers=layers.get(identity, -1),
                **own,
            )

    @property
    def sources(self) -> list[KnowledgeSource]:
        """Of all heads."""
        return [source for head in self.heads.values() for source in head.sources]

    @property
    def identities(self) -> list[str]:
        """What it tells apart."""
        return list(self.heads)

    @property
    def used_sources(self) -> list[KnowledgeSource]:
        """See MASRHead.used_sources; of all heads, in the order of their first use."""
        used = [source for head in self.heads.values() for source in head.used_sources]
        return list({str(source): source for source in used}.values())

    @property
    def columns(self) -> list[str]:
        """The metadata columns it reads."""
        return sorted({column for head in self.heads.values() for column in head.columns})

    def bind(self, metadata: Metadata) -> None:
        """See MASRHead.bind."""
        for head in self.heads.values():
            head.bind(metadata)

    def forward(self, pooled: Tensor, metadata: Metadata) -> LossOutput:
        """(B, input_size) or (B, K, input_size) pooled frames, their metadata -> LossOutput."""
        losses, stats = [], {}
        for identity, head in self.heads.items():
            output = head(pooled, metadata)
            losses.append(self.weights[identity] * output.loss)
            stats |= {f"{name}_{identity}": value for name, value in output.stats.items()}
        return LossOutput(torch.stack(losses).sum(), stats)
