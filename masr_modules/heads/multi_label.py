"""Several label columns, each told apart in an embedding space of its own."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from masr_modules.data.metadata import Metadata
from masr_modules.heads.masr import MASRHead
from masr_modules.heads.projection import Layers
from masr_modules.knowledge import Categorical, KnowledgeSource
from masr_modules.pairwise.losses import LossOutput
from masr_modules.pairwise.memory import CrossBatchMemory
from masr_modules.pairwise.prototypes import Prototypes


class MultiLabelHead(nn.Module):
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
    >>> head = MultiLabelHead({"language": 1.0, "speaker": 0.5}, [], MASRLoss(), 8, 4)
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
