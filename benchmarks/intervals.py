#!/usr/bin/env python3
"""Measures by simulation how often confidence intervals contain the true difference.

> python -m benchmarks.intervals                     # the tables; 30 minutes on one core
> python -m benchmarks.intervals --readme docs/intervals.md
> python -m benchmarks.intervals --only rates        # the table of equal error rates; 5 minutes

Two systems answer the test items of the synthetic corpus, with their strata and speakers
(`recipes/pretrain/test_labels.csv`). An item is right with a probability to which random effects of
the training seed, the seed within a stratum, and the speaker are added. The true difference is that
without random effects.

For the equal error rate two systems embed utterances of speakers: a speaker's mean, and noise that
is larger in one system, differs between seeds, and in one system between speakers. The true
difference is that of many seeds and speakers.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats
from tqdm import tqdm

from masr_modules.metrics import intervals
from masr_modules.metrics.detection import equal_error_rate
from masr_modules.metrics.intervals import Difference, paired_difference, pseudo_values
from masr_modules.metrics.probes import rates_without
from masr_modules.metrics.tables import align, replace_block
from masr_modules.reporting.pretrain_record import load_labels

LABELS = Path(__file__).parents[1] / "recipes/pretrain/test_labels.csv"
SEEDS = (2, 3, 5)
#: Accuracies of the two systems; their difference is the true one.
RATES = (0.80, 0.77)


class Effects(NamedTuple):
    """Standard deviations of the random effects on the difference of two probabilities."""

    seed: float = 0.0
    seed_in_stratum: float = 0.0
    speaker: float = 0.0


#: Condition -> column of the strata -> effects. Each of 26 speakers speaks all languages; the
#: genders have 10 and 5 speakers.
CONDITIONS = {
    "no seed variance": {"language": Effects(), "gender": Effects()},
    "seed variance": {"language": Effects(0.02), "gender": Effects(0.04)},
    "seed variance, little": {"language": Effects(0.007), "gender": Effects(0.015)},
    "seed × stratum": {
        "language": Effects(0.0, 0.06),
        "gender": Effects(0.0, 0.04),
    },
    "speakers": {"language": Effects(0, 0, 0.06), "gender": Effects(0, 0, 0.06)},
    "speakers and seeds": {
        "language": Effects(0.02, 0.03, 0.06),
        "gender": Effects(0.03, 0.03, 0.06),
    },
}


class Items(NamedTuple):
    """Stratum and speaker of each test item, as numbers."""

    stratum: np.ndarray
    speaker: np.ndarray


def read_items(column: str) -> Items:
    """Reads the test items whose stratum is known."""
    rows = [row for row in load_labels(LABELS).values() if row[column]]
    numbers = (np.unique([r[c] for r in rows], return_inverse=True)[1] for c in (column, "speaker"))
    return Items(*numbers)


def draw(items: Items, effects: Effects, seeds: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Draws (seeds, items) right or wrong answers of both systems."""
    strata, speakers = items.stratum.max() + 1, items.speaker.max() + 1
    hard = 0.05 * rng.standard_normal(speakers)[items.speaker]
    hard += 0.15 * rng.standard_normal(len(items.speaker))  # items, the same for both systems
    liked = effects.speaker * rng.standard_normal(speakers)[items.speaker]
    answers = []
    for rate, own in zip(RATES, (liked, 0.0), strict=True):
        seed = rng.standard_normal((seeds, 1)) * effects.seed
        within = rng.standard_normal((seeds, strata))[:, items.stratum] * effects.seed_in_stratum
        right = rate + hard + own + (seed + within) / 2**0.5
        answers.append((rng.random(right.shape) < right).astype(float))
    return answers


def ours(gap: np.ndarray, items: Items, rng: np.random.Generator) -> Difference:
    """Computes the interval of the tables, with seeds and speakers as random effects."""
    nothing = {seed: np.zeros(gap.shape[1]) for seed in range(len(gap))}
    return paired_difference(
        dict(enumerate(gap)), nothing, items.stratum, items.speaker.astype(str)
    )


def of_seeds(gap: np.ndarray, items: Items, rng: np.random.Generator) -> Difference:
    """Computes the interval by Student's t of the seeds' means."""
    means = macro_means(gap, items)
    half = stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / len(means) ** 0.5
    return Difference(means.mean(), means.mean() - half, means.mean() + half)


