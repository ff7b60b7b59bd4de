"""How well frozen embeddings separate languages, families, speakers and emotions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from masr_modules.metrics.detection import equal_error_rate
from masr_modules.metrics.embeddings import LabelledEmbeddings

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

        def score(probe: LogisticRegression) -> float:
            right = (probe.predict(on_valid) == valid[column]).astype(float)
            return macro(valid[column], right)

        probes = (LogisticRegression(C=strength, max_iter=300) for strength in PROBE_STRENGTHS)
        best = max((probe.fit(x, references[column]) for probe in probes), key=score)
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
    found.metrics[name] = float("nan")
    if not np.isfinite(rates).any():
        rates = [0.0] * len(rates)  # nothing to choose by: the first
    layer = int(np.nanargmin(rates))
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
        alike = (test[name][i] == test[name][j]) & (test[name][i] != "")
        i, j = i[alike], j[alike]
    return (x @ x.T)[i, j], np.stack([speakers[i], speakers[j]])


def rates_without(scores: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The equal error rate without each speaker in turn; sorts once for all of them.

    NaN where no target or no non-target is left, as of `equal_error_rate`.

    Arguments
    ---------
    scores : np.ndarray
        (P,) of pairs of utterances.
    pairs : np.ndarray
        (2, P) number of the speaker of each.

    Example
    -------
    >>> pairs = np.array([[0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]])
    >>> rates_without(np.array([0.9, 0.1, 0.2, 0.8, 0.7, 0.6]), pairs).tolist()
    [0.5, 0.0, 0.0]
    """
    order = np.argsort(-scores, kind="stable")
    first, second = pairs[:, order]
    same = first == second
    # Pairs of one score are accepted together: rates are read behind the last of them.
    last = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    rates = []
    for speaker in range(int(pairs.max()) + 1):
        others = (first != speaker) & (second != speaker)
        targets, rest = np.cumsum(same & others)[last], np.cumsum(~same & others)[last]
        if not (targets[-1] and rest[-1]):
            rates.append(np.nan)
            continue
        missed = np.r_[1.0, 1.0 - targets / targets[-1]]
        accepted = np.r_[0.0, rest / rest[-1]]
        gap = missed - accepted
        after = int(np.argmax(gap <= 0))
        step = gap[after - 1] / (gap[after - 1] - gap[after])
        rates.append(accepted[after - 1] + step * (accepted[after] - accepted[after - 1]))
    return np.array(rates)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
