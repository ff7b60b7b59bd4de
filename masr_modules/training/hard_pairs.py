"""Hard pairs by labels: the rules that define them, and the parts of batches that hold them."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from masr_modules.data.metadata import Metadata

logger = logging.getLogger(__name__)


@dataclass
class PairRule:
    """A rule by which two utterances are a pair if they are of one group and differ in their label.

    Arguments
    ---------
    groups : np.ndarray
        (N,) codes of the groups, -1 where an utterance is in no pair.
    labels : np.ndarray
        (N,) codes of the labels, which must differ.

    Example
    -------
    >>> rule = PairRule(np.array([0, 0, 1, -1]), np.array([5, 6, 5, 6]))
    >>> rule.has_pair([0, 1, 2, 3]).tolist(), rule.has_pair([0, 2, 3]).tolist()
    ([True, True, False, False], [False, False, False])
    """

    groups: np.ndarray
    labels: np.ndarray

    def has_pair(self, utterances: Sequence[int]) -> np.ndarray:
        """Returns (B,) bool: whether each of these utterances is a pair with another of them."""
        groups, labels = self.groups[utterances], self.labels[utterances]
        runs = np.unique(np.stack([groups, labels]), axis=1)[0]  # each group once for each label
        return (groups >= 0) & np.isin(groups, runs[1:][runs[1:] == runs[:-1]])

    def select(self, utterances: np.ndarray) -> "PairRule":
        """Returns the rule for the utterances at (M,) places."""
        return PairRule(self.groups[utterances], self.labels[utterances])


class HardPairs:
    """The rules, for each identity, for hard negatives and positives of an utterance.

    A hard negative has another label of the identity, and the same labels in the named columns,
    such as the same speaker with another emotion. A positive has the same label and another
    speaker; for the identity `speaker` it is another utterance of the speaker. An utterance that
    lacks one of the labels is in no pair; unknown speakers count as different from all others.

    Arguments
    ---------
    columns : mapping of str to sequence of str
        Identity -> columns in which a hard negative agrees.
    negatives, positives : mapping of str to PairRule
        Identity -> its rule.
    known : mapping of str to np.ndarray
        Column -> (N,) bool, whether each utterance's label is known.

    Example
    -------
    >>> metadata = Metadata.from_columns(
    ...     {"emotion": ["joy", "fear", "joy"], "speaker": ["a", "a", "b"]}
    ... )
    >>> pairs = HardPairs.of_metadata({"emotion": ["speaker"]}, metadata)
    >>> pairs.negatives["emotion"].has_pair([0, 1, 2]).tolist()
    [True, True, False]
    >>> pairs.positives["emotion"].has_pair([0, 1, 2]).tolist()
    [True, False, True]
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[str]],
        negatives: Mapping[str, PairRule],
        positives: Mapping[str, PairRule],
        known: Mapping[str, np.ndarray],
    ):
        self.columns = columns
        self.negatives, self.positives, self.known = negatives, positives, known

    @classmethod
    def of_metadata(cls, columns: Mapping[str, Sequence[str]], metadata: Metadata) -> "HardPairs":
        """Makes the rules for N utterances.

        Arguments
        ---------
        columns : mapping of str to sequence of str
            Identity -> columns in which a hard negative agrees.
        metadata : Metadata
            The utterances' metadata, with labels in these columns and in `speaker`.

        Raises
        ------
        ValueError
            If an identity has no list of columns, or a column is not in a MetadataTable or holds
            numbers. A column that is not in a Metadata raises a KeyError.
        """
        codes: dict[str, np.ndarray] = {}
        for identity, same in columns.items():
            if isinstance(same, str) or not same:
                raise ValueError(
                    f"hard_pairs: {identity!r} needs a list of the columns in which a hard "
                    f"negative agrees, such as {{emotion: [speaker]}}; got {same!r}"
                )
            for column in (identity, *same):
                try:
                    codes[column] = metadata.require(column).numpy()
                except ValueError as error:
                    raise ValueError(f"hard_pairs, {identity!r}: {error}") from None
        speakers, places = metadata["speaker"].numpy(), np.arange(len(metadata))
        speakers = np.where(speakers < 0, speakers.max(initial=0) + 1 + places, speakers)
        negatives, positives = {}, {}
        for identity, same in columns.items():
            own = codes[identity]
            groups = _joint([codes[column] for column in same])
            negatives[identity] = PairRule(np.where(own < 0, -1, groups), own)
            positives[identity] = PairRule(own, places if identity == "speaker" else speakers)
        known = {column: values >= 0 for column, values in codes.items()}
        return cls(columns, negatives, positives, known)

    @property
    def rules(self) -> list[PairRule]:
        """All rules, first those of negatives: a negative of one identity is often a positive of
        another."""
        return [*self.negatives.values(), *self.positives.values()]

    def select(self, utterances: np.ndarray) -> "HardPairs":
        """Returns the rules for the utterances at (M,) places."""
        return HardPairs(
            self.columns,
            {name: rule.select(utterances) for name, rule in self.negatives.items()},
            {name: rule.select(utterances) for name, rule in self.positives.items()},
            {name: known[utterances] for name, known in self.known.items()},
        )

    def warn_where_none(self) -> None:
        """Warns of each identity for which no utterance has a hard negative, or none a positive."""
        for identity, same in self.columns.items():
            known, every = self.known[identity], np.arange(len(self.known[identity]))
            if not self.negatives[identity].has_pair(every).any():
                counts = (f"{column} {(self.known[column] & known).sum()}" for column in same)
                logger.warning(
                    "hard_pairs: none of the %d utterances with a known %s has a hard negative, "
                    "another %s with the same %s (number of them that have a label: %s)",
                    *(int(known.sum()), identity, identity, ", ".join(same), ", ".join(counts)),
                )
            if not self.positives[identity].has_pair(every).any():
                logger.warning(
                    "hard_pairs: none of the %d utterances with a known %s has a positive, the "
                    "same %s %s",
                    *(int(known.sum()), identity, identity),
                    "in another utterance" if identity == "speaker" else "of another speaker",
                )