def macro_means(gap: np.ndarray, items: Items) -> np.ndarray:
    """Computes the (seeds,) macro means over strata."""
    size = np.bincount(items.stratum)
    return np.stack([np.bincount(items.stratum, row) / size for row in gap]).mean(axis=1)


def draw_utterances(items: Items, rng: np.random.Generator) -> np.ndarray:
    """Draws items within their strata; returns how often each is drawn."""
    return _resample(items.stratum, rng)


def draw_speakers(items: Items, rng: np.random.Generator) -> np.ndarray:
    """Draws speakers within strata and utterances within speakers; returns counts of the items."""
    pair = items.stratum * (items.speaker.max() + 1) + items.speaker
    names, number = np.unique(pair, return_inverse=True)
    of_pairs = _resample(names // (items.speaker.max() + 1), rng)
    return of_pairs[number] * _resample(number, rng)


def _resample(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws with replacement, from each group as many as it has; returns the (N,) counts."""
    order = np.argsort(group, kind="stable")
    starts, counts = np.unique(group[order], return_index=True, return_counts=True)[1:]
    first, size = np.repeat(starts, counts), np.repeat(counts, counts)
    return np.bincount(order[first + rng.integers(size)], minlength=len(group))


def bootstrap(draw_items: Callable, draws: int = 200) -> Callable:
    """Returns a function that computes percentiles of the macro mean, over seeds and items."""

    def interval(gap: np.ndarray, items: Items, rng: np.random.Generator) -> Difference:
        found = []
        for _ in range(draws):
            often = draw_items(items, rng)
            rows = gap[rng.integers(len(gap), size=len(gap))].mean(axis=0)
            weight = np.bincount(items.stratum, often)
            found.append((np.bincount(items.stratum, often * rows) / weight).mean())
        mean = macro_means(gap, items).mean()
        return Difference(mean, *np.percentile(found, [2.5, 97.5]))

    return interval


#: Name -> function that computes the interval, and n: because a bootstrap takes long, the function
#: runs in one of n trials.
METHODS = {
    "bootstrap: seeds, utterances": (bootstrap(draw_utterances), 16),
    "bootstrap: seeds, speakers, utterances": (bootstrap(draw_speakers), 16),
    "t of seeds": (of_seeds, 1),
    "ours": (ours, 1),
}


def coverage(
    name: str, items: Items, effects: Effects, seeds: int, trials: int
) -> dict[str, float]:
    """Computes, for each method, the percentage of intervals that contain the true difference."""
    rng = np.random.default_rng([seeds, *name.encode()])
    held: dict[str, list[bool]] = {method: [] for method in METHODS}
    truth = RATES[0] - RATES[1]
    for trial in range(trials):
        answers = draw(items, effects, seeds, rng)
        for method, (interval, every) in METHODS.items():
            if trial % every == 0:
                _, low, high = interval(answers[0] - answers[1], items, rng)
                held[method].append(low <= truth <= high)
    return {method: 100 * float(np.mean(found)) for method, found in held.items()}


#: Condition -> spread of the logarithm of the noise over seeds, and over speakers in one system.
RATE_CONDITIONS = {
    "no seed variance": (0.0, 0.0),
    "seed variance": (0.03, 0.0),
    "speakers": (0.0, 0.15),
    "speakers and seeds": (0.03, 0.15),
}
#: Noise of the two systems; with speakers of unit variance in 8 dimensions their EERs are near 9
#: and 11 %.
NOISE = (0.80, 0.88)


class Trials(NamedTuple):
    """Scores of all pairs of utterances, and the numbers of their speakers."""

    scores: np.ndarray
    pairs: np.ndarray

    @property
    def rate(self) -> float:
        """The equal error rate."""
        return equal_error_rate(self.scores, self.pairs[0] == self.pairs[1])


def draw_trials(
    condition: tuple[float, float],
    seeds: int,
    speakers: int,
    rng: np.random.Generator,
    utterances: int = 5,
) -> list[list[Trials]]:
    """Draws the trials of both systems with each seed, on the same utterances."""
    of_seeds, of_speakers = condition
    speaker = np.repeat(np.arange(speakers, dtype=np.int32), utterances)
    mean = rng.standard_normal((speakers, 8))[speaker]
    shared = rng.standard_normal(mean.shape)
    noisy = np.exp(of_speakers * rng.standard_normal(speakers))[speaker, None]
    i, j = np.triu_indices(len(speaker), k=1)
    systems = []
    for noise, own in zip(NOISE, (noisy, 1.0), strict=True):
        runs = []
        for _ in range(seeds):
            scale = noise * own * np.exp(of_seeds * rng.standard_normal())
            x = mean + scale * (0.8 * shared + 0.6 * rng.standard_normal(mean.shape))
            x /= np.linalg.norm(x, axis=1, keepdims=True)
            runs.append(Trials((x @ x.T)[i, j], np.stack([speaker[i], speaker[j]])))
        systems.append(runs)
    return systems


def biased_values(whole: float, without: np.ndarray) -> np.ndarray:
    """Computes Tukey's pseudo-values, whose mean corrects the rate for bias."""
    return len(without) * whole - (len(without) - 1) * without


def rate_coverage(
    name: str, condition: tuple[float, float], seeds: int, truth: float, trials: int
) -> dict[str, tuple[float, float]]:
    """Computes the percentage of intervals that contain the truth, and their median half-width."""
    rng = np.random.default_rng([seeds, *name.encode()])
    count = 60
    methods = {"pseudo-values": biased_values, "ours": pseudo_values}
    found: dict[str, list[tuple[bool, float]]] = {"t of seeds": [], **{m: [] for m in methods}}
    for _ in range(trials):
        ours, theirs = draw_trials(condition, seeds, count, rng)
        gaps = np.array([[a.rate - b.rate] for a, b in zip(ours, theirs, strict=True)])
        mean = gaps.mean()
        halves = {"t of seeds": stats.t.ppf(0.975, seeds - 1) * gaps.std(ddof=1) / seeds**0.5}
        parts = [[(t.rate, rates_without(*t)) for t in runs] for runs in (ours, theirs)]
        for method, values in methods.items():
            mine, other = ({s: values(*part) for s, part in enumerate(runs)} for runs in parts)
            _, low, high = paired_difference(mine, other, [""] * count, [*map(str, range(count))])
            halves[method] = (high - low) / 2
        for method, half in halves.items():
            found[method].append((abs(mean - truth) <= half, half))
    columns = {method: np.array(each, dtype=float).T for method, each in found.items()}
    return {
        method: (100 * float(held.mean()), 100 * float(np.median(half)))
        for method, (held, half) in columns.items()
    }


def rate_table(trials: int) -> str:
    """Makes the table of equal error rates: coverage and median half-width with 3 / 5 seeds."""
    body = []
    for name, condition in tqdm(RATE_CONDITIONS.items(), desc="equal error rate"):
        rng = np.random.default_rng([*name.encode()])
        drawn = (draw_trials(condition, 1, 150, rng) for _ in range(400))
        truth = float(np.mean([a.rate - b.rate for (a,), (b,) in drawn]))
        found = [rate_coverage(name, condition, seeds, truth, trials) for seeds in (3, 5)]
        cells = [
            " / ".join(f"{each[method][0]:.1f} (±{each[method][1]:.1f})" for each in found)
            for method in found[0]
        ]
        body.append([name, *cells])
    return align(["condition", *found[0]], body)


def table(trials: int) -> str:
    """Makes the table: a row for each condition, and 2 / 3 / 5 seeds in each cell."""
    body = []
    for column in ("language", "gender"):
        items = read_items(column)
        for condition, effects in tqdm(CONDITIONS.items(), desc=column):
            name = f"{column}, {condition}"
            found = [coverage(name, items, effects[column], seeds, trials) for seeds in SEEDS]
            cells = [" / ".join(f"{each[method]:.1f}" for each in found) for method in METHODS]
            body.append([column, condition, *cells])
    return align(["strata", "condition", *METHODS], body)


def main() -> None:
    """Prints the table, and with `--readme` writes it into a Markdown file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--trials",
        type=int,
        default=2000,
        help="number of simulations of each cell; of equal error rates one in twenty",
    )
    parser.add_argument(
        "--readme", type=Path, help="Markdown file with a block <!-- TABLE --> of each to fill"
    )
    parser.add_argument("--only", choices=["accuracies", "rates"], help="one of the two tables")
    args = parser.parse_args()
    intervals.LEAST_SEEDS = 2  # allows intervals of two seeds, which other tables do not print
    tables = {"accuracies": ("coverage", table), "rates": ("coverage-rates", rate_table)}
    for block, make in [tables[args.only]] if args.only else tables.values():
        text = make(args.trials if make is table else args.trials // 20)
        print(text)
        if args.readme:
            replace_block(args.readme, block, text)


if __name__ == "__main__":
    main()
