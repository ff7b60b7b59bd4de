"""Batches of a seconds budget with positives and near relatives in each."""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from masr_modules.training.hard_pairs import HardPairs, draw_bundles

#: Utterances of an identity that are looked at for another speaker than those taken.
LOOK_AHEAD = 1000


def temperature_rates(labels: Sequence[int], temperature: float) -> np.ndarray:
    """How often each utterance should come in an epoch for a temperature on labels.

    A label, such as a language or a speaker, with the fraction s of the utterances gets a fraction
    in proportion to s^(1 / temperature): as it is at 1, all alike as the temperature grows
    (Conneau et al., "Unsupervised cross-lingual representation learning at scale", ACL 2020,
    where 1 / temperature is called alpha).

    Arguments
    ---------
    labels : sequence of int
        (N,) codes, -1 where missing: these utterances come as they are.
    temperature : float
        More than 0.

    Returns
    -------
    np.ndarray
        (N,) mean number of times that an utterance comes; their sum is N.

    Raises
    ------
    ValueError
        If the temperature is not positive.

    Example
    -------
    >>> temperature_rates([0] * 9 + [1], temperature=1.0).tolist() == [1.0] * 10
    True
    >>> temperature_rates([0] * 9 + [1], temperature=2.0)[[0, 9]]  # 3 to 1 instead of 9 to 1
    array([0.83333333, 2.5       ])
    """
    if not temperature > 0:
        raise ValueError(f"a temperature must be more than 0, got {temperature}")
    codes = np.asarray(labels)
    known = codes >= 0
    rates = np.ones(len(codes))
    counts = np.bincount(codes[known])
    shares = np.zeros(len(counts))
    shares[counts > 0] = (counts[counts > 0] / known.sum()) ** (1 / temperature)
    rates[known] = (shares / shares.sum() * known.sum())[codes[known]]
    rates[known] /= counts[codes[known]]
    return rates


