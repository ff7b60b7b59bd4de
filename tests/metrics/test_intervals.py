"""The paired bootstrap against what statistics says of means."""

import numpy as np
import pytest

from masr_modules.metrics.intervals import paired_bootstrap, pseudo_values


def answers(rng, accuracy, size):
    return (rng.random(size) < accuracy).astype(float)


def test_the_interval_is_that_of_the_mean_of_one_seed():
    rng = np.random.default_rng(0)
    ours, theirs = answers(rng, 0.8, 400), answers(rng, 0.7, 400)
    found = paired_bootstrap({1: ours}, {1: theirs}, ["a"] * 400)
    error = (ours - theirs).std() / 20
    assert found.mean == pytest.approx((ours - theirs).mean())
    assert found.high - found.mean == pytest.approx(1.96 * error, rel=0.1)
    assert found.mean - found.low == pytest.approx(1.96 * error, rel=0.1)


def test_it_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(60):
        shift = rng.normal(size=5) * 0.05  # of each seed
        ours = {s: answers(rng, 0.7 + shift[s], 200) for s in range(5)}
        theirs = {s: answers(rng, 0.7, 200) for s in range(5)}
        found = paired_bootstrap(ours, theirs, ["a"] * 200, draws=200)
        hits += found.low <= 0 <= found.high
    assert 48 <= hits <= 60


def test_each_stratum_counts_the_same_however_large():
    found = paired_bootstrap({1: [1, 1, 1, 0]}, {1: [0, 0, 0, 0]}, ["a", "a", "a", "b"])
    assert found.mean == 0.5 and found == paired_bootstrap(
        {1: [1, 1, 1, 0, float("nan")]}, {1: [0] * 5}, ["a", "a", "a", "b", "c"]
    )


def test_what_cannot_be_compared_is_an_error():
    with pytest.raises(ValueError, match="no common seed"):
        paired_bootstrap({1: [1.0]}, {2: [1.0]}, ["a"])
    with pytest.raises(ValueError, match="differ in number"):
        paired_bootstrap({1: [1.0, 0.0]}, {1: [1.0]}, ["a"])


def test_pseudo_values_of_a_mean_are_the_values():
    values = np.random.default_rng(2).normal(size=7)
    without = [np.delete(values, i).mean() for i in range(7)]
    np.testing.assert_allclose(pseudo_values(values.mean(), without), values)
