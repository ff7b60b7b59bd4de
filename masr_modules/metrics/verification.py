"""Speaker verification: scores of trials, and samples of trials for a corpus without a list."""

import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

#: Most numbers that a block of a large matrix holds: 32 MB in float64.
_TILE = 1 << 22


def cosine_scores(enrol: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Computes the cosine of every enrolled with every tested utterance.

    Arguments
    ---------
    enrol : np.ndarray
        (N, D) embeddings.
    test : np.ndarray
        (M, D) embeddings.

    Returns
    -------
    np.ndarray
        (N, M) cosines in [-1, 1]; 0 for an embedding of zeros.

    Example
    -------
    >>> cosine_scores(np.array([[2.0, 0.0]]), np.array([[1.0, 1.0], [0.0, 3.0]])).round(3)
    array([[0.707, 0.   ]])
    """
    return _unit(enrol) @ _unit(test).T


def speaker_mean_cohort(embeddings: np.ndarray, speakers: Sequence[str]) -> np.ndarray:
    """Makes the cohort of score normalisation, with one embedding for each training speaker.

    Arguments
    ---------
    embeddings : np.ndarray
        (N, D) embeddings of the training set.
    speakers : sequence of str
        (N,) names of speakers; utterances without one are left out.

    Returns
    -------
    np.ndarray
        (C, D) unit-norm means of each speaker's unit-norm embeddings, sorted by name.

    Raises
    ------
    ValueError
        If no speaker is known, or the lengths differ.

    Example
    -------
    >>> x = np.array([[2.0, 0.0], [0.0, 5.0], [0.0, 1.0]])
    >>> speaker_mean_cohort(x, ["a", "a", "b"]).round(3)
    array([[0.707, 0.707],
           [0.   , 1.   ]])
    """
    cells = np.asarray(speakers, dtype=np.str_)
    if len(cells) != len(embeddings):
        raise ValueError(f"{len(embeddings)} embeddings, but {len(cells)} names of speakers")
    known = cells != ""
    if not known.any():
        raise ValueError("no utterance has a speaker: a cohort needs the CSV's column 'speaker'")
    names, index = np.unique(cells[known], return_inverse=True)
    sums = np.zeros((len(names), np.shape(embeddings)[1]))
    np.add.at(sums, index, _unit(embeddings)[known])
    return _unit(sums)


def score_trials(
    embeddings: np.ndarray,
    index_pairs: np.ndarray,
    cohort: np.ndarray | None = None,
    top: int = 300,
) -> np.ndarray:
    """Scores trials by the cosine, with adaptive symmetric normalisation (AS-norm) by a cohort.

    The normalised score is 0.5 ((s - mu_e) / sd_e + (s - mu_t) / sd_t) for the cosine s, with the
    mean and standard deviation of the `top` highest scores of the enrolled and of the tested
    utterance against the cohort (Matějka et al., "Analysis of Score Normalization in Multilingual
    Speaker Recognition", Interspeech 2017).

    Arguments
    ---------
    embeddings : np.ndarray
        (N, D) embeddings of all utterances in the trials.
    index_pairs : np.ndarray
        (T, 2) int, rows of `embeddings`: enrolled and tested utterance.
    cohort : np.ndarray, optional
        (C, D) embeddings, see :func:`speaker_mean_cohort`; without it the score is the cosine.
    top : int
        Number of highest cohort scores that count for each utterance; all, if the cohort is
        smaller.

    Returns
    -------
    np.ndarray
        (T,) scores, higher for the same speaker.

    Raises
    ------
    ValueError
        If an embedding is not finite or an index is out of range, which the message names; if the
        cohort has fewer than two speakers, or `top` is less than 2.

    Example
    -------
    >>> x = np.array([[1.0, 0.0], [3.0, 4.0]])
    >>> score_trials(x, np.array([[0, 1]]))
    array([0.6])
    >>> cohort = np.array([[1.0, 0.0], [0.0, 1.0]])  # means and deviations: .5 ± .5 and .7 ± .1
    >>> score_trials(x, np.array([[0, 1]]), cohort).round(3)  # (.2 + -1) / 2
    array([-0.4])
    """
    pairs = np.asarray(index_pairs, dtype=np.int64).reshape(-1, 2)
    broken = ~np.isfinite(embeddings).all(axis=1)
    if broken.any():
        raise ValueError(f"embedding {broken.argmax()} is not finite")
    outside = (pairs < 0) | (pairs >= len(embeddings))
    if outside.any():
        index = pairs[outside][0]
        raise ValueError(f"a trial names embedding {index} of {len(embeddings)}: count them from 0")
    utterances, pairs = np.unique(pairs, return_inverse=True)
    x, pairs = _unit(np.asarray(embeddings)[utterances]), pairs.reshape(-1, 2)
    scores = np.empty(len(pairs), dtype=x.dtype)
    for rows in _tiles(len(pairs), x.shape[1]):
        enrol, test = pairs[rows].T
        scores[rows] = np.einsum("td,td->t", x[enrol], x[test])
    if cohort is None:
        return scores
    mean, deviation = _cohort_statistics(x, _unit(cohort).astype(x.dtype), top)
    enrol, test = pairs.T
    enrol_score = (scores - mean[enrol]) / deviation[enrol]
    return 0.5 * (enrol_score + (scores - mean[test]) / deviation[test])


def _cohort_statistics(
    x: np.ndarray, cohort: np.ndarray, top: int
) -> tuple[np.ndarray, np.ndarray]:
    """Computes (N,) means and standard deviations of the `top` highest cosines with the cohort."""
    if len(cohort) < 2 or top < 2:
        raise ValueError(
            f"score normalisation needs two cohort speakers or more, but there are {len(cohort)}, "
            f"of which the top {top} count"
        )
    mean, deviation = np.empty(len(x), x.dtype), np.empty(len(x), x.dtype)
    for rows in _tiles(len(x), len(cohort)):
        scores = x[rows] @ cohort.T
        if top < len(cohort):
            scores = np.partition(scores, len(cohort) - top, axis=1)[:, -top:]
        mean[rows], deviation[rows] = scores.mean(axis=1), scores.std(axis=1)
    return mean, np.maximum(deviation, 1e-6)


def _tiles(rows: int, width: int) -> list[slice]:
    height = max(1, _TILE // width)
    return [slice(start, start + height) for start in range(0, rows, height)]


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True)
class _Pairs:
    """Pairs of one kind, which are numbered but not stored.

    The utterance at place p of `order` is paired with those at places starts[p] to stops[p] - 1.
    """

    order: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    target: bool
    count: int  # number of pairs of this kind; some of the numbered pairs may be of the other kind

    @classmethod
    def of(
        cls,
        order: np.ndarray,
        starts: np.ndarray,
        stops: np.ndarray,
        target: bool,
        others: int = 0,
    ) -> "_Pairs":
        starts = np.minimum(starts, stops)
        return cls(order, starts, stops, target, int((stops - starts).sum()) - others)

    def sample(self, size: int, speakers: np.ndarray, rng: random.Random) -> np.ndarray:
        """Draws (size, 2) distinct pairs of utterances, all equally likely."""
        ends = np.cumsum(self.stops - self.starts)
        numbers = int(ends[-1]) if len(ends) else 0
        draw = size
        while size:
            # More and more numbers are drawn, until enough of their pairs are of this kind.
            draw = min(numbers, draw * numbers // self.count + 16)
            drawn = np.array(rng.sample(range(numbers), draw), dtype=np.int64)
            place = np.searchsorted(ends, drawn, side="right")
            partner = self.stops[place] - (ends[place] - drawn)
            pairs = np.stack([self.order[place], self.order[partner]], axis=1)
            pairs = pairs[(speakers[pairs[:, 0]] == speakers[pairs[:, 1]]) == self.target]
            if len(pairs) >= size:
                return pairs[:size]
        return np.empty((0, 2), dtype=np.int64)


def sample_trials(
    rows: Mapping[str, Mapping], max_trials: int, seed: int, within: Sequence[str] = ()
) -> list[tuple[str, str, int]]:
    """Samples the trials of a corpus that has no list of them, without listing all pairs.

    Half of the trials are targets. There are three kinds of pairs: within a language, across
    languages, and of unknown language. Targets have equally many of each kind, and so have
    non-targets; where a kind has too few pairs, the others get more. If there are at most
    `max_trials` pairs, all are taken.

    Arguments
    ---------
    rows : mapping of str to row
        ID -> row of the test set, with `speaker` and `language`; an utterance without a speaker
        is left out.
    max_trials : int
        Largest number of trials.
    seed : int
        The same seed and rows give the same trials.
    within : sequence of str
        Columns whose labels both utterances of a trial have and share, such as language and
        gender, which makes non-targets harder. By default all pairs may be trials.

    Returns
    -------
    list of (str, str, int)
        ID to enrol, ID to test, and 1 (same speaker) or 0, in the order of the rows. No pair comes
        twice, in either order.

    Example
    -------
    >>> speakers = {"a": "ann", "b": "ann", "c": "bob"}
    >>> rows = {i: {"speaker": s, "language": "fra"} for i, s in speakers.items()}
    >>> sample_trials(rows, max_trials=10, seed=0)
    [('a', 'b', 1), ('a', 'c', 0), ('b', 'c', 0)]
    """
    ids = [i for i, row in rows.items() if row.get("speaker")]
    speakers = _codes([rows[i]["speaker"] for i in ids])
    groups = [tuple(rows[i].get(name) or "" for name in within or ["language"]) for i in ids]
    kinds = _kinds(speakers, _codes([group if all(group) else () for group in groups]))
    if within:
        kinds = kinds[::3]  # targets and non-targets of one group
    halves = [sum(kind.count for kind in kinds if kind.target is half) for half in (True, False)]
    rng, trials = random.Random(seed), []
    for half, size in zip((True, False), _shares(halves, max_trials), strict=True):
        ours = [kind for kind in kinds if kind.target is half]
        for kind, share in zip(ours, _shares([k.count for k in ours], size), strict=True):
            pairs = np.sort(kind.sample(share, speakers, rng), axis=1)
            trials += [(i, j, int(half)) for i, j in pairs.tolist()]
    return [(ids[i], ids[j], target) for i, j, target in sorted(trials)]


def _codes(names: Sequence[Hashable]) -> np.ndarray:
    """Returns (N,) int codes, equal for equal names; -1 for an empty one."""
    numbers = {name: code for code, name in enumerate(dict.fromkeys(filter(None, names)))}
    return np.array([numbers.get(name, -1) for name in names], dtype=np.int64)


def _kinds(speaker: np.ndarray, language: np.ndarray) -> list[_Pairs]:
    """Returns targets, then non-targets, each within a language, across languages and unknown."""

    def run_ends(codes: np.ndarray) -> np.ndarray:
        return np.searchsorted(codes, codes, side="right")

    known = np.flatnonzero(language >= 0)
    by_speaker = known[np.lexsort([language[known], speaker[known]])]
    by_language = known[np.lexsort([speaker[known], language[known]])]
    base = 1 + max(speaker.max(initial=0), language.max(initial=0))
    speakers = run_ends(speaker[by_speaker])
    speakers_inside = run_ends(speaker[by_speaker] * base + language[by_speaker])
    tongues = run_ends(language[by_language])
    tongues_inside = run_ends(language[by_language] * base + speaker[by_language])
    everyone, size = np.arange(len(known)), np.full(len(known), len(known))
    same = _Pairs.of(by_speaker, everyone + 1, speakers_inside, True)
    cross = _Pairs.of(by_speaker, speakers_inside, speakers, True)
    other_same = _Pairs.of(by_language, tongues_inside, tongues, False)
    other_cross = _Pairs.of(by_language, tongues, size, False, others=cross.count)

    # Utterances of unknown language come first in the order, and are paired with all after them.
    def first(order: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        after = np.arange(len(order)) + 1
        return after, np.where(language[order] < 0, stops, after)

    order = np.lexsort([language >= 0, speaker])
    unknown = _Pairs.of(order, *first(order, run_ends(speaker[order])), True)
    order = np.argsort(language >= 0, kind="stable")
    stops = np.full(len(order), len(order))
    other_unknown = _Pairs.of(order, *first(order, stops), False, others=unknown.count)
    return [same, cross, unknown, other_same, other_cross, other_unknown]


def _shares(counts: Sequence[int], size: int) -> list[int]:
    """Splits `size` into parts that are equal as far as the counts allow."""
    shares = [0] * len(counts)
    order = sorted(range(len(counts)), key=lambda i: counts[i])
    for place, i in enumerate(order):
        shares[i] = min(counts[i], size // (len(order) - place))
        size -= shares[i]
    return shares


def trial_languages(
    trials: Sequence[tuple[str, str, int]], rows: Mapping[str, Mapping]
) -> tuple[np.ndarray, np.ndarray]:
    """Tells which trials are within a language and which are across two.

    Arguments
    ---------
    trials : sequence of (str, str, int)
        T trials, see :func:`sample_trials`.
    rows : mapping of str to row
        ID -> row of the test set, with `language`.

    Returns
    -------
    same, cross : np.ndarray
        (T,) bool; both False where a language is not known.

    Raises
    ------
    ValueError
        If a trial names an utterance that is not in the test set.

    Example
    -------
    >>> rows = {"a": {"language": "fra"}, "b": {"language": "fra"}, "c": {"language": ""}}
    >>> same, cross = trial_languages([("a", "b", 1), ("a", "c", 0)], rows)
    >>> same.tolist(), cross.tolist()
    ([True, False], [False, False])
    """
    for trial in trials:
        for utterance in trial[:2]:
            if utterance not in rows:
                raise ValueError(f"trial {trial}: {utterance!r} is not in the test set")
    languages = [[rows[i].get("language") or "" for i in trial[:2]] for trial in trials]
    enrol, test = np.array(languages, dtype=np.str_).reshape(-1, 2).T
    known = (enrol != "") & (test != "")
    return known & (enrol == test), known & (enrol != test)
