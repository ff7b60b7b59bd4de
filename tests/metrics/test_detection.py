"""EER, minDCF and Cavg against cases worked by hand and SpeechBrain's minDCF."""

import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve
from speechbrain.utils.metric_stats import EER, minDCF

from masr_modules.metrics.detection import (
    average_cost,
    equal_error_rate,
    log_likelihood_ratios,
    min_dcf,
)


def trials(count, seed=0, decimals=None):
    """A tenth are targets, whose scores are higher by 1.5 standard deviations."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % 10 == 0
    scores = rng.normal(size=count).astype(np.float32) + 1.5 * targets.astype(np.float32)
    return (scores if decimals is None else scores.round(decimals)), targets


def test_equal_error_rate_of_a_case_worked_by_hand():
    # Threshold between .55 and .5: 1 of 4 impostors passes, 1 of 4 targets is refused.
    scores = np.array([0.9, 0.8, 0.6, 0.3, 0.55, 0.4, 0.2, 0.1])
    targets = np.array([True] * 4 + [False] * 4)
    assert equal_error_rate(scores, targets) == pytest.approx(0.25)


def test_equal_error_rate_of_equal_scores_is_that_of_guessing():
    assert equal_error_rate(np.zeros(6), np.arange(6) < 2) == pytest.approx(0.5)


@pytest.mark.parametrize("decimals", [None, 1, 0], ids=["distinct", "ties", "many ties"])
@pytest.mark.parametrize("count", [11, 200, 5000])
def test_equal_error_rate_is_where_the_lines_between_all_thresholds_meet(count, decimals):
    scores, targets = trials(count, decimals=decimals)
    accepted, detected, _ = roc_curve(targets, scores, drop_intermediate=False)
    gap = 1 - detected - accepted
    after = np.argmax(gap <= 0)
    step = gap[after - 1] / (gap[after - 1] - gap[after])
    expected = accepted[after - 1] + step * (accepted[after] - accepted[after - 1])
    assert equal_error_rate(scores, targets) == expected


def test_equal_error_rate_refuses_scores_that_are_not_finite():
    with pytest.raises(ValueError, match="score 1 is nan"):
        equal_error_rate(np.array([0.1, np.nan]), np.array([True, False]))


def test_equal_error_rate_refuses_other_lengths():
    with pytest.raises(ValueError, match="2,.*3,"):
        equal_error_rate(np.zeros(2), np.array([True, False, True]))


def test_equal_error_rate_is_close_to_speechbrains():
    # SpeechBrain takes a threshold, ours goes on between two: at most one of 100 targets apart.
    scores, targets = trials(1000)
    theirs, _ = EER(torch.tensor(scores[targets]), torch.tensor(scores[~targets]))
    assert equal_error_rate(scores, targets) == pytest.approx(theirs, abs=0.01)


def test_min_dcf_of_a_case_worked_by_hand():
    # p_target 0.2: cost = 0.2 P_miss + 0.8 P_fa, divided by min(0.2, 0.8) = 0.2.
    # Refuse all:          0.2 * 4/4             / 0.2 = 1
    # Above 0.55 (3 of 4): 0.2 * 1/4 + 0.8 * 0/4 / 0.2 = 0.25, the least
    # Above 0.30 (4 of 4): 0.8 * 2/4             / 0.2 = 2
    scores = np.array([0.9, 0.8, 0.6, 0.3, 0.55, 0.4, 0.2, 0.1])
    targets = np.array([True] * 4 + [False] * 4)
    assert min_dcf(scores, targets, p_target=0.2) == pytest.approx(0.25)
    # A false alarm now costs a tenth, and both costs are divided by 0.1 * 0.8 = 0.08.
    # Above 0.55: 0.2 * 1/4 / 0.08 = 0.625; above 0.30: 0.08 * 2/4 / 0.08 = 0.5, the least.
    assert min_dcf(scores, targets, p_target=0.2, c_fa=0.1) == pytest.approx(0.5)


def test_min_dcf_never_costs_more_than_not_listening():
    worst = np.array([0.0, 0.0, 1.0, 1.0])
    targets = np.array([True, True, False, False])
    assert min_dcf(worst, targets, p_target=0.01) == pytest.approx(1.0)
    assert min_dcf(worst, targets, p_target=0.9) == pytest.approx(1.0)


@pytest.mark.parametrize("decimals", [None, 1], ids=["distinct", "ties"])
@pytest.mark.parametrize("p_target", [0.01, 0.05])
def test_min_dcf_is_speechbrains_after_normalisation(p_target, decimals):
    scores, targets = trials(1000, decimals=decimals)
    positive, negative = torch.tensor(scores[targets]), torch.tensor(scores[~targets])
    theirs, _ = minDCF(positive, negative, p_target=p_target)
    assert min_dcf(scores, targets, p_target) == pytest.approx(theirs / p_target, abs=1e-5)


def test_memory_of_min_dcf_is_linear():
    scores, targets = trials(200_000)
    tracemalloc.start()
    min_dcf(scores, targets)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 * len(scores)  # bytes; N x N bits would be 25 000 a trial


def test_without_targets_or_without_impostors_there_is_no_rate():
    for targets in (np.ones(3, dtype=bool), np.zeros(3, dtype=bool), np.zeros(0, dtype=bool)):
        assert np.isnan(equal_error_rate(np.arange(len(targets)), targets))
        assert np.isnan(min_dcf(np.arange(len(targets)), targets))


def test_a_score_that_is_no_number_is_an_error():
    with pytest.raises(ValueError, match="NaN"):
        min_dcf(np.array([0.5, np.nan]), np.array([True, False]))


def test_log_likelihood_ratios_of_three_languages_worked_by_hand():
    # 0.6 against the mean of 0.3 and 0.1, 0.3 against that of 0.6 and 0.1, 0.1 of 0.6 and 0.3.
    ratios = log_likelihood_ratios(np.log([[0.6, 0.3, 0.1]]))
    assert np.exp(ratios) == pytest.approx(np.array([[0.6 / 0.2, 0.3 / 0.35, 0.1 / 0.45]]))


def test_a_closed_set_ignores_what_the_other_classes_took():
    ratios = log_likelihood_ratios(np.log([[0.6, 0.3, 0.1]]), among=[1, 2])
    assert np.exp(ratios) == pytest.approx(np.array([[0.0, 3.0, 1 / 3]]))
    with pytest.raises(ValueError, match="two classes"):
        log_likelihood_ratios(np.log([[0.6, 0.4]]), among=[1])


def test_ratios_of_a_classifier_that_is_certain_keep_their_digits():
    # In float64, 1 - p is 0 here; the others are exp(-800) and exp(-900).
    ratios = log_likelihood_ratios(np.array([[0.0, -800.0, -900.0]]))
    expected = [800 + np.log(2), -800 + np.log(2), -900 + np.log(2)]
    assert ratios[0] == pytest.approx(np.array(expected))


def test_average_cost_of_three_languages_worked_by_hand():
    accept, reject = 1.0, -1.0
    ratios = np.array(
        [
            [accept, reject, reject],  # a, found
            [accept, accept, reject],  # a, found, and taken for b too
            [reject, accept, reject],  # b, found
            [accept, reject, reject],  # b, missed, taken for a
            [reject, accept, reject],  # b, found
            [reject, accept, reject],  # b, found
            [accept, accept, reject],  # c, missed, taken for a and b
        ]
    )
    truth = np.array([0, 0, 1, 1, 1, 1, 2])
    # a: P_miss 0/2, P_fa(a, b) 1/4, P_fa(a, c) 1/1: 0.5 * 0   + 0.25 * (1/4 + 1) = 0.3125
    # b: P_miss 1/4, P_fa(b, a) 1/2, P_fa(b, c) 1/1: 0.5 * 1/4 + 0.25 * (1/2 + 1) = 0.5
    # c: P_miss 1/1, P_fa(c, a) 0,   P_fa(c, b) 0:   0.5 * 1                      = 0.5
    assert average_cost(ratios, truth) == pytest.approx((0.3125 + 0.5 + 0.5) / 3)
    # p_target 0.1: a 0.45 * 1.25 = 0.5625, b 0.025 + 0.45 * 1.5 = 0.7, c 0.1
    assert average_cost(ratios, truth, p_target=0.1) == pytest.approx((0.5625 + 0.7 + 0.1) / 3)


def test_languages_without_rows_and_rows_without_a_language_do_not_count():
    ratios = np.array([[1.0, 1.0, -1.0], [-1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    # 0 and 2 have rows and both are right; class 1 has none, the last row is of no class.
    assert average_cost(ratios, np.array([0, 2, -1])) == 0.0
    assert np.isnan(average_cost(ratios, np.array([0, 0, -1])))
