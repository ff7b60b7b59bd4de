"""Confusions of languages, within a family and across families."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np


def confusion_matrix(
    truth: np.ndarray, predicted: np.ndarray, languages: Sequence[str]
) -> np.ndarray:
    """Computes the fraction of each language's utterances that is predicted as each language.

    Arguments
    ---------
    truth, predicted : np.ndarray
        (N,) languages.
    languages : sequence of str
        L languages, in the order of rows and columns. A prediction of another language counts in
        no column, so that a row may sum to less than 1.

    Returns
    -------
    np.ndarray
        (L, L): row i, column j is the fraction of the utterances of i that are predicted as j; NaN
        in the row of a language without utterances.

    Example
    -------
    >>> confusion_matrix(np.array(["a", "a", "b"]), np.array(["a", "b", "b"]), ["a", "b"]).tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    counts = np.array(
        [[np.sum(predicted[truth == i] == j) for j in languages] for i in languages], float
    )
    sizes = np.array([np.sum(truth == i) for i in languages], float)
    with np.errstate(invalid="ignore"):
        return counts / sizes[:, None]


def confused_pairs(
    matrix: np.ndarray, languages: Sequence[str], most: int = 10
) -> list[tuple[str, str]]:
    """Lists the pairs of languages that are most often taken for each other.

    Example
    -------
    >>> matrix = np.array([[0.9, 0.1, 0.0], [0.3, 0.7, 0.0], [0.0, 0.0, 1.0]])
    >>> confused_pairs(matrix, ["hin", "urd", "tam"])
    [('hin', 'urd')]
    """
    rates = {pair: pair_rate(matrix, languages, pair) for pair in combinations(languages, 2)}
    ordered = sorted(rates, key=lambda pair: (-rates[pair], pair))
    return [pair for pair in ordered if rates[pair] > 0][:most]


def pair_rate(matrix: np.ndarray, languages: Sequence[str], pair: tuple[str, str]) -> float:
    """Computes the fraction of utterances taken for the pair's other language, averaged."""
    i, j = (list(languages).index(code) for code in pair)
    return float(np.nan_to_num(matrix[i, j]) + np.nan_to_num(matrix[j, i])) / 2


class GroupAccuracy(NamedTuple):
    """Mistakes within and across groups of languages, such as families.

    Arguments
    ---------
    accuracy : float
        Fraction of utterances whose predicted language is of the right group.
    inside, across : float
        Fraction of utterances that are predicted as another language of the same group, and as one
        of another group.
    inside_of_mistakes, by_chance : float
        Fraction of the mistakes that stay inside the group, and its expectation if the wrong
        language were drawn uniformly; NaN without mistakes.
    """

    accuracy: float
    inside: float
    across: float
    inside_of_mistakes: float
    by_chance: float


def group_accuracy(
    truth: np.ndarray, predicted: np.ndarray, group_of: Mapping[str, str]
) -> GroupAccuracy:
    """Counts mistakes within and across groups; utterances of languages in no group are left out.

    Arguments
    ---------
    truth, predicted : np.ndarray
        (N,) languages.
    group_of : mapping of str to str
        Language -> its group, for every language that can be predicted.

    Example
    -------
    >>> groups = {"hin": "Indo-European", "urd": "Indo-European", "tam": "Dravidian"}
    >>> truth, predicted = np.array(["hin", "hin", "tam"]), np.array(["urd", "hin", "hin"])
    >>> found = group_accuracy(truth, predicted, groups)
    >>> round(found.accuracy, 2), found.inside_of_mistakes, found.by_chance
    (0.67, 0.5, 0.25)
    """
    asked = np.array([bool(group_of.get(language)) for language in truth])
    truth, predicted = truth[asked], predicted[asked]
    if not len(truth):
        return GroupAccuracy(*[float("nan")] * 5)
    right = np.array(
        [group_of[t] == group_of.get(p) for t, p in zip(truth, predicted, strict=True)]
    )
    wrong = truth != predicted
    inside, across = float(np.mean(wrong & right)), float(np.mean(~right))
    sizes = {group: list(group_of.values()).count(group) for group in set(group_of.values())}
    others = max(1, len(group_of) - 1)
    drawn = [(sizes[group_of[language]] - 1) / others for language in truth[wrong]]
    return GroupAccuracy(
        float(right.mean()),
        inside,
        across,
        float(np.mean(right[wrong])) if wrong.any() else float("nan"),
        float(np.mean(drawn)) if drawn else float("nan"),
    )
