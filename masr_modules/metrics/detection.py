"""Metrics of the detection of target trials: EER and minDCF for speakers, Cavg for languages."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal

import numpy as np
from sklearn.metrics import roc_curve


def equal_error_rate(scores: np.ndarray, targets: np.ndarray) -> float:
    """Computes the rate at which false acceptances and false rejections are equally frequent.

    Both rates are interpolated linearly between thresholds. The scores are sorted, which takes
    O(N log N) time and O(N) memory.

    Arguments
    ---------
    scores : np.ndarray
        (N,), finite, higher for targets.
    targets : np.ndarray
        (N,) bool.

    Returns
    -------
    float
        The rate, in [0, 1]; NaN if there is no target or no non-target.

    Raises
    ------
    ValueError
        If a score is not finite, or the lengths differ.

    Example
    -------
    >>> equal_error_rate(np.array([0.9, 0.4, 0.6, 0.1]), np.array([True, True, False, False]))
    0.5
    """
    scores, targets = np.asarray(scores), np.asarray(targets, dtype=bool)
    if scores.shape != targets.shape:
        raise ValueError(
            f"scores of shape {scores.shape} do not fit targets of shape {targets.shape}: give one "
            "of each for every trial"
        )
    if not (finite := np.isfinite(scores)).all():
        raise ValueError(f"score {finite.argmin()} is {scores[finite.argmin()]}: not finite")
    kinds = np.sort(scores[targets]), np.sort(scores[~targets])
    if not all(map(len, kinds)):
        return float("nan")

    def rates(threshold: float, side: Literal["left", "right"] = "left") -> tuple[float, float]:
        """Returns P_miss and P_fa if scores >= threshold ("right": > threshold) are accepted."""
        detected, accepted = (
            (len(x) - np.searchsorted(x, threshold, side)) / len(x) for x in kinds
        )
        return 1 - detected, accepted

    def too_high(threshold: float) -> bool:
        missed, accepted = rates(threshold)
        return missed > accepted

    # The highest score that is not too high as a threshold; the lowest of all never is too high.
    ends = [bisect_left(x, True, key=too_high) for x in kinds]
    threshold = max(x[end - 1] for x, end in zip(kinds, ends, strict=True) if end)
    return float(meeting_rate(rates(threshold, "right"), rates(threshold)))


def meeting_rate(before: tuple, after: tuple) -> np.ndarray:
    """Interpolates P_miss and P_fa linearly between two thresholds, and returns where they meet.

    Arguments
    ---------
    before, after : (np.ndarray, np.ndarray)
        P_miss and P_fa, numbers or arrays of one shape: `before` at the lowest threshold where
        P_miss is greater than P_fa, `after` at the highest where it is not.

    Returns
    -------
    np.ndarray
        The rates, of that shape; NaN where a given rate is NaN.

    Example
    -------
    >>> meeting_rate((1.0, 0.0), (0.0, 0.5)).round(3)  # two thirds of the way
    np.float64(0.333)
    """
    (missed, accepted), (missed_after, accepted_after) = np.asarray(before), np.asarray(after)
    gap = missed - accepted
    step = gap / (gap - (missed_after - accepted_after))
    return accepted + step * (accepted_after - accepted)


def min_dcf(
    scores: np.ndarray,
    targets: np.ndarray,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Computes the least detection cost over all thresholds, normalised as in NIST's evaluations.

    It is the minimum over thresholds of c_miss p_target P_miss + c_fa (1 - p_target) P_fa, divided
    by the cost of accepting all or no trials, whichever is less (NIST SRE 2016 evaluation plan,
    section 3.1). SpeechBrain's `minDCF` does not divide and needs O(N^2) memory.

    Arguments
    ---------
    scores : np.ndarray
        (N,), finite, higher for targets.
    targets : np.ndarray
        (N,) bool.
    p_target : float
        Prior probability of a target.
    c_miss, c_fa : float
        Costs of a missed target and of a false alarm.

    Returns
    -------
    float
        The cost, in [0, 1]; 1 is that of decisions without the audio. NaN if there is no target
        or no non-target.

    Raises
    ------
    ValueError
        If a score is not finite, or the lengths differ.

    Example
    -------
    >>> scores = np.array([0.9, 0.4, 0.6, 0.1])
    >>> min_dcf(scores, np.array([True, True, False, False]))
    0.5
    """
    rates = _error_rates(scores, targets)
    if rates is None:
        return float("nan")
    missed, accepted = rates
    miss, alarm = c_miss * p_target, c_fa * (1 - p_target)
    return float((miss * missed + alarm * accepted).min() / min(miss, alarm))


