"""Intervals of differences against what statistics says of means, and how often they hold."""

import logging
import math

import numpy as np
import pytest
from scipy import stats

from benchmarks import intervals as simulation
from masr_modules.metrics.intervals import paired_difference, pseudo_values, ratio_values


def against_nothing(values, strata, speakers, **options):
    """The interval of (seeds, items) values."""
    nothing = np.zeros(values.shape[1])
    ours = dict(enumerate(values))
    return paired_difference(ours, dict.fromkeys(ours, nothing), strata, speakers, **options)


def half_width(found):
    return (found.high - found.low) / 2


def test_where_seeds_agree_the_interval_is_students_t_over_speakers():
    by_speaker = np.array([0.1, 0.4, 0.2, 0.7, 0.3])
    values = np.tile(by_speaker.repeat(3), (3, 1))
    found = against_nothing(values, ["a"] * 15, np.repeat([*"vwxyz"], 3))
    assert found.mean == pytest.approx(by_speaker.mean())
    error = by_speaker.std(ddof=1) / 5**0.5
    assert half_width(found) == pytest.approx(stats.t.ppf(0.975, 4) * error)


def test_utterances_of_a_speaker_do_not_narrow_the_interval():
    once = np.tile([0.0, 1.0, 1.0, 0.0], (3, 1))
    few = against_nothing(once, ["a"] * 4, [*"stuv"])
    many = against_nothing(once.repeat(50, axis=1), ["a"] * 200, np.repeat([*"stuv"], 50))
    assert many == pytest.approx(few)
    apart = against_nothing(once.repeat(50, axis=1), ["a"] * 200, [""] * 200)  # none is known
    assert half_width(apart) < half_width(few) / 5


def test_a_speaker_of_all_strata_is_drawn_with_all_of_them():
    # Speaker by speaker the strata agree: to draw them apart would average what they share.
    by_speaker = np.array([0.0, 0.2, 0.4, 0.6])
    values = np.tile(by_speaker, (3, 6))
    strata = np.repeat([*"abcdef"], 4)
    found = against_nothing(values, strata, [*"stuv"] * 6)
    error = by_speaker.std(ddof=1) / 2
    assert half_width(found) == pytest.approx(stats.t.ppf(0.975, 3) * error)


def test_where_seeds_differ_the_interval_is_at_least_that_of_their_means():
    seeds = np.array([0.1, 0.5, 0.9])
    rng = np.random.default_rng(0)
    values = seeds[:, None] + 0.01 * rng.standard_normal((3, 40))
    found = against_nothing(values, ["a"] * 40, np.arange(40).astype(str))
    means = values.mean(axis=1)
    assert half_width(found) == pytest.approx(
        stats.t.ppf(0.975, 2) * means.std(ddof=1) / 3**0.5, rel=0.01
    )


@pytest.mark.parametrize("effect", ["none", "seeds", "speakers"])
def test_it_holds_the_truth_about_as_often_as_it_says(effect):
    rng = np.random.default_rng(1)
    strata, speakers = np.repeat([*"abcd"], 40), np.tile(np.repeat(np.arange(10), 4), 4)
    held = []
    for _ in range(600):
        values = rng.standard_normal((3, 160))
        if effect == "seeds":
            values += 0.5 * rng.standard_normal((3, 1))
        if effect == "speakers":
            values += 0.5 * rng.standard_normal(10)[speakers]
        found = against_nothing(values, strata, speakers.astype(str))
        held.append(found.low <= 0 <= found.high)
    assert 0.92 < np.mean(held) < 0.98  # a standard error is 0.9 %


def test_two_seeds_have_no_interval_but_given_encoders_have():
    values = np.random.default_rng(2).standard_normal((2, 30))
    speakers = np.arange(30).astype(str)
    found = against_nothing(values, ["a"] * 30, speakers)
    assert found.mean == pytest.approx(values.mean())
    assert math.isnan(found.low) and math.isnan(found.high)
    found = against_nothing(values[:1], ["a"] * 30, speakers, given_encoders=True)
    error = values[0].std(ddof=1) / 30**0.5
    assert half_width(found) == pytest.approx(stats.t.ppf(0.975, 29) * error)


def test_one_speaker_alone_in_a_stratum_has_no_interval():
    found = against_nothing(np.tile([0.0, 1.0, 1.0], (3, 1)), [*"aab"], [*"stu"])
    assert found.mean == 0.75 and math.isnan(found.low)


def test_an_item_that_one_run_was_not_asked_counts_in_none_and_is_told(caplog):
    values = np.tile([0.0, 1.0, 1.0, 0.0, 1.0], (3, 1))
    values[1, 4] = float("nan")
    with caplog.at_level(logging.WARNING):
        found = against_nothing(values, ["a"] * 5, [*"stuvw"])
    assert found == against_nothing(values[:, :4], ["a"] * 4, [*"stuv"])
    assert np.isfinite(found).all()
    assert "1 items were not evaluated in every run" in caplog.text


def test_each_stratum_counts_the_same_however_large():
    ours = dict.fromkeys((1, 2, 3), [1, 1, 1, 0])
    theirs = dict.fromkeys((1, 2, 3), [0, 0, 0, 0])
    assert paired_difference(ours, theirs, [*"aaab"], [*"stst"]).mean == 0.5


def test_what_cannot_be_compared_is_an_error():
    with pytest.raises(ValueError, match="no common seed"):
        paired_difference({1: [1.0]}, {2: [1.0]}, ["a"], ["s"])
    with pytest.raises(ValueError, match="differ in number"):
        paired_difference({1: [1.0, 0.0]}, {1: [1.0]}, ["a"], ["s"])
    with pytest.raises(ValueError, match="no item was evaluated"):
        paired_difference({1: [float("nan")]}, {1: [1.0]}, ["a"], ["s"])


def test_pseudo_values_of_a_mean_are_the_values():
    values = np.random.default_rng(2).normal(size=7)
    without = [np.delete(values, i).mean() for i in range(7)]
    np.testing.assert_allclose(pseudo_values(values.mean(), without), values)


def test_ratio_values_have_the_ratio_as_mean_and_its_spread():
    rng = np.random.default_rng(0)
    words = rng.integers(1, 30, (4000, 50))
    wrong = rng.binomial(words, 0.3)
    ratios = wrong.sum(axis=1) / words.sum(axis=1)
    values = [ratio_values(*sample) for sample in zip(wrong, words, strict=True)]
    np.testing.assert_allclose(np.mean(values, axis=1), ratios)
    errors = np.std(values, axis=1, ddof=1) / 50**0.5
    assert errors.mean() == pytest.approx(ratios.std(), rel=0.05)


def test_the_simulation_knows_the_speakers_of_the_record():
    items = simulation.read_items("language")
    assert (items.stratum.max() + 1, items.speaker.max() + 1) == (24, 26)
    found = simulation.coverage("test", items, simulation.Effects(speaker=0.1), 3, 64)
    assert set(found) == set(simulation.METHODS)
    # With few trials it is plain already that Student's t of the seeds leaves speakers out.
    assert found["ours"] > found["t of seeds"] + 10


def test_the_mean_of_jackknife_values_is_the_statistic_as_measured():
    values = np.random.default_rng(3).normal(size=40)
    without = [np.median(np.delete(values, i)) for i in range(40)]
    found = pseudo_values(np.median(values), without)
    assert found.mean() == pytest.approx(np.median(values))
    spread = 39 / 40 * np.square(without - np.mean(without)).sum()  # the jackknife's variance
    assert found.var(ddof=1) / 40 == pytest.approx(spread)
