"""How well frozen embeddings separate languages, families, speakers and emotions."""

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

#: Of one layer: references, valid, test -> the labels predicted of valid and of test.
_Predict = Callable[
    [LabelledEmbeddings, LabelledEmbeddings, LabelledEmbeddings], tuple[np.ndarray, np.ndarray]
]


@dataclass
class Evaluation:
    """What an encoder was measured to do.

    Arguments
    ---------
    metrics : dict of str to float
        knn, linear, family, within_family, gender, age, emotion (macro accuracies in [0, 1]) and
        speaker_eer in [0, 1]; NaN where nothing could be asked. `valid_` before a name: on the
        validation set, to choose between systems.
    layers : dict of str to int or str
        The layer of each, chosen on the validation set; of several corpora, theirs.
    correct : dict of str to np.ndarray
        (N,) of each accuracy: 1 where the test utterance was named right, 0 where not, NaN
        where it was not asked; of speaker_eer (V,): the rate without each speaker in turn,
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
    """Every metric of the results table, each of the layer that is best at it on `valid`.

    Arguments
    ---------
    references, valid, test : LabelledEmbeddings
        All layers. Neighbours and probes learn from `references`; layers and strengths
        of probes are chosen on `valid`.
    within : sequence of str
        Labels that both utterances of a trial share, such as label and gender: adds
        speaker_eer_within, of such trials alone.
    columns : sequence of str
        Labels with a probe of their own: gender, age, emotion.
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
    """Mean over labels of the fraction named right; NaN, what was not asked, is left out.

    Example
    -------
    >>> macro(np.array(["a", "a", "b"]), np.array([1.0, 0.0, 1.0]))
    0.75
    """
    shares = [np.nanmean(right[truth == label]) for label in np.unique(truth[~np.isnan(right)])]
    return float(np.mean(shares)) if shares else float("nan")


def knn_accuracy(references: LabelledEmbeddings, test: LabelledEmbeddings) -> float:
    """Macro accuracy of the label by nearest neighbours, of one layer.

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
    """The layer that is best at a metric on `valid`, and what it predicts.

    Arguments
    ---------
    metric : str
        knn, linear, within_family, gender, age or emotion.
    references, valid, test : LabelledEmbeddings
        With the labels that the metric is of.

    Returns
    -------
    score : float
        Macro accuracy on `valid`.
    layer : int
        The layer.
    predicted : np.ndarray
        (N,) labels of `test`, by this layer; "" where there is nothing to tell.

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
    """The family is given: neighbours of that family alone, where it has two languages or more.

    How well close relatives are separated; "" where there is nothing to tell.
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
    """Logistic regression, its strength chosen on valid."""

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


#: Metric -> the column it tells, and what predicts it on the validation and the test set.
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
    # Where there is nothing to choose by: the first.
    layer = int(np.nanargmin(rates)) if np.isfinite(rates).any() else 0
    scores, pairs = _trials(references.at(layer), test.at(layer), within)
    rate = equal_error_rate(scores, pairs[0] == pairs[1])
    found.metrics[f"valid_{name}"] = rates[layer]
    found.metrics[name] = rate
    found.layers[name] = layer
    if np.isfinite(rate) and pairs.max() > 1:
        found.correct[name] = rates_without(scores, pairs)


#: Utterances whose pairs make the speaker EER: 4.5 million pairs.
MAX_SPEAKER_UTTERANCES = 3000


def speaker_eer(
    references: LabelledEmbeddings, test: LabelledEmbeddings, within: Sequence[str] = ()
) -> float:
    """Equal error rate over all pairs of test utterances with known speakers, by cosine.

    Or over those pairs alone that share the labels `within`, and have them. Embeddings are
    standardised with the references' statistics. O(N^2 log N) for N utterances, of at most
    MAX_SPEAKER_UTTERANCES, evenly spread.
    """
    scores, (first, second) = _trials(references, test, within)
    return equal_error_rate(scores, first == second)


def _trials(
    references: LabelledEmbeddings, test: LabelledEmbeddings, within: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all pairs, and (2, pairs) the place of their speakers among the sorted ones."""
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
    """The equal error rate without each speaker in turn.

    Exactly that of the pairs that are left, at the cost of one sort: the places of each speaker's
    own pairs among all are known, and the threshold of each is found by bisection.
    O((P + V) log P) for V speakers. NaN where no target or no non-target is left, as of
    `equal_error_rate`.

    Arguments
    ---------
    scores : np.ndarray
        (P,) of pairs of utterances.
    pairs : np.ndarray
        (2, P) number of the speaker of each.

    Returns
    -------
    np.ndarray
        (V,), of the speakers 0 to the highest number of `pairs`.

    Example
    -------
    >>> pairs = np.array([[0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]])
    >>> rates_without(np.array([0.9, 0.1, 0.2, 0.8, 0.7, 0.6]), pairs).tolist()
    [0.5, 0.0, 0.0]
    """
    # Pairs of one score have one place: they are accepted together.
    distinct, place = np.unique(-scores, return_inverse=True)
    same, speakers = pairs[0] == pairs[1], int(pairs.max()) + 1
    detected = _rate_without(place[same], pairs[:1, same], speakers, len(distinct))
    accepted = _rate_without(place[~same], pairs[:, ~same], speakers, len(distinct))

    def rates(taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 1 - detected(taken), accepted(taken)

    # P_miss is greater where `few` scores are accepted, and not where `many` are.
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
    """Of pairs of one kind: (V,) first places -> fraction that lies there, without each speaker's.

    Arguments
    ---------
    place : np.ndarray
        (P,) of each pair among the scores, the highest first.
    owners : np.ndarray
        (1, P) or (2, P): whose the pairs are.
    speakers, places : int
        How many there are.
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
