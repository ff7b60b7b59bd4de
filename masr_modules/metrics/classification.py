"""Metrics of classification, computed from a classifier's predictions.

In every metric, a row whose class the classifier does not have is an error, as in
scikit-learn with class names; a row whose class is not known is left out.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from sklearn.metrics import confusion_matrix

from masr_modules.config.extras import extra
from masr_modules.metrics.predictions import Predictions

#: Longest utterance (s) and name of each group of durations but the last.
_DURATION_GROUPS = ((5.0, "<= 5 s"), (20.0, "5-20 s"))


def accuracy(predictions: Predictions) -> float:
    """Computes the fraction of utterances classified right, or weighted accuracy (WA).

    It is NaN if no utterance has a known class.

    Example
    -------
    >>> scores = np.log([[0.7, 0.3], [0.6, 0.4], [0.9, 0.1]])
    >>> accuracy(Predictions(["x", "y", "z"], ("a", "b"), scores, np.array([0, 1, -1])))
    0.5
    """
    return _mean((predictions.predicted == predictions.truth)[predictions.known])


def macro_accuracy(predictions: Predictions) -> float:
    """Computes the mean over true labels of the fraction classified right.

    It is also called unweighted average recall (UAR, UA). The mean is over labels that have rows;
    it is NaN if there are none.

    Example
    -------
    >>> scores = np.log([[0.7, 0.3], [0.6, 0.4], [0.9, 0.1]])
    >>> macro_accuracy(Predictions(["x", "y", "z"], ("a", "b"), scores, np.array([0, 1, 0])))
    0.5
    """
    known = predictions.known
    right = predictions.predicted == predictions.truth
    return _macro(predictions.truth_labels[known], right[known])


def top_k_accuracy(predictions: Predictions, k: int) -> float:
    """Computes the fraction of utterances whose class is among the k highest scores.

    Of equal scores, that of the class that comes first in `labels` is ranked higher, as in
    `predicted`.

    Example
    -------
    >>> scores = np.log([[0.5, 0.3, 0.2], [0.5, 0.2, 0.3]])
    >>> predictions = Predictions(["x", "y"], ("a", "b", "c"), scores, np.array([1, 1]))
    >>> top_k_accuracy(predictions, 1), top_k_accuracy(predictions, 2)
    (0.0, 0.5)
    """
    best = np.argsort(-predictions.log_posteriors, axis=1, kind="stable")[:, :k]
    return _mean((best == predictions.truth[:, None]).any(axis=1)[predictions.known])


def by_group(predictions: Predictions, groups: Mapping[str, str | None]) -> dict[str, float]:
    """Computes the accuracy of each group of utterances.

    Groups may be durations, families, or languages seen or unseen in pretraining.

    Arguments
    ---------
    predictions : Predictions
        The predictions on the test set.
    groups : mapping of str to str
        ID -> group; utterances without a group are left out.

    Returns
    -------
    dict[str, float]
        Group -> accuracy, sorted by group.

    Example
    -------
    >>> scores = np.log([[0.7, 0.3], [0.6, 0.4], [0.9, 0.1]])
    >>> predictions = Predictions(["x", "y", "z"], ("a", "b"), scores, np.array([0, 1, 0]))
    >>> by_group(predictions, {"x": "5-20 s", "y": "5-20 s", "z": "> 20 s"})
    {'5-20 s': 0.5, '> 20 s': 1.0}
    """
    names = np.array([groups.get(i) or "" for i in predictions.ids], dtype=np.str_)
    right = predictions.predicted == predictions.truth
    names = np.where(predictions.known, names, "")
    return {str(name): _mean(right[names == name]) for name in np.unique(names[names != ""])}


def duration_group(seconds: float) -> str:
    """Returns the group of an utterance by its duration.

    Example
    -------
    >>> [duration_group(seconds) for seconds in (5.0, 5.1, 20.0, 20.1)]
    ['<= 5 s', '5-20 s', '5-20 s', '> 20 s']
    """
    for longest, name in _DURATION_GROUPS:
        if seconds <= longest:
            return name
    return "> 20 s"


def family_error(predictions: Predictions, families: Mapping[str, str | None]) -> float:
    """Computes the fraction of utterances that are taken for a language of another family.

    Arguments
    ---------
    predictions : Predictions
        The predicted languages.
    families : mapping of str to str
        Label -> family. Utterances whose true family is not known are left out; a predicted
        language of unknown family is an error.

    Example
    -------
    >>> scores = np.log([[0.5, 0.3, 0.2], [0.5, 0.2, 0.3]])
    >>> predictions = Predictions(["x", "y"], ("fra", "ita", "fin"), scores, np.array([1, 2]))
    >>> family_error(predictions, {"fra": "Romance", "ita": "Romance", "fin": "Uralic"})
    0.5
    """
    truth = _families(predictions.truth_labels, families)
    predicted = _families(predictions.predicted_labels, families)
    return _mean((predicted != truth)[truth != ""])


def within_family_accuracy(predictions: Predictions, families: Mapping[str, str | None]) -> float:
    """Computes the macro accuracy when the family is given: only classes of that family compete.

    It says how well related languages are separated. Families of one class are left out; it is
    NaN if no family has two classes.

    Arguments
    ---------
    predictions : Predictions
        The predicted languages.
    families : mapping of str to str
        Label -> family.

    Example
    -------
    >>> scores = np.log([[0.2, 0.1, 0.7], [0.2, 0.1, 0.7]])
    >>> predictions = Predictions(["x", "y"], ("fra", "ita", "fin"), scores, np.array([0, 1]))
    >>> within_family_accuracy(
    ...     predictions, {"fra": "Romance", "ita": "Romance", "fin": "Uralic"}
    ... )
    0.5
    """
    truth = predictions.truth_labels
    rows = _families(truth, families)
    columns = _families(predictions.labels, families)
    right, asked = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    for family in sorted(set(columns) - {""}):
        (classes,), ours = np.nonzero(columns == family), rows == family
        if len(classes) < 2:
            continue
        guessed = classes[predictions.log_posteriors[ours][:, classes].argmax(axis=1)]
        right[ours], asked[ours] = guessed == predictions.truth[ours], True
    return _macro(truth[asked], right[asked])


def confusion(predictions: Predictions) -> np.ndarray:
    """Counts the rows of each true and predicted class, (L, L); rows of no class are left out.

    Example
    -------
    >>> scores = np.log([[0.7, 0.3], [0.6, 0.4], [0.9, 0.1]])
    >>> confusion(Predictions(["x", "y", "z"], ("a", "b"), scores, np.array([0, 1, 0]))).tolist()
    [[2, 0], [1, 0]]
    """
    counted, classes = predictions.truth >= 0, np.arange(len(predictions.labels))
    if not counted.any():
        return np.zeros((len(classes), len(classes)), dtype=np.int64)
    return confusion_matrix(
        predictions.truth[counted], predictions.predicted[counted], labels=classes
    )


def most_confused(predictions: Predictions, count: int) -> list[tuple[str, str, float, int]]:
    """Lists the pairs of classes that are confused most, by the fraction of the true class's rows.

    Arguments
    ---------
    predictions : Predictions
        The predictions on the test set.
    count : int
        Largest number of pairs; pairs that are never confused are not listed.

    Returns
    -------
    list of (str, str, float, int)
        True class, predicted class, fraction of the true class's rows, number of rows.

    Example
    -------
    >>> scores = np.log([[0.7, 0.3], [0.6, 0.4], [0.9, 0.1]])
    >>> predictions = Predictions(["x", "y", "z"], ("a", "b"), scores, np.array([0, 1, 0]))
    >>> most_confused(predictions, 10)
    [('b', 'a', 1.0, 1)]
    """
    counts = confusion(predictions)
    totals = counts.sum(axis=1)
    pairs = [(i, j) for i, j in np.argwhere(counts) if i != j]
    pairs.sort(key=lambda pair: (-counts[pair] / totals[pair[0]], -counts[pair], pair))
    labels = predictions.labels
    return [
        (labels[i], labels[j], float(counts[i, j] / totals[i]), int(counts[i, j]))
        for i, j in pairs[:count]
    ]


def plot_confusion(
    predictions: Predictions, families: Mapping[str, str | None], path: str | Path
) -> None:
    """Draws the confusion matrix, in which each row holds the fractions of one true class.

    Classes are ordered by family and then by name; those without a family come last.

    Arguments
    ---------
    predictions : Predictions
        The predictions on the test set.
    families : mapping of str to str
        Label -> family; empty if classes have no families.
    path : str or Path
        The PNG, which is written whole or not at all.

    Raises
    ------
    MissingExtraError
        If the extra `report` is not installed.

    Example
    -------
    >>> scores = np.log([[0.7, 0.3], [0.6, 0.4]])
    >>> predictions = Predictions(["x", "y"], ("fra", "fin"), scores, np.array([0, 1]))
    >>> path = getfixture("tmp_path") / "confusion.png"
    >>> plot_confusion(predictions, {"fra": "Romance", "fin": "Uralic"}, path)
    """
    with extra("report"):  # imported here, because the metrics need no matplotlib
        from matplotlib.colors import PowerNorm
        from matplotlib.figure import Figure

        from masr_modules.metrics.plots import mark_groups, save_figure
    names = _families(predictions.labels, families)
    order = sorted(range(len(names)), key=lambda i: (not names[i], names[i], predictions.labels[i]))
    counts = confusion(predictions)[np.ix_(order, order)]
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    side = min(100, 0.19 * len(order))  # inches: each row has room for a line of text
    figure = Figure(figsize=(side + 3.0, side + 2.0), layout="constrained")
    axes = figure.add_subplot()
    # The square root brings out rare confusions beside the diagonal.
    image = axes.imshow(np.ma.masked_invalid(shares), norm=PowerNorm(0.5, 0.0, 1.0), cmap="magma_r")
    axes.set_facecolor("lightgrey")
    labels = [predictions.labels[i] for i in order]
    axes.set_yticks(range(len(order)), labels, fontsize=8)
    axes.set_xticks(range(len(order)), labels, fontsize=8, rotation=90)
    axes.set_xlabel("predicted", fontsize=9)
    axes.set_ylabel("truth", fontsize=9)
    mark_groups(axes, names[order].tolist(), color="grey")
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("fraction of the true class (grey: no rows)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    save_figure(figure, path)


def _families(labels: Iterable[str], families: Mapping[str, str | None]) -> np.ndarray:
    return np.array([families.get(str(label)) or "" for label in labels], dtype=np.str_)


def _mean(right: np.ndarray) -> float:
    return float(right.mean()) if len(right) else float("nan")


def _macro(truth: np.ndarray, right: np.ndarray) -> float:
    recalls = [right[truth == label].mean() for label in np.unique(truth)]
    return float(np.mean(recalls)) if recalls else float("nan")
