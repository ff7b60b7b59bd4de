#!/usr/bin/env python3
"""How often do intervals hold the truth? Measured where the truth is known, by simulation.

> python -m benchmarks.intervals                     # the table; 20 minutes on one core
> python -m benchmarks.intervals --readme docs/intervals.md

Two systems answer the test items of the synthetic corpus, with the strata and speakers that these
have (`recipes/pretrain/test_labels.csv`). Whether an item is right is drawn with a probability to
which training seeds, seeds within a language, and speakers add what is drawn for them. The truth
is the difference without these draws.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats
from tqdm import tqdm

from masr_modules.metrics import intervals
from masr_modules.metrics.intervals import Difference, paired_difference
from masr_modules.metrics.tables import align, replace_block
from masr_modules.reporting.pretrain_record import load_labels

LABELS = Path(__file__).parents[1] / "recipes/pretrain/test_labels.csv"
SEEDS = (2, 3, 5)
#: Accuracies of the two systems; their difference is the truth.
RATES = (0.80, 0.77)


class Effects(NamedTuple):
    """Standard deviations of what is added to the difference of two probabilities."""

    seed: float = 0.0
    seed_in_stratum: float = 0.0
    speaker: float = 0.0


#: For the strata language, of 26 speakers that speak all, and gender, of 10 and 5 speakers.
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
    """The test items whose stratum is known."""
    rows = [row for row in load_labels(LABELS).values() if row[column]]
    numbers = (np.unique([r[c] for r in rows], return_inverse=True)[1] for c in (column, "speaker"))
    return Items(*numbers)


def draw(items: Items, effects: Effects, seeds: int, rng: np.random.Generator) -> list[np.ndarray]:
    """(seeds, items) right or wrong, of both systems."""
    strata, speakers = items.stratum.max() + 1, items.speaker.max() + 1
    hard = 0.05 * rng.standard_normal(speakers)[items.speaker]
    hard += 0.15 * rng.standard_normal(len(items.speaker))  # items, alike for both systems
    liked = effects.speaker * rng.standard_normal(speakers)[items.speaker]
    answers = []
    for rate, own in zip(RATES, (liked, 0.0), strict=True):
        seed = rng.standard_normal((seeds, 1)) * effects.seed
        within = rng.standard_normal((seeds, strata))[:, items.stratum] * effects.seed_in_stratum
        right = rate + hard + own + (seed + within) / 2**0.5
        answers.append((rng.random(right.shape) < right).astype(float))
    return answers


def ours(gap: np.ndarray, items: Items, rng: np.random.Generator) -> Difference:
    """Seeds and speakers as random effects: what the tables print."""
    nothing = {seed: np.zeros(gap.shape[1]) for seed in range(len(gap))}
    return paired_difference(
        dict(enumerate(gap)), nothing, items.stratum, items.speaker.astype(str)
    )


def of_seeds(gap: np.ndarray, items: Items, rng: np.random.Generator) -> Difference:
    """Student's t of the seeds' means."""
    means = macro_means(gap, items)
    half = stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / len(means) ** 0.5
    return Difference(means.mean(), means.mean() - half, means.mean() + half)


def macro_means(gap: np.ndarray, items: Items) -> np.ndarray:
    """(seeds,)"""
    size = np.bincount(items.stratum)
    return np.stack([np.bincount(items.stratum, row) / size for row in gap]).mean(axis=1)


def draw_utterances(items: Items, rng: np.random.Generator) -> np.ndarray:
    """How often each item is drawn: within its stratum."""
    return _resample(items.stratum, rng)


def draw_speakers(items: Items, rng: np.random.Generator) -> np.ndarray:
    """How often each item is drawn: speakers within strata, utterances within speakers."""
    pair = items.stratum * (items.speaker.max() + 1) + items.speaker
    names, number = np.unique(pair, return_inverse=True)
    of_pairs = _resample(names // (items.speaker.max() + 1), rng)
    return of_pairs[number] * _resample(number, rng)


def _resample(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) how often each is drawn, as often as there are in its group."""
    order = np.argsort(group, kind="stable")
    starts, counts = np.unique(group[order], return_index=True, return_counts=True)[1:]
    first, size = np.repeat(starts, counts), np.repeat(counts, counts)
    return np.bincount(order[first + rng.integers(size)], minlength=len(group))


def bootstrap(draw_items: Callable, draws: int = 200) -> Callable:
    """Percentiles of the macro mean, over draws of seeds and of items."""

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


#: Name -> interval, and one in how many trials it takes part: a bootstrap takes long.
METHODS = {
    "bootstrap: seeds, utterances": (bootstrap(draw_utterances), 16),
    "bootstrap: seeds, speakers, utterances": (bootstrap(draw_speakers), 16),
    "t of seeds": (of_seeds, 1),
    "ours": (ours, 1),
}


def coverage(
    name: str, items: Items, effects: Effects, seeds: int, trials: int
) -> dict[str, float]:
    """Method -> percent of its intervals that hold the truth."""
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


def table(trials: int) -> str:
    """Markdown: a row for each condition, 2 / 3 / 5 seeds in each cell."""
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
    """Prints the table, or writes it into a Markdown file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--readme", type=Path, help="with a block <!-- coverage -->")
    args = parser.parse_args()
    intervals.LEAST_SEEDS = 2  # what two seeds would give, which the tables do not print
    text = table(args.trials)
    print(text)
    if args.readme:
        replace_block(args.readme, "coverage", text)


if __name__ == "__main__":
    main()
