"""Metrics of how well frozen embeddings separate languages, families, speakers and emotions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from masr_modules.metrics.detection import equal_error_rate, meeting_rate
from masr_modules.metrics.embeddings import LabelledEmbeddings
from masr_modules.metrics.softmax_regression import LinearProbe, fit_probes

NEIGHBOURS = 10
PROBE_STRENGTHS = (0.01, 0.1)

#: References, valid and test of one layer -> the labels predicted for valid and for test.
_Predict = Callable[
    [LabelledEmbeddings, LabelledEmbeddings, LabelledEmbeddings], tuple[np.ndarray, np.ndarray]
]


@dataclass
class Evaluation:
    """The metrics of an encoder, with their layers and per-utterance correctness.

    Arguments
    ---------
    metrics : dict of str to float
        knn, linear, family, within_family, gender, age, emotion (macro accuracies in [0, 1]) and
        speaker_eer in [0, 1]; NaN where nothing could be evaluated. A name with `valid_` before it
        is the metric on the validation set, to choose between systems.
    layers : dict of str to int or str
        Metric -> its layer, chosen on the validation set; for several corpora, their layers.
    correct : dict of str to np.ndarray
        Accuracy -> (N,): 1 where the test utterance was classified right, 0 where wrong, NaN
        where it was not evaluated. speaker_eer -> (V,): the rate without each speaker in turn,
        speakers sorted.
    """

    metrics: dict[str, float]
    layers: dict[str, int | str]
    correct: dict[str, np.ndarray]


def evaluate(
    references: LabelledEmbeddings,
    valid: LabelledEmbeddings,
    test: LabelledEmbeddings,
    within: Sequence[str] = (),
    columns: Sequence[str] = ("gender", "emotion"),
) -> Evaluation:
    """Computes every metric of the results table, each by the layer that is best at it on `valid`.

    Arguments
    ---------
    references, valid, test : LabelledEmbeddings
        The embeddings of three splits by all layers. Neighbours and probes learn from
        `references`; layers and strengths of probes are chosen on `valid`.
    within : sequence of str
        Labels, such as label and gender. If there are any, speaker_eer_within is added, over only
        the trials whose two utterances share them.
    columns : sequence of str
        Labels, of gender, age and emotion, that have a probe of their own.
    """
    found = Evaluation({"family": float("nan")}, {}, {})
    for name, (column, _) in _PREDICTIONS.items():
        if column not in ("label", *columns):
            continue
        asked = [split.known(column) for split in (references, valid, test)]
        if len(set(asked[0][column])) < 2 or not all(len(s[column]) for s in asked):
            found.metrics |= {f"valid_{name}": float("nan"), name: float("nan")}
            continue
        score, layer, predicted = best_layer(name, *asked)
        right = (predicted == asked[2][column]).astype(float)
        right[predicted == ""] = float("nan")
        found.metrics[name] = macro(asked[2][column], right)
        found.layers[name] = layer
        found.correct[name] = np.full(len(test[column]), float("nan"))
        found.correct[name][test[column] != ""] = right
        found.metrics[f"valid_{name}"] = score
        if name == "knn":
            found.metrics["family"] = _family_accuracy(references, asked[2], predicted)
    _add_speaker_eer(found, "speaker_eer", references, valid, test, ())
    if within:
        _add_speaker_eer(found, "speaker_eer_within", references, valid, test, within)
    return found


def macro(truth: np.ndarray, right: np.ndarray) -> float:
    """Computes the mean over labels of the fraction classified right; leaves out NaN.

    Example
    -------
    >>> macro(np.array(["a", "a", "b"]), np.array([1.0, 0.0, 1.0]))
    0.75
    """
    shares = [np.nanmean(right[truth == label]) for label in np.unique(truth[~np.isnan(right)])]
    return float(np.mean(shares)) if shares else float("nan")


def knn_accuracy(references: LabelledEmbeddings, test: LabelledEmbeddings) -> float:
    """Computes the macro accuracy of the label by the nearest neighbours, for a single layer.

    Example
    -------
    >>> x = np.array([[[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]])
    >>> split = LabelledEmbeddings(x, {"label": np.array(["a", "a", "b", "b"])})
    >>> knn_accuracy(split, split)
    1.0
    """
    references, test = references.known("label"), test.known("label")
    predicted = _neighbours(references, test, test)[1]
    return macro(test["label"], (predicted == test["label"]).astype(float))


def best_layer(
    metric: str, references: LabelledEmbeddings, valid: LabelledEmbeddings, test: LabelledEmbeddings
) -> tuple[float, int, np.ndarray]:
    """Finds the layer that is best at a metric on `valid`, and its predictions.

    Arguments
    ---------
    metric : str
        knn, linear, within_family, gender, age or emotion.
    references, valid, test : LabelledEmbeddings
        The embeddings of utterances that have the metric's label, by all layers.

    Returns
    -------
    score : float
        Macro accuracy on `valid`.
    layer : int
        The layer.
    predicted : np.ndarray
        (N,) labels of `test` that this layer predicts; "" where nothing is predicted.

    Example
    -------
    >>> x = np.array([[[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]])
    >>> split = LabelledEmbeddings(x, {"label": np.array(["a", "a", "b", "b"])})
    >>> score, layer, predicted = best_layer("knn", split, split, split)
    >>> score, layer, predicted.tolist()
    (1.0, 0, ['a', 'a', 'b', 'b'])
    """
    column, predict = _PREDICTIONS[metric]

    def measure(layer: int) -> tuple[float, int, np.ndarray]:
        on_valid, on_test = predict(*(s.at(layer) for s in (references, valid, test)))
        right = (on_valid == valid[column]).astype(float)
        right[on_valid == ""] = float("nan")
        return macro(valid[column], right), layer, on_test

    return max(map(measure, range(len(references.layers))), key=itemgetter(0))


def _neighbours(
    references: LabelledEmbeddings, valid: LabelledEmbeddings, test: LabelledEmbeddings
) -> tuple[np.ndarray, np.ndarray]:
    scale = StandardScaler().fit(references.embeddings)
    near = min(NEIGHBOURS, len(references["label"]))
    knn = KNeighborsClassifier(near, weights="distance")
    knn.fit(_unit(scale.transform(references.embeddings)), references["label"])
    on_valid, on_test = (knn.predict(_unit(scale.transform(s.embeddings))) for s in (valid, test))
    return on_valid, on_test


def _neighbours_of_family(
    references: LabelledEmbeddings, valid: LabelledEmbeddings, test: LabelledEmbeddings
) -> tuple[np.ndarray, np.ndarray]:
    """Predicts the label by the neighbours of the true family alone.

    This says how well related languages are separated. Utterances of a family with fewer than two
    languages get "".
    """
    on_valid, on_test = (
        np.full(len(s["label"]), "", dtype=references["label"].dtype) for s in (valid, test)
    )
    scale = StandardScaler().fit(references.embeddings)
    x, *others = (_unit(scale.transform(s.embeddings)) for s in (references, valid, test))
    parts = list(zip((valid, test), others, (on_valid, on_test), strict=True))
    for family in sorted(set(references["family"]) - {""}):
        near = references["family"] == family
        if len(set(references["label"][near])) < 2:
            continue
        knn = KNeighborsClassifier(min(NEIGHBOURS, near.sum()), weights="distance")
        knn.fit(x[near], references["label"][near])
        for split, points, predicted in parts:
            asked = split["family"] == family
            if asked.any():
                predicted[asked] = knn.predict(points[asked])
    return on_valid, on_test


def _probe(column: str) -> _Predict:
    """Makes a logistic regression of a column, whose strength is chosen on the validation set."""

    def predict(
        references: LabelledEmbeddings, valid: LabelledEmbeddings, test: LabelledEmbeddings
    ) -> tuple[np.ndarray, np.ndarray]:
        scale = StandardScaler().fit(references.embeddings)
        x, on_valid, on_test = (scale.transform(s.embeddings) for s in (references, valid, test))

        def score(probe: LinearProbe) -> float:
            right = (probe.predict(on_valid) == valid[column]).astype(float)
            return macro(valid[column], right)

        best = max(fit_probes(x, references[column], PROBE_STRENGTHS), key=score)
        return best.predict(on_valid), best.predict(on_test)

    return predict


#: Metric -> its column, and the function that predicts it on the validation and the test set.
_PREDICTIONS: dict[str, tuple[str, _Predict]] = {
    "knn": ("label", _neighbours),
    "linear": ("label", _probe("label")),
    "within_family": ("label", _neighbours_of_family),
    "gender": ("gender", _probe("gender")),
    "age": ("age", _probe("age")),
    "emotion": ("emotion", _probe("emotion")),
}


def _family_accuracy(
    references: LabelledEmbeddings, test: LabelledEmbeddings, predicted: np.ndarray
) -> float:
    family_of = dict(zip(references["label"], references["family"], strict=True))
    families = np.array([family_of[label] for label in predicted])
    known = test["family"] != ""
    right = (families == test["family"]).astype(float)
    return macro(test["family"][known], right[known])


def _add_speaker_eer(
    found: Evaluation,
    name: str,
    references: LabelledEmbeddings,
    valid: LabelledEmbeddings,
    test: LabelledEmbeddings,
    within: Sequence[str],
) -> None:
    rates = [
        speaker_eer(references.at(layer), valid.at(layer), within)
        for layer in range(len(references.layers))
    ]
    # If no layer has a rate on the validation set, the first is taken.
    layer = int(np.nanargmin(rates)) if np.isfinite(rates).any() else 0
    scores, pairs = _trials(references.at(layer), test.at(layer), within)
    rate = equal_error_rate(scores, pairs[0] == pairs[1])
    found.metrics[f"valid_{name}"] = rates[layer]
    found.metrics[name] = rate
    found.layers[name] = layer
    if np.isfinite(rate) and pairs.max() > 1:
        found.correct[name] = rates_without(scores, pairs)


#: Largest number of utterances whose pairs are trials of the speaker EER: 4.5 million pairs.
MAX_SPEAKER_UTTERANCES = 3000


def speaker_eer(
    references: LabelledEmbeddings, test: LabelledEmbeddings, within: Sequence[str] = ()
) -> float:
    """Computes the equal error rate over all pairs of test utterances with known speakers.

    With `within`, only pairs whose utterances have these labels and share them count. The score of
    a pair is the cosine of the embeddings, which are standardised with the references' statistics.
    Of more than MAX_SPEAKER_UTTERANCES utterances, that many, evenly spread, are used. The cost is
    O(N^2 log N) for N utterances.
    """
    scores, (first, second) = _trials(references, test, within)
    return equal_error_rate(scores, first == second)


def _trials(
    references: LabelledEmbeddings, test: LabelledEmbeddings, within: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the cosines of all pairs, and (2, pairs) places of their speakers in sorted order."""
    test = test.known("speaker")
    if len(test["speaker"]) > MAX_SPEAKER_UTTERANCES:
        test = test.some(
            np.linspace(0, len(test["speaker"]) - 1, MAX_SPEAKER_UTTERANCES).astype(int)
        )
    scale = StandardScaler().fit(references.embeddings)
    x = _unit(scale.transform(test.embeddings)) if len(test["speaker"]) else test.embeddings
    speakers = np.unique(test["speaker"], return_inverse=True)[1].astype(np.int32)
    i, j = np.triu_indices(len(x), k=1)
    for name in within:
        names, codes = np.unique(test[name], return_inverse=True)
        codes[names[codes] == ""] = -1
        alike = (codes[i] == codes[j]) & (codes[i] >= 0)
        i, j = i[alike], j[alike]
    return (x @ x.T)[i, j], np.stack([speakers[i], speakers[j]])


def rates_without(scores: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Computes the equal error rate without each speaker in turn.

    Each rate is exactly that of the pairs that are left, but all need only one sort: the places of
    each speaker's pairs among all are known, and each threshold is found by bisection. The cost is
    O((P + V) log P) for V speakers.

    Arguments
    ---------
    scores : np.ndarray
        (P,) scores of pairs of utterances.
    pairs : np.ndarray
        (2, P) numbers of the speakers of each pair.

    Returns
    -------
    np.ndarray
        (V,) rates without each of the speakers 0 to the highest number of `pairs`; NaN if no
        target or no non-target is left.

    Example
    -------
    >>> pairs = np.array([[0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]])
    >>> rates_without(np.array([0.9, 0.1, 0.2, 0.8, 0.7, 0.6]), pairs).tolist()
    [0.5, 0.0, 0.0]
    """
    # Pairs with the same score have the same place, because they are accepted together.
    distinct, place = np.unique(-scores, return_inverse=True)
    same, speakers = pairs[0] == pairs[1], int(pairs.max()) + 1
    detected = _rate_without(place[same], pairs[:1, same], speakers, len(distinct))
    accepted = _rate_without(place[~same], pairs[:, ~same], speakers, len(distinct))

    def rates(taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 1 - detected(taken), accepted(taken)

    # P_miss is greater than P_fa if `few` scores are accepted, and not if `many` are.
    few, many = np.zeros(speakers, dtype=int), np.full(speakers, len(distinct))
    with np.errstate(invalid="ignore"):  # 0 / 0 where nothing is left
        while (many - few > 1).any():
            middle = (few + many) // 2
            missed, alarms = rates(middle)
            few, many = np.where(missed > alarms, [middle, many], [few, middle])
        return meeting_rate(rates(few), rates(many))


def _rate_without(
    place: np.ndarray, owners: np.ndarray, speakers: int, places: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Makes a function that gives the fractions of pairs of one kind that are accepted.

    The function maps (V,) numbers of accepted places to (V,) fractions, each without the pairs of
    one speaker.

    Arguments
    ---------
    place : np.ndarray
        (P,) place of each pair's score among the distinct scores, the highest first.
    owners : np.ndarray
        (1, P) or (2, P) speakers of each pair.
    speakers, places : int
        The numbers of speakers and of places.
    """
    everyone = np.r_[0, np.cumsum(np.bincount(place, minlength=places))]
    own = np.sort((owners.astype(np.int64) * (places + 1) + place).ravel())
    starts = np.arange(speakers) * (places + 1)
    before = np.searchsorted(own, starts)

    def count(taken: np.ndarray | int) -> np.ndarray:
        return everyone[taken] - (np.searchsorted(own, starts + taken) - before)

    left = count(places)
    return lambda taken: count(taken) / left


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
