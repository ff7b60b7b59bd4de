"""The linear probe against scikit-learn's LogisticRegression, whose minimum it has to find."""

import logging

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from masr_modules.metrics import softmax_regression
from masr_modules.metrics.softmax_regression import fit_probes


def correlated(classes, count=300, size=12, seed=0):
    """Standardised points around a centre a class, some dimensions almost sums of others."""
    rng = np.random.default_rng(seed)
    labels = np.array([f"l{i % classes}" for i in range(count)])
    x = rng.normal(size=(classes, size))[np.arange(count) % classes]
    x = (x + 2 * rng.normal(size=x.shape)) @ rng.normal(size=(size, 2 * size))
    x += 0.05 * rng.normal(size=x.shape)
    return (x - x.mean(axis=0)) / x.std(axis=0), labels


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_chances_are_those_of_scikit_learns_minimum(classes, strength):
    x, labels = correlated(classes)
    (probe,) = fit_probes(x, labels, [strength])
    exact = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000).fit(x, labels)
    logits = x @ probe.weights.T + probe.bias
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(chances, exact.predict_proba(x), atol=2e-3)


def test_a_strength_after_another_finds_what_it_finds_alone():
    x, labels = correlated(5)
    (alone,), after = fit_probes(x, labels, [1.0]), fit_probes(x, labels, [0.01, 1.0])[1]
    assert np.mean(alone.predict(x) == after.predict(x)) > 0.99


def test_fewer_utterances_than_dimensions_have_a_minimum_too():
    x, labels = correlated(3, count=15)
    (probe,) = fit_probes(x, labels, [0.1])
    exact = LogisticRegression(C=0.1, tol=1e-8, max_iter=10_000).fit(x, labels)
    assert probe.predict(x).tolist() == exact.predict(x).tolist()


def test_single_precision_finds_the_same():
    x, labels = correlated(5)
    (double,), (single,) = (fit_probes(x.astype(t), labels, [0.1]) for t in ("f8", "f4"))
    assert np.mean(double.predict(x) == single.predict(x)) > 0.99


def test_an_embedding_that_is_not_finite_is_named():
    x, labels = correlated(3)
    x[4, 1] = np.nan
    with pytest.raises(ValueError, match="embedding 4"):
        fit_probes(x, labels, [0.1])


def test_one_label_alone_is_refused():
    with pytest.raises(ValueError, match="two labels"):
        fit_probes(np.ones((2, 1)), np.array(["a", "a"]), [0.1])


def test_a_probe_that_has_not_converged_says_so(monkeypatch, caplog):
    monkeypatch.setattr(softmax_regression, "MAX_STEPS", 2)
    with caplog.at_level(logging.WARNING):
        fit_probes(*correlated(3), [1.0])
    assert "not converged after 2 steps" in caplog.text