class KnowledgeBatchSampler(Sampler[list[int]]):
    """P identities x K utterances per batch, half of them relatives of the others.

    Utterances are bucketed by length. A batch is drawn from one bucket: an
    identity at random, then its nearest relative, until the seconds budget is
    full; K utterances each, from different speakers where these are known.
    Utterances without identity, and singletons, come in the bucket's proportion
    and fill the batch: they take part in the SSL loss. Each utterance comes at
    most once per epoch unless `rates` say otherwise, and then seldom twice in a batch; what is
    left over at the end and would make less than half a batch waits for the next
    epoch. A bucket too small for one batch
    joins its neighbour. Planning an epoch costs O(N) for N utterances, and O(I) a pair of
    relatives where `relatedness` of I identities is given.

    With `hard_pairs`, a fraction of each batch is first filled with utterances that are hard pairs
    of each other (`masr_modules.training.hard_pairs.draw_bundles`), and the rest of the batch as
    without. Every utterance still comes at most once, in about as many batches; planning an epoch
    then costs O(R N log N) for R rules of pairs.

    Arguments
    ---------
    durations : sequence of float
        Seconds each utterance takes in a batch (after cropping).
    identities : sequence of int
        Identity codes, -1 where missing.
    speakers : sequence of int
        Speaker codes, -1 where missing.
    max_batch_seconds : float
        Budget of a batch, padding included.
    utterances_per_identity : int
        K, at least 2.
    relatedness : np.ndarray, optional
        (I, I) similarity of identities; without it relatives are drawn at random.
    num_buckets : int
        Number of length buckets.
    seed : int
        The same seed and epoch give the same batches.
    rates : sequence of float, optional
        How often each utterance comes in an epoch, on average; once by default.
    hard_pairs : HardPairs, optional
        Of the N utterances.
    hard_pair_share : float
        Fraction of a batch that is drawn by them, in [0, 1].

    Raises
    ------
    ValueError
        If K < 2, an utterance is longer than the budget, or the fraction is not in [0, 1].

    Example
    -------
    >>> sampler = KnowledgeBatchSampler(
    ...     durations=[1.0] * 8, identities=[0, 0, 0, 0, 1, 1, 1, 1], speakers=[-1] * 8,
    ...     max_batch_seconds=4.0, utterances_per_identity=2,
    ... )
    >>> [sorted(sampler.identities[batch].tolist()) for batch in sampler]
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """

    def __init__(
        self,
        durations: Sequence[float],
        identities: Sequence[int],
        speakers: Sequence[int],
        max_batch_seconds: float,
        utterances_per_identity: int = 2,
        relatedness: np.ndarray | None = None,
        num_buckets: int = 1,
        seed: int = 0,
        rates: Sequence[float] | None = None,
        hard_pairs: HardPairs | None = None,
        hard_pair_share: float = 0.5,
    ):
        self.durations = np.asarray(durations, dtype=float)
        self.identities = np.asarray(identities)
        self.speakers = array("q", np.asarray(speakers, np.int64).tobytes())  # read one by one
        self.max_batch_seconds = max_batch_seconds
        self.per_identity = utterances_per_identity
        self.relatedness = relatedness
        self.seed = seed
        self.rates = None if rates is None else np.asarray(rates, dtype=float)
        self.hard_pairs = hard_pairs if hard_pair_share else None
        self.hard_pair_share = hard_pair_share
        if not 0 <= hard_pair_share <= 1:
            raise ValueError(f"hard_pair_share must be in [0, 1], got {hard_pair_share}")
        if utterances_per_identity < 2:
            raise ValueError(
                "utterances_per_identity must be at least 2: an anchor needs a positive"
            )
        if self.durations.max() > max_batch_seconds:
            raise ValueError(
                f"an utterance of {self.durations.max():.1f} s does not fit max_batch_seconds "
                f"({max_batch_seconds:g}): raise it, or crop with max_crop_seconds"
            )
        self.buckets = self._make_buckets(num_buckets)
        self.epoch, self._planned = 0, None

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch's batches come; the same epoch gives the same ones."""
        self.epoch = epoch

    @property
    def batches(self) -> list[list[int]]:
        """The batches of the epoch, planned when they are first asked for."""
        if self._planned is None or self._planned[0] != self.epoch:
            self._planned = self.epoch, self._plan_epoch()
        return self._planned[1]

    def _plan_epoch(self) -> list[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        buckets = self.buckets
        if self.rates is not None:
            copies = self._draw_copies(rng)
            buckets = [np.repeat(bucket, copies[bucket]) for bucket in buckets]
        batches = [b for bucket in buckets if len(bucket) for b in self._plan(bucket, rng)]
        rng.shuffle(batches)
        return batches

    def _draw_copies(self, rng: np.random.Generator) -> np.ndarray:
        """(N,) how often each utterance comes in this epoch.

        Systematic sampling: utterances of the same rate lie side by side, and as
        many of them as the rate says, to one, come once more than its whole part.
        """
        order = np.lexsort((rng.random(len(self.rates)), self.rates))
        steps = np.floor(np.cumsum(self.rates[order]) + rng.random() + 1e-9)
        copies = np.empty(len(order), dtype=int)
        copies[order] = np.diff(steps, prepend=0.0)
        return copies

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def _make_buckets(self, num_buckets: int) -> list[np.ndarray]:
        order = np.argsort(self.durations, kind="stable")
        buckets: list[np.ndarray] = []
        for part in np.array_split(order, num_buckets):
            if len(part) == 0:
                continue
            if buckets and len(buckets[-1]) < self._capacity(buckets[-1]):
                buckets[-1] = np.concatenate([buckets[-1], part])
            else:
                buckets.append(part)
        if len(buckets) > 1 and len(buckets[-1]) < self._capacity(buckets[-1]):
            short = buckets.pop()
            buckets[-1] = np.concatenate([buckets[-1], short])
        return buckets

    def _capacity(self, bucket: np.ndarray) -> int:
        """Utterances that fit a batch of this bucket, padded to its longest."""
        return max(1, int(self.max_batch_seconds / self.durations[bucket].max() + 1e-9))

    def _plan(self, bucket: np.ndarray, rng: np.random.Generator) -> list[list[int]]:
        capacity = self._capacity(bucket)
        bundles, bucket = self._bundles(bucket, capacity, rng)
        pools, free = self._pools(rng.permutation(bucket))
        if capacity < 2:  # no room for a pair: every utterance comes alone
            pools, free = {}, rng.permutation(bucket).tolist()
        free_share = len(free) / max(1, len(bucket))
        sizes = _Sizes({identity: len(pool) for identity, pool in pools.items()})
        batches, owed = [], 0.0
        while pools or free or bundles:
            batch = bundles.pop() if bundles else []
            room = capacity - len(batch)
            owed += free_share * room
            # The last batches take whatever there is.
            take = min(len(free), room, int(owed) if pools else room)
            batch += [free.pop() for _ in range(take)]
            owed -= take
            self._fill(batch, pools, free, capacity, sizes, rng)
            while self.hard_pairs and free and len(batch) < capacity:  # too little for a pair
                batch.append(free.pop())
                owed -= 1
            batches.append(batch)
        if len(batches) > 1 and len(batches[-1]) < capacity / 2:
            batches.pop()
        return batches

    def _bundles(
        self, bucket: np.ndarray, capacity: int, rng: np.random.Generator
    ) -> tuple[list[list[int]], np.ndarray]:
        """Hard pairs for each batch of the bucket, and what is left of it."""
        size = int(self.hard_pair_share * capacity + 1e-9)
        if self.hard_pairs is None or size < 2:
            return [], bucket
        return draw_bundles(self.hard_pairs.rules, bucket, len(bucket) // capacity, size, rng)

    def _pools(self, indices: np.ndarray) -> tuple[dict[int, list[int]], list[int]]:
        """Identity -> its utterances; and those that cannot be a pair."""
        pools: dict[int, list[int]] = defaultdict(list)
        for index, identity in zip(
            indices.tolist(), self.identities[indices].tolist(), strict=True
        ):
            pools[identity].append(index)
        free = list(pools.pop(-1, []))
        for identity in [i for i, pool in pools.items() if len(set(pool)) < 2]:
            free += pools.pop(identity)
        return dict(pools), free

    def _fill(self, batch, pools, free, capacity, sizes, rng) -> None:
        drawn: set[int] = set()
        spent: set[int] = set()  # identities of which nothing is left but copies of the batch's
        last = None
        while capacity - len(batch) >= 2 and len(pools) > len(spent):
            if len(drawn) == len(pools):
                for identity in drawn - spent:  # fewer left than places: they come again
                    sizes.set(identity, len(pools[identity]))
                drawn = set(spent)
                last = None
            identity = self._draw(pools, drawn, last, sizes, rng)
            last = identity if last is None else None
            drawn.add(identity)
            sizes.set(identity, 0)  # at most once per batch
            pool = pools[identity]
            # A rest of one could be nobody's positive: it comes along.
            count = self.per_identity + (len(pool) == self.per_identity + 1)
            room = capacity - len(batch)
            if self.hard_pairs and room == self.per_identity + 1:
                # The last place would stay empty; where this is the first identity, another fits.
                count = room if len(drawn) > 1 else max(2, room // 2)
            taken = self._take(pool, min(count, room, len(pool)), batch)
            batch += taken
            if not taken:
                spent.add(identity)
            elif len(pool) < 2:
                free += pools.pop(identity)
                drawn.discard(identity)
        for identity in drawn:
            sizes.set(identity, len(pools[identity]))
        while free and len(batch) < capacity and not pools:
            batch.append(free.pop())

    def _draw(self, pools, drawn, last, sizes, rng) -> int:
        """The nearest relative of `last`, or an identity at random by what is left of it."""
        if last is not None and self.relatedness is not None:
            left = [identity for identity in pools if identity not in drawn]
            return left[int(np.argmax(self.relatedness[last, left]))]
        return sizes.draw(rng)

    def _take(self, pool: list[int], count: int, batch: list[int]) -> list[int]:
        """Removes up to `count` utterances that are not in the batch, of different speakers
        as far as they go."""
        present, taken, passed, speakers = set(batch), [], [], set()
        while pool and len(taken) < count and len(passed) < LOOK_AHEAD:
            index = pool.pop()
            speaker = self.speakers[index]
            if index in present or (speaker >= 0 and speaker in speakers):
                passed.append(index)
            else:
                taken.append(index)
                speakers.add(speaker)
                present.add(index)
        rest = []
        for index in passed:
            if len(taken) < count and index not in present:
                taken.append(index)
                present.add(index)
            else:
                rest.append(index)
        pool.extend(reversed(rest))
        return taken


class _Sizes:
    """How much is left of each identity, to draw one in proportion: O(log I) (Fenwick, 1994)."""

    def __init__(self, sizes: dict[int, int]):
        self.place = {identity: i for i, identity in enumerate(sizes)}
        self.identities = list(sizes)
        self.now, self.total = [0] * len(sizes), 0
        self.tree = [0] * (len(sizes) + 1)
        for identity, size in sizes.items():
            self.set(identity, size)

    def set(self, identity: int, size: int) -> None:
        """Changes what is left of one."""
        i = self.place[identity]
        more, self.now[i] = size - self.now[i], size
        self.total += more
        i += 1
        while i < len(self.tree):
            self.tree[i] += more
            i += i & -i

    def draw(self, rng: np.random.Generator) -> int:
        """An identity, as often as it has utterances left."""
        left, place = int(rng.random() * self.total), 0
        step = 1 << (len(self.tree) - 1).bit_length()
        while step:
            after = place + step
            if after < len(self.tree) and self.tree[after] <= left:
                left -= self.tree[after]
                place = after
            step >>= 1
        return self.identities[place]
