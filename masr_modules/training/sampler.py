"""Batches of limited duration, each of which holds positives and similar identities."""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from masr_modules.training.hard_pairs import HardPairs, draw_bundles

#: Largest number of an identity's utterances that are passed over in search of another speaker.
LOOK_AHEAD = 1000


def temperature_rates(labels: Sequence[int], temperature: float) -> np.ndarray:
    """Computes how often each utterance should be drawn in an epoch, for a temperature on labels.

    A label, such as a language or a speaker, that a fraction s of the utterances has is drawn in
    proportion to s^(1 / temperature): temperature 1 changes nothing, and as it grows, all labels
    become equally frequent (Conneau et al., "Unsupervised cross-lingual representation learning at
    scale", ACL 2020, where 1 / temperature is called alpha).

    Arguments
    ---------
    labels : sequence of int
        (N,) codes, -1 where missing: these utterances are drawn once.
    temperature : float
        More than 0.

    Returns
    -------
    np.ndarray
        (N,) mean number of times that each utterance is drawn; their sum is N.

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
    """A sampler of batches of P identities x K utterances, in which similar identities meet.

    Utterances are bucketed by length, and a batch is drawn from one bucket. The sampler draws an
    identity at random, then the identity most similar to it, then another at random, and so on
    until the batch is full. It takes K utterances of each, from different speakers if these are
    known. Utterances that have no identity, or are the only one of theirs in the bucket, also fill
    batches, in their proportion of the bucket: they take part in the SSL loss. Each utterance is in
    at most one batch of an epoch unless `rates` say otherwise, and is then seldom twice in one
    batch. If the last batch of a bucket would be less than half full, its utterances are left out
    of the epoch. A bucket too small for one batch joins its neighbour. Planning an epoch costs O(N)
    for N utterances, and O(I) more for each similar identity if `relatedness` of I identities is
    given.

    With `hard_pairs`, a fraction of each batch is first filled with utterances that are hard pairs
    of each other (`masr_modules.training.hard_pairs.draw_bundles`), and the rest of the batch is
    filled as above. Every utterance is still in at most one batch, and there are about as many
    batches; planning an epoch then costs O(R N log N) for R rules of pairs.

    Arguments
    ---------
    durations : sequence of float
        (N,) seconds that each utterance takes in a batch (after cropping).
    identities : sequence of int
        (N,) identity codes, -1 where missing.
    speakers : sequence of int
        (N,) speaker codes, -1 where missing.
    max_batch_seconds : float
        Largest duration of a batch, padding included.
    utterances_per_identity : int
        K, at least 2.
    relatedness : np.ndarray, optional
        (I, I) similarity of identities; without it, every identity is drawn at random.
    num_buckets : int
        Number of length buckets.
    seed : int
        The same seed and epoch give the same batches.
    rates : sequence of float, optional
        (N,) mean number of times that each utterance is drawn in an epoch; once by default.
    hard_pairs : HardPairs, optional
        The rules of hard pairs for the N utterances.
    hard_pair_share : float
        Fraction of a batch that is drawn by `hard_pairs`, in [0, 1].

    Raises
    ------
    ValueError
        If K < 2, an utterance is longer than `max_batch_seconds`, or `hard_pair_share` is not in
        [0, 1].

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
        # Speakers are read one by one, which is faster from an array than from numpy.
        self.speakers = array("q", np.asarray(speakers, np.int64).tobytes())
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
        """Chooses the epoch whose batches are given; the same epoch gives the same batches."""
        self.epoch = epoch

    @property
    def batches(self) -> list[list[int]]:
        """The batches of the epoch, which are planned at the first access."""
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
        """Draws how often each utterance comes in this epoch, (N,).

        This is systematic sampling: utterances are ordered by their rate, and each comes as often
        as the whole part of its rate or once more, so that the total over utterances of one rate
        is right to within one.
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
        """Returns how many utterances fit in a batch of this bucket, padded to its longest."""
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
            # The room left is too small for a pair.
            while self.hard_pairs and free and len(batch) < capacity:
                batch.append(free.pop())
                owed -= 1
            batches.append(batch)
        if len(batches) > 1 and len(batches[-1]) < capacity / 2:
            batches.pop()
        return batches

    def _bundles(
        self, bucket: np.ndarray, capacity: int, rng: np.random.Generator
    ) -> tuple[list[list[int]], np.ndarray]:
        """Draws hard pairs for each batch of the bucket; returns them and the remaining bucket."""
        size = int(self.hard_pair_share * capacity + 1e-9)
        if self.hard_pairs is None or size < 2:
            return [], bucket
        return draw_bundles(self.hard_pairs.rules, bucket, len(bucket) // capacity, size, rng)

    def _pools(self, indices: np.ndarray) -> tuple[dict[int, list[int]], list[int]]:
        """Returns identity -> its utterances, and the utterances that can be in no pair."""
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
        # Identities whose remaining utterances are all copies of some in the batch.
        spent: set[int] = set()
        last = None
        while capacity - len(batch) >= 2 and len(pools) > len(spent):
            if len(drawn) == len(pools):
                # There is more room than identities, so that each may be drawn again.
                for identity in drawn - spent:
                    sizes.set(identity, len(pools[identity]))
                drawn = set(spent)
                last = None
            identity = self._draw(pools, drawn, last, sizes, rng)
            last = identity if last is None else None
            drawn.add(identity)
            sizes.set(identity, 0)  # it is not drawn again before all others have been
            pool = pools[identity]
            # A single utterance left in the pool would have no positive, so it is taken too.
            count = self.per_identity + (len(pool) == self.per_identity + 1)
            room = capacity - len(batch)
            if self.hard_pairs and room == self.per_identity + 1:
                # The last place would stay empty. The first identity leaves room for another one.
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
        """Draws the identity most similar to `last`, or a random one, weighted by what is left."""
        if last is not None and self.relatedness is not None:
            left = [identity for identity in pools if identity not in drawn]
            return left[int(np.argmax(self.relatedness[last, left]))]
        return sizes.draw(rng)

    def _take(self, pool: list[int], count: int, batch: list[int]) -> list[int]:
        """Removes up to `count` utterances that are not in the batch, of different speakers if
        there are enough."""
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
    """The number of utterances left of each of I identities, which are drawn in proportion to it.

    A change and a draw cost O(log I) (Fenwick, "A new data structure for cumulative frequency
    tables", 1994).
    """

    def __init__(self, sizes: dict[int, int]):
        self.place = {identity: i for i, identity in enumerate(sizes)}
        self.identities = list(sizes)
        self.now, self.total = [0] * len(sizes), 0
        self.tree = [0] * (len(sizes) + 1)
        for identity, size in sizes.items():
            self.set(identity, size)

    def set(self, identity: int, size: int) -> None:
        """Sets the number of utterances left of an identity."""
        i = self.place[identity]
        more, self.now[i] = size - self.now[i], size
        self.total += more
        i += 1
        while i < len(self.tree):
            self.tree[i] += more
            i += i & -i

    def draw(self, rng: np.random.Generator) -> int:
        """Draws an identity with a probability in proportion to its utterances left."""
        left, place = int(rng.random() * self.total), 0
        step = 1 << (len(self.tree) - 1).bit_length()
        while step:
            after = place + step
            if after < len(self.tree) and self.tree[after] <= left:
                left -= self.tree[after]
                place = after
            step >>= 1
        return self.identities[place]
