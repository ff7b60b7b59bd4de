"""A report of what mining finds in the batches of an experiment: anchors, and the hardest pairs."""

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

#: Number of anchors of each identity whose hardest pairs are shown; most letters shown of a label.
_EXAMPLES, _LETTERS = 5, 20


@dataclass
class AnchorStatistics:
    """The numbers of utterances, identities and anchors in the batches of an epoch.

    Arguments
    ---------
    batches : int
        Number of batches examined.
    of : int
        Number of batches in the epoch.
    sizes, identities, anchors : np.ndarray
        (batches,) numbers of utterances, of different identities and of anchors (utterances with
        a positive and a negative) in each batch.
    """

    batches: int
    of: int
    sizes: np.ndarray
    identities: np.ndarray
    anchors: np.ndarray


def anchor_statistics(
    batches: Sequence[Sequence[int]], of: int, table: MetadataTable, identity: str
) -> AnchorStatistics:
    """Counts the utterances, identities and anchors of batches.

    Arguments
    ---------
    batches : sequence of sequences of int
        The places of each batch's utterances in the table.
    of : int
        Number of batches in the epoch.
    table : MetadataTable
        The metadata of the corpus.
    identity : str
        The column whose labels decide what is positive and what negative.
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
    """An anchor with its hardest positive and negative in a batch by the knowledge alone.

    Arguments
    ---------
    anchor, positive, negative : int
        Places in the table.
    near, far : float or None
        S of anchor and negative, and of anchor and positive; None if no source knows the pair.
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
    """Finds the hardest pairs of some anchors of a batch by the knowledge alone.

    They are the pairs that `masr_modules.pairwise.mining.mine` would choose if all embeddings were
    equally far apart, as embeddings are not known before training: the positive with the lowest
    and the negative with the highest S.

    Arguments
    ---------
    sources : sequence of KnowledgeSource
        The sources by which pairs are mined.
    batch : sequence of int
        The places of the batch's utterances in the table.
    table : MetadataTable
        The metadata of the corpus.
    identity : str
        The column whose labels decide what is positive and what negative.
    count : int
        Largest number of anchors, each of another identity; those with the hardest negatives come
        first.

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
    """Describes the batches of the first epoch in a few sentences."""
    if not found.batches:
        return "The first epoch has no batch."
    part = "" if found.batches == found.of else f", of which the first {found.batches} are examined"
    return (
        f"Batches of the first epoch: {found.of}{part}. A batch has {found.sizes.mean():.1f} "
        f"utterances of {found.identities.mean():.1f} identities, and "
        f"{found.anchors.mean():.1f} anchors (least {found.anchors.min()}, most "
        f"{found.anchors.max()}): {found.anchors.sum() / found.sizes.sum():.1%} of its utterances. "
        f"Batches without an anchor: {int((found.anchors == 0).sum())}."
    )


def hard_pair_section(pairs: HardPairs, batches: Sequence[Sequence[int]]) -> list[str]:
    """Makes the section on how many utterances of the batches have hard pairs by `hard_pairs`.

    Arguments
    ---------
    pairs : HardPairs
        The rules for all utterances.
    batches : sequence of sequences of int
        The places of each batch's utterances.

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
        'the columns named under "same"; a positive has the same label and another speaker (for '
        "the identity speaker: it is another utterance of the speaker). Known is the fraction of "
        "utterances that have a label; the others are the fractions of these whose batch holds "
        "such a pair. The last column is what one batch of all utterances would give."
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
    """Makes the section on the sources that act in an identity's space and on its hardest pairs."""
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
            f"Prototypes are compared by {_listed(read(prototypes))}, as far as their labels carry "
            "such metadata. "
        )
        if not weight:
            return [title, text + "Pairs of utterances are not mined: pair_weight is 0."]
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
    chosen = "The hardest pairs of a batch by S alone, as before training:"
    return [title, text, chosen, align(header, cells)]


def _listed(sources: Sequence[KnowledgeSource]) -> str:
    return ", ".join(map(str, sources)) or "the embedding alone"


def _number(similarity: float | None) -> str:
    return "not known" if similarity is None else format_number(similarity, 2)


def _named(table: MetadataTable, columns: Sequence[str], place: int) -> str:
    """Returns an utterance's ID, followed by its known values in the columns."""
    known = []
    for column in columns:
        value = table[column][place]
        if value.is_floating_point():
            known += [] if value.isnan() else [f"{value:g}"]
        elif value != MISSING:
            label = table.vocabularies[column][int(value)]
            known.append(label if len(label) <= _LETTERS else f"{label[:_LETTERS]}…")
    return f"{table.index.ids[place].as_py()} ({', '.join(known)})"
