"""Hard pairs by labels: which utterances make them, and batches' parts that hold them."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from masr_modules.data.metadata import Metadata

logger = logging.getLogger(__name__)


@dataclass
class PairRule:
    """Two utterances are a pair where they are of one group and have different labels.

    Arguments
    ---------
    groups : np.ndarray
        (N,) codes, -1 where an utterance is in no pair.
    labels : np.ndarray
        (N,) codes of what must differ.

    Example
    -------
    >>> rule = PairRule(np.array([0, 0, 1, -1]), np.array([5, 6, 5, 6]))
    >>> rule.has_pair([0, 1, 2, 3]).tolist(), rule.has_pair([0, 2, 3]).tolist()
    ([True, True, False, False], [False, False, False])
    """

    groups: np.ndarray
    labels: np.ndarray

    def has_pair(self, utterances: Sequence[int]) -> np.ndarray:
        """(B,) bool: whether each of these utterances makes a pair with another of them."""
        groups, labels = self.groups[utterances], self.labels[utterances]
        runs = np.unique(np.stack([groups, labels]), axis=1)[0]  # each group once a label
        return (groups >= 0) & np.isin(groups, runs[1:][runs[1:] == runs[:-1]])

    def select(self, utterances: np.ndarray) -> "PairRule":
        """The rule for the utterances at (M,) places."""
        return PairRule(self.groups[utterances], self.labels[utterances])


class HardPairs:
    """For each identity, what makes a hard negative and a positive of an utterance.

    A hard negative has another label of the identity, and the same labels in the columns named: the
    same speaker with another emotion. A positive has the same label and another speaker; of the
    identity `speaker` it is another utterance. An utterance without one of the labels is in no
    pair; unknown speakers are taken for different ones.

    Arguments
    ---------
    columns : mapping of str to sequence of str
        Identity -> columns in which a hard negative agrees.
    negatives, positives : mapping of str to PairRule
        Identity -> its rule.
    known : mapping of str to np.ndarray
        Column -> (N,) bool, whether its label is known.

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
        """The rules of N utterances.

        Arguments
        ---------
        columns : mapping of str to sequence of str
            Identity -> columns in which a hard negative agrees.
        metadata : Metadata
            With these columns and `speaker`, as labels.

        Raises
        ------
        ValueError
            If an identity has no list of columns, or a column is not there or holds numbers.
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
        """All rules, the negatives first: a negative of one identity is often a positive of
        another."""
        return [*self.negatives.values(), *self.positives.values()]

    def select(self, utterances: np.ndarray) -> "HardPairs":
        """The rules for the utterances at (M,) places."""
        return HardPairs(
            self.columns,
            {name: rule.select(utterances) for name, rule in self.negatives.items()},
            {name: rule.select(utterances) for name, rule in self.positives.items()},
            {name: known[utterances] for name, known in self.known.items()},
        )

    def warn_where_none(self) -> None:
        """Logs a warning for each identity that has no hard negative, or no positive, at all."""
        for identity, same in self.columns.items():
            known, every = self.known[identity], np.arange(len(self.known[identity]))
            if not self.negatives[identity].has_pair(every).any():
                counts = (f"{column} {(self.known[column] & known).sum()}" for column in same)
                logger.warning(
                    "hard_pairs: none of the %d utterances with a known %s has a hard negative, "
                    "another %s with the same %s (known of them: %s)",
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
    """(N,) one code for each combination of labels, -1 where one of them is missing."""
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
    """Takes bundles of utterances that make pairs with each other.

    A bundle begins with an utterance at random. Each of its utterances in turn brings a partner by
    each rule by which it has none in the bundle; where nobody lacks one that is left, another
    utterance at random comes. O(R M log M) for M utterances and R rules; O(1) a draw, amortised.

    Arguments
    ---------
    rules : sequence of PairRule
        Of N utterances.
    utterances : np.ndarray
        (M,) places to take from; one comes as often as it is there, and once in a bundle.
    count, size : int
        Of bundles, and of utterances in each; fewer where there are not so many.
    rng : np.random.Generator
        Of the draws.

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
    """Utterances of a batch, and which pairs they make so far."""

    def __init__(self, partners: "list[_Partners]", left: np.ndarray):
        self.partners, self.left = partners, left
        self.utterances: list[int] = []
        self.members: set[int] = set()
        self.labels: list[dict[int, set[int]]] = [defaultdict(set) for _ in partners]
        self.asked = 0  # utterances that have brought their partners

    def can_take(self, utterance: int) -> bool:
        return self.left[utterance] > 0 and utterance not in self.members

    def add(self, utterance: int) -> None:
        self.utterances.append(utterance)
        self.members.add(utterance)
        self.left[utterance] -= 1
        for labels, partners in zip(self.labels, self.partners, strict=True):
            labels[partners.group(utterance)].add(partners.label(utterance))

    def grow(self, size: int, anchors: list[int], rng: np.random.Generator) -> bool:
        """Brings the partners of the next utterance, or an anchor; False where none is left."""
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
    """The utterances of each group, by label: a draw takes one of another label."""

    def __init__(self, rule: PairRule, utterances: np.ndarray):
        self.rule = rule
        groups, labels = rule.groups[utterances], rule.labels[utterances]
        order = np.lexsort((labels, groups))  # stable: within a label as they came
        order = order[groups[order] >= 0]
        groups, labels = groups[order], labels[order]
        begins = np.ones(len(order), bool)
        begins[1:] = (groups[1:] != groups[:-1]) | (labels[1:] != labels[:-1])
        self.utterances = utterances[order]
        self.starts = np.flatnonzero(begins)
        self.stops = np.append(self.starts[1:], len(order))  # of what is left of each label
        self.run_labels = labels[self.starts]
        self.runs: dict[int, list[int]] = defaultdict(list)
        for run, group in enumerate(groups[self.starts].tolist()):
            self.runs[group].append(run)

    def group(self, utterance: int) -> int:
        return int(self.rule.groups[utterance])

    def label(self, utterance: int) -> int:
        return int(self.rule.labels[utterance])

    def draw(self, utterance: int, can_take, rng: np.random.Generator) -> int | None:
        """Removes a partner that can be taken; labels are drawn alike, however many have them."""
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
    """How many utterances of batches have a positive and a hard negative in their batch.

    Arguments
    ---------
    pairs : HardPairs
        Of N utterances.
    batches : iterable of sequences of int
        Their places.

    Returns
    -------
    dict
        Identity -> the fraction of all utterances that have a label of it; and, of these, the
        fractions with a positive, with a hard negative and with both. NaN of none.

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
