#!/usr/bin/env python3
"""Compares processor seconds of pretraining's metrics with a plain computation, on one core.

> python -m benchmarks.table                            # 10 minutes
> python -m benchmarks.table --readme docs/benchmarks.md

The embeddings are random, in the size of a real case: 57 languages, 3 000 test and 3 000 validation
utterances of 1 000 speakers each, 6 000 references, 4 layers of 512 dimensions. They depend on
language, speaker, gender and emotion through a rectified random layer, with a spectrum that falls
like that of recordings, so that solvers take as many steps as there.

The plain computation ("the plain way") is scikit-learn's LogisticRegression, its `roc_curve` of all
pairs, and, for the rates without each speaker, a count of the remaining pairs after one sort, done
for `COUNTED` speakers and scaled up to all.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from masr_modules.metrics import probes
from masr_modules.metrics.embeddings import LabelledEmbeddings
from masr_modules.metrics.probes import PROBE_STRENGTHS, best_layer, evaluate, macro, speaker_eer
from masr_modules.metrics.tables import align, replace_block

#: Utterances and speakers of references, validation and test set.
SIZES = ((6000, 2000), (3000, 1000), (3000, 1000))
LANGUAGES, FAMILIES, EMOTIONS = 57, 20, 6
LAYERS, DIMENSIONS, HIDDEN = 4, 512, 256
#: Scales of the parts of an embedding.
LANGUAGE, VOICE, GENDER, EMOTION, NOISE = 0.3, 0.8, 0.4, 0.3, 0.8
WITHIN = ("label", "gender")
#: Number of speakers for which the plain computation recounts pairs.
COUNTED = 10


class Timed(NamedTuple):
    """A result, and the processor seconds that it took."""

    found: object
    seconds: float


def timed(work: Callable, *arguments: object) -> Timed:
    """Runs work once, and measures processor time, as the machine may be shared."""
    start = time.process_time()
    found = work(*arguments)
    return Timed(found, time.process_time() - start)


def make_splits(seed: int = 0) -> list[LabelledEmbeddings]:
    """Makes references, validation and test set, of which no two share a speaker."""
    rng = np.random.default_rng(seed)
    languages, genders, emotions = (
        rng.standard_normal((count, HIDDEN)) for count in (LANGUAGES, 2, EMOTIONS)
    )
    rooms = rng.standard_normal((LAYERS, HIDDEN, DIMENSIONS)) / HIDDEN**0.5
    loudness = np.arange(1, HIDDEN + 1) ** -0.75
    splits = []
    for part, (count, speakers) in enumerate(SIZES):
        speaker = np.arange(count) % speakers
        language, gender = (rng.integers(n, size=speakers)[speaker] for n in (LANGUAGES, 2))
        emotion = rng.integers(EMOTIONS, size=count)
        heard = LANGUAGE * languages[language] + GENDER * genders[gender]
        heard += EMOTION * emotions[emotion] + NOISE * rng.standard_normal((count, HIDDEN))
        heard += VOICE * rng.standard_normal((speakers, HIDDEN))[speaker]
        numbers = {"label": language, "family": language % FAMILIES, "speaker": speaker}
        numbers |= {"gender": gender, "emotion": emotion}
        labels = {name: np.array([f"{part}_{i}" for i in x]) for name, x in numbers.items()}
        for name in numbers.keys() - {"speaker"}:
            labels[name] = np.char.partition(labels[name], "_")[:, 2]
        layers = np.maximum(heard * loudness @ rooms, 0).astype(np.float32)
        splits.append(LabelledEmbeddings(layers, labels))
    return splits


def plain_probe(column: str, splits: Sequence[LabelledEmbeddings]) -> np.ndarray:
    """Predicts the test set as `best_layer` does, by scikit-learn."""
    best = (-1.0, np.array([]))
    for references, valid, test in zip(*(split.layers for split in splits), strict=True):
        scale = StandardScaler().fit(references)
        for strength in PROBE_STRENGTHS:
            probe = LogisticRegression(C=strength, max_iter=300)
            probe.fit(scale.transform(references), splits[0][column])
            right = probe.predict(scale.transform(valid)) == splits[1][column]
            score = macro(splits[1][column], right.astype(float))
            if score > best[0]:
                best = score, probe.predict(scale.transform(test))
    return best[1]


def plain_rate(scores: np.ndarray, targets: np.ndarray) -> float:
    """Computes the equal error rate from both rates at all thresholds."""
    accepted, detected, _ = roc_curve(targets, scores, drop_intermediate=False)
    return _meeting(1 - detected, accepted)


def plain_rates_without(scores: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Computes the rate without each of COUNTED speakers: sorts once, and recounts for each."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    same = pairs[0, order] == pairs[1, order]
    rates = []
    for speaker in np.linspace(0, pairs.max(), COUNTED).astype(int):
        others = (pairs[:, order] != speaker).all(axis=0)
        detected, accepted = (np.cumsum(kind & others)[last] for kind in (same, ~same))
        rates.append(_meeting(1 - detected / detected[-1], accepted / accepted[-1]))
    return np.array(rates)


def _meeting(missed: np.ndarray, accepted: np.ndarray) -> float:
    gap = missed - accepted
    after = int(np.argmax(gap <= 0))
    step = gap[after - 1] / (gap[after - 1] - gap[after])
    return accepted[after - 1] + step * (accepted[after] - accepted[after - 1])


def time_probe(metric: str, column: str, splits: Sequence[LabelledEmbeddings]) -> list[str]:
    """Measures a probe's row of the table."""
    ours = timed(best_layer, metric, *splits)
    title = {"linear": "language, linear", "knn": "language, kNN"}.get(metric, metric)
    if metric in ("knn", "within_family"):
        return [title.replace("_", " "), f"{ours.seconds:.1f}", "", ""]
    plain = timed(plain_probe, column, splits)
    same = 100 * np.mean(ours.found[2] == plain.found)
    return [title, f"{ours.seconds:.1f}", f"{plain.seconds:.1f}", f"{same:.1f} % of predictions"]


