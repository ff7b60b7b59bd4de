"""The head for several label columns, each discriminated in an embedding space of its own."""

import copy
from collections.abc import Callable, Mapping, Sequence
from math import inf

import torch
from torch import Tensor, nn

from masr_modules.data.metadata import Metadata
from masr_modules.heads.masr import MASRHead, refuse_idle
from masr_modules.heads.projection import Layers, Projection
from masr_modules.knowledge import Categorical, KnowledgeSource, build_sources, source_settings
from masr_modules.pairwise.losses import LossOutput
from masr_modules.pairwise.memory import CrossBatchMemory
from masr_modules.pairwise.prototypes import Prototypes


class MultiLabelHead(nn.Module):
    """A MASRHead for each of several identities, in an embedding space of its own.

    Identities that conflict, such as speaker and language, thus do not share a space. The loss
    is the sum over identities of weight * MASRHead's loss.

    Arguments
    ---------
    identities : mapping of str to float
        Label column -> weight of its loss.
    sources : sequence of KnowledgeSource or of their factories
        The knowledge that says which pairs of an identity are hard. A Categorical of an identity
        is not used in that identity's space, because it gives all positives one value and all
        negatives another.
    loss : nn.Module
        The loss on pairs, copied for each identity.
    input_size : int
        Dimensions of the pooled embedding.
    embedding_size : int
        D, the dimensions of each z.
    metadata : Metadata
        Metadata of the corpus.
    memory : factory of a CrossBatchMemory, optional
        Called for each identity; see MASRHead.
    prototypes : factory of Prototypes, optional
        Called for each identity; see MASRHead.
    pair_weight : float
        Weight of the loss on pairs of utterances beside that on prototypes, in each space.
    layers : mapping of str to (int or sequence of int), optional
        Identity -> layers of the encoder that its space reads, the last by default; see
        Projection. A lower layer keeps more of the speaker, and a loss on it does not train the
        layers above.

    Raises
    ------
    ValueError
        If no identity is named, a weight is not above 0, `layers` names another column, some source
        is read by no part of the loss, or for the reasons of MASRHead.

    Example
    -------
    >>> from masr_modules.pairwise.losses import MASRLoss
    >>> metadata = Metadata.from_columns({"language": ["fra", "fra", "deu"], "speaker": ["a"] * 3})
    >>> head = MultiLabelHead({"language": 1.0, "speaker": 0.5}, [], MASRLoss(), 8, 4, metadata)
    >>> sorted(head(torch.randn(3, 8), metadata).stats)[:2]
    ['active_language', 'active_speaker']
    """

    def __init__(
        self,
        identities: Mapping[str, float],
        sources: Sequence[KnowledgeSource | Callable[..., KnowledgeSource]],
        loss: nn.Module,
        input_size: int,
        embedding_size: int,
        metadata: Metadata,
        memory: Callable[..., CrossBatchMemory] | None = None,
        prototypes: Callable[..., Prototypes] | None = None,
        layers: Mapping[str, Layers] | None = None,
        pair_weight: float = 0.0,
    ):
        super().__init__()
        if not identities or any(not 0 < weight < inf for weight in identities.values()):
            raise ValueError(
                f"identities need a finite weight above 0 each, got {dict(identities)}"
            )
        layers = layers or {}
        if unknown := set(layers) - set(identities):
            raise ValueError(
                f"layers names {sorted(unknown)}, which are not among identities: {[*identities]}"
            )
        for identity in identities:
            metadata.require(identity)
        self.weights = dict(identities)
        built = build_sources(sources, metadata)  # once, because the spaces share their tables
        # All projections are drawn before all prototypes, so that runs with and without prototypes
        # start from the same projections.
        projections = {
            identity: Projection(input_size, embedding_size, layers.get(identity, -1))
            for identity in identities
        }
        read = {
            identity: self.read_sources({identity: 1.0}, built, loss, prototypes, pair_weight)
            for identity in identities
        }
        used = [source for sources in read.values() for source in sources]
        refuse_idle(built, used, loss, identities)
        self.heads = nn.ModuleDict(
            {
                identity: MASRHead(
                    read[identity],
                    copy.deepcopy(loss),
                    projections[identity],
                    metadata,
                    identity,
                    memory=memory,
                    prototypes=prototypes,
                    pair_weight=pair_weight,
                )
                for identity in identities
            }
        )

    @staticmethod
    def read_sources(
        identities: Mapping[str, float],
        sources: Sequence,
        loss: nn.Module,
        prototypes: object = None,
        pair_weight: float = 0.0,
        **_: object,
    ) -> list:
        """Returns the sources that any head's loss depends on; see MASRHead.read_sources."""
        read = [
            source
            for identity in identities
            for source in MASRHead.read_sources(
                sources_beside(sources, identity), loss, identity, prototypes, pair_weight
            )
        ]
        return list({id(source): source for source in read}.values())

    @property
    def masr_heads(self) -> dict[str, MASRHead]:
        """Identity -> its head."""
        return {name: head for name, head in self.heads.items() if isinstance(head, MASRHead)}

    @property
    def identities(self) -> list[str]:
        """The label columns that the head discriminates."""
        return list(self.heads)

    @property
    def used_sources(self) -> list[KnowledgeSource]:
        """The sources that any head's loss depends on, in the order of their first use."""
        used = [source for head in self.masr_heads.values() for source in head.used_sources]
        return list({id(source): source for source in used}.values())

    @property
    def projections(self) -> dict[str, Projection]:
        """Identity -> the projection to its space."""
        return {identity: head.projection for identity, head in self.masr_heads.items()}

    def forward(self, pooled: Tensor, metadata: Metadata) -> LossOutput:
        """Computes the loss on (B, input_size) pooled frames, or (B, K, input_size) of K layers."""
        losses: list[Tensor] = []
        stats: dict[str, Tensor] = {}
        for identity, head in self.heads.items():
            output = head(pooled, metadata)
            losses.append(self.weights[identity] * output.loss)
            stats |= {f"{name}_{identity}": value for name, value in output.stats.items()}
        return LossOutput(torch.stack(losses).sum(), stats)


def sources_beside(sources: Sequence, identity: str) -> list:
    """Returns the sources, or their factories, without a Categorical of the identity itself."""
    return [
        source
        for source in sources
        if (settings := source_settings(source)).column != identity
        or not issubclass(settings.kind, Categorical)
    ]