def _error_rates(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns P_miss and P_fa at each threshold, from accepting no trial to accepting all.

    It returns None unless there are both targets and non-targets.
    """
    targets = np.asarray(targets, dtype=bool)
    if targets.all() or not targets.any():
        return None
    accepted, detected, _ = roc_curve(targets, scores, drop_intermediate=False)
    return 1 - detected, accepted


def log_likelihood_ratios(
    log_posteriors: np.ndarray, among: Sequence[int] | None = None
) -> np.ndarray:
    """Computes each class's log-likelihood ratio to all others, with a flat prior over classes.

    The ratio is log p_l - log(mean of p_l' over l' != l), as in the closed-set task of NIST's
    language recognition evaluations. Posteriors stand for likelihoods: the classifier's
    own prior is taken to be flat.

    Arguments
    ---------
    log_posteriors : np.ndarray
        (N, L) natural logarithms; a constant added to a row changes nothing.
    among : sequence of int, optional
        The classes of the closed set, such as those with rows in the test set; all by default.

    Returns
    -------
    np.ndarray
        (N, L) float64 ratios; -inf in the columns of classes outside the closed set.

    Raises
    ------
    ValueError
        If the closed set has fewer than two classes.

    Example
    -------
    >>> log_likelihood_ratios(np.log([[0.5, 0.25, 0.25]])).round(3)
    array([[ 0.693, -0.405, -0.405]])
    """
    log_posteriors = np.asarray(log_posteriors, dtype=np.float64)
    columns = np.arange(log_posteriors.shape[1]) if among is None else np.unique(among)
    if len(columns) < 2:
        raise ValueError(
            f"a closed set needs two classes or more, and this one has {len(columns)}: name more "
            "in `among`"
        )
    known = log_posteriors[:, columns]
    # The others are summed from the classes before and after: 1 - p would lose all digits for p
    # near 1.
    none = np.full((len(known), 1), -np.inf)
    before = np.hstack([none, np.logaddexp.accumulate(known[:, :-1], axis=1)])
    after = np.hstack([none, np.logaddexp.accumulate(known[:, :0:-1], axis=1)])[:, ::-1]
    ratios = np.full_like(log_posteriors, -np.inf)
    ratios[:, columns] = known - (np.logaddexp(before, after) - np.log(len(columns) - 1))
    return ratios


def average_cost(
    log_likelihood_ratios: np.ndarray, truth: np.ndarray, p_target: float = 0.5
) -> float:
    """Computes Cavg of the closed-set task of NIST's Language Recognition Evaluation 2009.

    Each class is detected where its ratio is above 0. The cost of a class l is
    p_target P_miss(l) + sum over other classes l' of (1 - p_target) / (L - 1) P_fa(l, l'),
    where P_fa(l, l') is the fraction of the rows of l' that are taken for l (LRE 2009
    evaluation plan, section 4, with costs of 1). Cavg is the mean over classes.

    Arguments
    ---------
    log_likelihood_ratios : np.ndarray
        (N, L) ratios from :func:`log_likelihood_ratios`.
    truth : np.ndarray
        (N,) int classes; rows of no class (-1) are outside the closed set and left out.
        Classes without a row are not targets, and L does not count them.
    p_target : float
        Prior probability of the target.

    Returns
    -------
    float
        The cost; 0 is perfect. NaN if fewer than two classes have rows.

    Example
    -------
    >>> ratios = np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, -1.0]])
    >>> average_cost(ratios, np.array([0, 1, 1]))  # half of class 1 is missed, and taken for 0
    0.25
    """
    truth = np.asarray(truth)
    classes = np.unique(truth[truth >= 0])
    if len(classes) < 2:
        return float("nan")
    detected = np.asarray(log_likelihood_ratios)[:, classes] > 0
    rates = np.stack([detected[truth == true].mean(axis=0) for true in classes])
    hits = rates.diagonal()
    alarms = (rates.sum(axis=0) - hits) / (len(classes) - 1)
    return float(np.mean(p_target * (1 - hits) + (1 - p_target) * alarms))
