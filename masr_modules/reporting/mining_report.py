"""What mining finds in the batches of an experiment: anchors, and the hardest pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from tqdm import tqdm

from masr_modules.data.metadata import MISSING, MetadataTable
from masr_modules.heads import MASRHead
from masr_modules.heads.multi_label import sources_beside
from masr_modules.knowledge import KnowledgeSource
from masr_modules.metrics.tables import align, format_number
from masr_modules.pairwise.mining import mine
from masr_modules.pairwise.similarity import combine
from masr_modules.training.hard_pairs import HardPairs, pair_shares

#: Anchors of each identity whose hardest pairs are shown, and letters of a value.
_EXAMPLES, _LETTERS = 5, 20


@dataclass
class AnchorStatistics:
    """What the batches of an epoch hold.

    Arguments
    ---------
    batches : int
        Number of batches looked at.
    of : int
        Number of batches in the epoch.
    sizes, identities, anchors : np.ndarray
        (batches,) utterances, different identities and anchors (utterances with a positive
        and a negative) of each.
    """

    batches: int
    of: int
    sizes: np.ndarray
    identities: np.ndarray
    anchors: np.ndarray


def anchor_statistics(
    batches: Sequence[Sequence[int]], of: int, table: MetadataTable, identity: str
) -> AnchorStatistics:
    """Counts what batches hold.

    Arguments
    ---------
    batches : sequence of sequences of int
        Places of their utterances in the table.
    of : int
        Number of batches in the epoch.
    table : MetadataTable
        The metadata of the corpus.
    identity : str
        Of positives and negatives.
    """
    sizes, identities, anchors = [], [], []
    for batch in tqdm(batches, desc="batches", leave=False, disable=None):
        metadata = table.select(torch.tensor(batch))
        similarity = combine([], metadata, identity)
        codes = metadata[identity]
        sizes.append(len(batch))
        identities.append(len(codes[codes >= 0].unique()))
        anchors.append(int((similarity.positive.any(1) & similarity.negative.any(1)).sum()))
    counts = (np.array(list_) for list_ in (sizes, identities, anchors))
    return AnchorStatistics(len(batches), of, *counts)


@dataclass
class HardPair:
    """An anchor, and what the knowledge alone calls its hardest pairs in a batch.

    Arguments
    ---------
    anchor, positive, negative : int
        Places in the table.
    near, far : float or None
        S of anchor and negative, and of anchor and positive; None where no source knows the pair.
    """

    anchor: int
    positive: int
    negative: int
    near: float | None
    far: float | None


def hard_pairs(
    sources: Sequence[KnowledgeSource],
    batch: Sequence[int],
    table: MetadataTable,
    identity: str,
    count: int = _EXAMPLES,
) -> list[HardPair]:
    """The hardest pairs of some anchors of a batch, where all embeddings are equally far apart.

    As `masr_modules.pairwise.mining.mine` chooses them in training, less what the embeddings say,
    which nobody knows before it: the positive that is least alike, the negative that is most
    alike in what else is known.

    Arguments
    ---------
    sources : sequence of KnowledgeSource
        Those that pairs are mined by.
    batch : sequence of int
        Places of its utterances in the table.
    table : MetadataTable
        The metadata of the corpus.
    identity : str
        Of positives and negatives.
    count : int
        Of anchors, each of another identity, those with the hardest negatives first.

    Example
    -------
    >>> from masr_modules.knowledge import Categorical
    >>> cells = [("fra", "a"), ("fra", "b"), ("deu", "a"), ("deu", "c")]
    >>> rows = {f"u{i}": {"language": x, "speaker": y} for i, (x, y) in enumerate(cells)}
    >>> table = MetadataTable(rows)
    >>> _, _ = table.require("language"), table.require("speaker")
    >>> hard_pairs([Categorical("speaker")], [0, 1, 2, 3], table, "language", count=1)
    [HardPair(anchor=0, positive=1, negative=2, near=1.0, far=0.0)]
    """
    similarity = combine(sources, table.select(torch.tensor(batch)), identity)
    nowhere = torch.zeros(len(batch), 1)
    pairs = mine(nowhere, nowhere, similarity, "knowledge", knowledge_weight=1.0)
    found: dict[int, HardPair] = {}
    nearest = similarity.values.gather(1, pairs.negative.unsqueeze(1)).squeeze(1)
    for i in (
        nearest.masked_fill(~pairs.usable, -1.0).argsort(descending=True, stable=True).tolist()
    ):
        if not pairs.usable[i] or len(found) == count:
            break
        p, n = int(pairs.positive[i]), int(pairs.negative[i])
        far, near = (
            float(similarity.values[i, j]) if similarity.valid[i, j] else None for j in (p, n)
        )
        label = int(table[identity][batch[i]])
        found.setdefault(label, HardPair(batch[i], batch[p], batch[n], near, far))
    return [*found.values()]


def anchor_text(found: AnchorStatistics) -> str:
    """Batches of the first epoch in two sentences."""
    if not found.batches:
        return "The first epoch has no batch."
    part = "" if found.batches == found.of else f", the first {found.batches} looked at"
    return (
        f"Batches of the first epoch: {found.of}{part}. A batch has {found.sizes.mean():.1f} "
        f"utterances of {found.identities.mean():.1f} identities, and "
        f"{found.anchors.mean():.1f} anchors (least {found.anchors.min()}, most "
        f"{found.anchors.max()}): {found.anchors.sum() / found.sizes.sum():.1%} of its utterances. "
        f"Batches without an anchor: {int((found.anchors == 0).sum())}."
    )


def hard_pair_section(pairs: HardPairs, batches: Sequence[Sequence[int]]) -> list[str]:
    """How many utterances of the batches have the pairs that `hard_pairs` describes.

    Arguments
    ---------
    pairs : HardPairs
        Of all utterances.
    batches : sequence of sequences of int
        Their places.

    Example
    -------
    >>> metadata = MetadataTable({"a": {"gender": "female"}, "b": {"gender": "male"}})
    >>> _ = metadata.require("gender"), metadata.require("speaker", optional=True)
    >>> pairs = HardPairs.of_metadata({"gender": ["speaker"]}, metadata)
    >>> hard_pair_section(pairs, [[0, 1]])[0]
    '## Hard pairs in batches'
    """
    found = pair_shares(pairs, batches)
    whole = pair_shares(pairs, [range(len(next(iter(pairs.known.values()))))])
    cells = [
        [identity, ", ".join(pairs.columns[identity])]
        + [format_number(100 * share, 1) for share in (*shares, whole[identity][3])]
        for identity, shares in found.items()
    ]
    header = ["identity", "same", "known (%)", "positive (%)", "hard negative (%)", "both (%)"]
    text = (
        "A hard negative of an utterance has another label of the identity and the same labels in "
        "the columns named; a positive has the same label and another speaker (of the identity "
        "speaker: is another utterance). The fractions are of the utterances whose label is known, "
        "and whose batch holds such a pair; the last one is of a batch of all utterances."
    )
    table = align([*header, "both, all utterances (%)"], cells)
    return ["## Hard pairs in batches", text, table]


def identity_sections(
    settings: dict,
    sources: Sequence[KnowledgeSource],
    identity: str,
    batches: Sequence[Sequence[int]],
    table: MetadataTable,
) -> list[str]:
    """What acts in the space of one identity, and the hardest pairs of a batch."""
    table.require(identity)
    own = sources_beside(sources, identity)
    prototypes, weight = settings.get("prototypes"), settings.get("pair_weight") or 0.0
    read = partial(MASRHead.read_sources, own, settings.get("loss"), identity)
    title = f"## In the space of '{identity}'"
    pairs = f"Pairs of utterances are mined by {_listed(read())}"
    if prototypes is None:
        text = f"{pairs}."
    else:
        text = (
            f"Prototypes are compared by {_listed(read(prototypes))}, as far as labels carry it. "
        )
        if not weight:
            return [title, text + "Pairs of utterances are not: pair_weight is 0."]
        text += f"{pairs}, with weight {weight:g}."
    found = anchor_statistics(batches, len(batches), table, identity)
    if not found.anchors.sum():
        return [title, f"{text} No utterance of these batches has a positive and a negative."]
    share = found.anchors.sum() / found.sizes.sum()
    text += f" {share:.1%} of the utterances of a batch have a positive and a negative."
    columns = list(dict.fromkeys([identity, *(source.column for source in own)]))
    named = partial(_named, table, columns)
    cells = [
        [*map(named, (p.anchor, p.positive)), _number(p.far), named(p.negative), _number(p.near)]
        for p in hard_pairs(own, batches[int(found.anchors.argmax())], table, identity)
    ]
    header = ["anchor", "hardest positive", "S", "hardest negative", "S"]
    chosen = "The hardest pairs of a batch, where embeddings say nothing yet:"
    return [title, text, chosen, align(header, cells)]


def _listed(sources: Sequence[KnowledgeSource]) -> str:
    return ", ".join(map(str, sources)) or "the embedding alone"


def _number(similarity: float | None) -> str:
    return "not known" if similarity is None else format_number(similarity, 2)


def _named(table: MetadataTable, columns: Sequence[str], place: int) -> str:
    """An utterance by its ID, and what is known of it."""
    known = []
    for column in columns:
        value = table[column][place]
        if value.is_floating_point():
            known += [] if value.isnan() else [f"{value:g}"]
        elif value != MISSING:
            label = table.vocabularies[column][int(value)]
            known.append(label if len(label) <= _LETTERS else f"{label[:_LETTERS]}…")
    return f"{table.index.ids[place].as_py()} ({', '.join(known)})"