def time_speakers(
    title: str, splits: Sequence[LabelledEmbeddings], within: Sequence[str]
) -> list[list[str]]:
    """Measures two rows of the table: the choice of the layer, and rates without each speaker."""

    def choose(rate: Callable) -> list[float]:
        pairs = [(splits[0].at(layer), splits[1].at(layer)) for layer in range(LAYERS)]
        return [rate(*both, within) for both in pairs]

    def by_curve(*arguments) -> float:
        scores, pairs = probes._trials(*arguments)
        return plain_rate(scores, pairs[0] == pairs[1])

    ours, plain = timed(choose, speaker_eer), timed(choose, by_curve)
    away = np.abs(np.subtract(ours.found, plain.found)).max()
    rows = [[f"{title}, {LAYERS} layers", f"{ours.seconds:.1f}", f"{plain.seconds:.1f}"]]
    rows[0].append(f"{away:.0e} away at most")
    trials = probes._trials(splits[0].at(0), splits[2].at(0), within)
    ours, plain = timed(probes.rates_without, *trials), timed(plain_rates_without, *trials)
    count = len(ours.found)
    some = ours.found[np.linspace(0, count - 1, COUNTED).astype(int)]
    seconds = plain.seconds * count / COUNTED
    rows.append([f"{title}, without each speaker", f"{ours.seconds:.1f}", f"{seconds:.0f}"])
    rows[1].append(f"{np.abs(some - plain.found).max():.0e} away at most")
    return rows


def table() -> str:
    """Makes the table: a row for each metric, and one for all of them."""
    splits = make_splits()
    rows = [
        time_probe(metric, column, splits) for metric, (column, _) in probes._PREDICTIONS.items()
    ]
    rows += time_speakers("speaker EER", splits, ())
    rows += time_speakers("the same, language and gender shared", splits, WITHIN)
    whole = timed(evaluate, *splits, WITHIN)
    rows.append(["all of it", f"{whole.seconds:.1f}", "", ""])
    return align(["metric", "seconds", "the plain way", "the same in"], rows)


def main() -> None:
    """Prints the table, and with `--readme` writes it into a Markdown file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--readme", type=Path, help="Markdown file with a block <!-- table-speed --> to fill"
    )
    args = parser.parse_args()
    with threadpool_limits(1):
        text = table()
    print(text)
    if args.readme:
        replace_block(args.readme, "table-speed", text)


if __name__ == "__main__":
    main()