def _joint(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Returns (N,) codes, one for each combination of labels, -1 where a label is missing."""
    joint, known = np.zeros(len(columns[0]), np.int64), np.ones(len(columns[0]), bool)
    for codes in columns:
        joint = np.unique(joint * (codes.max(initial=0) + 1) + codes, return_inverse=True)[1]
        known &= codes >= 0
    return np.where(known, joint, -1)


def draw_bundles(
    rules: Sequence[PairRule],
    utterances: np.ndarray,
    count: int,
    size: int,
    rng: np.random.Generator,
) -> tuple[list[list[int]], np.ndarray]:
    """Draws bundles of utterances that form pairs with each other.

    A bundle begins with a random utterance. For each utterance of the bundle in turn, and for each
    rule by which it has no partner in the bundle yet, a partner is added if one is left. After the
    last utterance, another random one is added. This costs O(R M log M) for M utterances and R
    rules; a draw costs O(1), amortised.

    Arguments
    ---------
    rules : sequence of PairRule
        R rules for N utterances.
    utterances : np.ndarray
        (M,) places to draw from; each is drawn at most as often as it is listed, and at most once
        in a bundle.
    count, size : int
        Number of bundles, and of utterances in each; a bundle is smaller if too few are left.
    rng : np.random.Generator
        The generator of the draws.

    Returns
    -------
    bundles : list[list[int]]
        The bundles.
    rest : np.ndarray
        The places that are left, in ascending order.

    Example
    -------
    >>> rule = PairRule(np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]))
    >>> bundles, rest = draw_bundles([rule], np.arange(4), 1, 2, np.random.default_rng(0))
    >>> rule.has_pair(bundles[0]).tolist(), len(rest)
    ([True, True], 2)
    """
    order = rng.permutation(utterances)
    partners = [_Partners(rule, order) for rule in rules]
    anchors = order.tolist()
    left = np.bincount(utterances)
    bundles = []
    for _ in range(count):
        bundle = _Bundle(partners, left)
        while len(bundle.utterances) < size and bundle.grow(size, anchors, rng):
            pass
        bundles.append(bundle.utterances)
    return bundles, np.repeat(np.arange(len(left)), left)


class _Bundle:
    """The utterances of a bundle so far, and the labels that they bring to each group."""

    def __init__(self, partners: "list[_Partners]", left: np.ndarray):
        self.partners, self.left = partners, left
        self.utterances: list[int] = []
        self.members: set[int] = set()
        self.labels: list[dict[int, set[int]]] = [defaultdict(set) for _ in partners]
        self.asked = 0  # number of utterances whose partners have been added

    def can_take(self, utterance: int) -> bool:
        return self.left[utterance] > 0 and utterance not in self.members

    def add(self, utterance: int) -> None:
        self.utterances.append(utterance)
        self.members.add(utterance)
        self.left[utterance] -= 1
        for labels, partners in zip(self.labels, self.partners, strict=True):
            labels[partners.group(utterance)].add(partners.label(utterance))

    def grow(self, size: int, anchors: list[int], rng: np.random.Generator) -> bool:
        """Adds the partners of the next utterance, or a random one; False if none is left."""
        if self.asked == len(self.utterances):
            while anchors:
                anchor = anchors.pop()
                if self.can_take(anchor):
                    self.add(anchor)
                    return True
            return False
        utterance = self.utterances[self.asked]
        self.asked += 1
        for labels, partners in zip(self.labels, self.partners, strict=True):
            group = partners.group(utterance)
            if group < 0 or len(labels[group]) > 1 or len(self.utterances) == size:
                continue
            partner = partners.draw(utterance, self.can_take, rng)
            if partner is not None:
                self.add(partner)
        return True


class _Partners:
    """The utterances of each group, by label, from which partners of another label are drawn."""

    def __init__(self, rule: PairRule, utterances: np.ndarray):
        self.rule = rule
        groups, labels = rule.groups[utterances], rule.labels[utterances]
        order = np.lexsort((labels, groups))  # stable: the order within a label is kept
        order = order[groups[order] >= 0]
        groups, labels = groups[order], labels[order]
        begins = np.ones(len(order), bool)
        begins[1:] = (groups[1:] != groups[:-1]) | (labels[1:] != labels[:-1])
        self.utterances = utterances[order]
        self.starts = np.flatnonzero(begins)
        self.stops = np.append(self.starts[1:], len(order))  # ends of what is left of each label
        self.run_labels = labels[self.starts]
        self.runs: dict[int, list[int]] = defaultdict(list)
        for run, group in enumerate(groups[self.starts].tolist()):
            self.runs[group].append(run)

    def group(self, utterance: int) -> int:
        return int(self.rule.groups[utterance])

    def label(self, utterance: int) -> int:
        return int(self.rule.labels[utterance])

    def draw(self, utterance: int, can_take, rng: np.random.Generator) -> int | None:
        """Draws and removes a partner that can be taken; each label is equally likely."""
        runs, own = self.runs[self.group(utterance)], self.label(utterance)
        while runs:
            place = int(rng.random() * len(runs))
            if self.run_labels[runs[place]] == own:
                if len(runs) == 1:
                    return None
                place = (place + 1) % len(runs)
            run = runs[place]
            while self.stops[run] > self.starts[run]:
                self.stops[run] -= 1
                found = int(self.utterances[self.stops[run]])
                if can_take(found):
                    return found
            runs[place] = runs[-1]
            runs.pop()
        return None


def pair_shares(
    pairs: HardPairs, batches: Iterable[Sequence[int]]
) -> dict[str, tuple[float, float, float, float]]:
    """Computes how many utterances have a positive and a hard negative in their batch.

    Arguments
    ---------
    pairs : HardPairs
        The rules for N utterances.
    batches : iterable of sequences of int
        The places of each batch's utterances.

    Returns
    -------
    dict
        Identity -> the fraction of all utterances that have a label of it; and, of these, the
        fractions with a positive, with a hard negative and with both. A fraction of no utterances
        is NaN.

    Example
    -------
    >>> metadata = Metadata.from_columns(
    ...     {"emotion": ["joy", "fear", "joy", ""], "speaker": ["a", "a", "b", "b"]}
    ... )
    >>> pairs = HardPairs.of_metadata({"emotion": ["speaker"]}, metadata)
    >>> [round(share, 2) for share in pair_shares(pairs, [[0, 1, 2, 3]])["emotion"]]
    [0.75, 0.67, 0.67, 0.33]
    """
    batches = [np.asarray(batch) for batch in batches]
    size, shares = sum(map(len, batches)), {}
    for identity in pairs.columns:
        known = sum(int(pairs.known[identity][batch].sum()) for batch in batches)
        counts = np.zeros(3)
        for batch in batches:
            positive = pairs.positives[identity].has_pair(batch)
            negative = pairs.negatives[identity].has_pair(batch)
            counts += [positive.sum(), negative.sum(), (positive & negative).sum()]
        with np.errstate(invalid="ignore"):
            found = counts / known if known else np.full(3, np.nan)
        shares[identity] = (known / size if size else np.nan, *found.tolist())
    return shares
