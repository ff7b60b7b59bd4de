"""Multinomial logistic regression on embeddings, for linear probes of many layers and strengths."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

logger = logging.getLogger(__name__)

#: A fit ends when no component of the gradient is larger, as in scikit-learn.
TOLERANCE = 1e-4
MAX_STEPS = 300
#: Up to this many numbers (utterances times dimensions), a fit uses one thread.
FEW_NUMBERS = 1 << 24


@dataclass
class LinearProbe:
    """A linear classifier.

    Arguments
    ---------
    names : np.ndarray
        (K,) labels.
    weights : np.ndarray
        (K, D) weights.
    bias : np.ndarray
        (K,) biases.
    """

    names: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predicts the (N,) labels of (N, D) embeddings."""
        return self.names[(x @ self.weights.T + self.bias).argmax(axis=1)]


def fit_probes(x: np.ndarray, labels: np.ndarray, strengths: Sequence[float]) -> list[LinearProbe]:
    """Fits probes that minimise the loss of scikit-learn's LogisticRegression with C = strength.

    Scikit-learn needs two to five times as many steps of L-BFGS, because the dimensions of
    embeddings are correlated. Here L-BFGS works on principal components, each divided by about the
    root of the loss's curvature along it, variance / K + 1 / (C N). The penalty remains that of the
    unscaled weights, which scaled inputs of LogisticRegression would not give. The fit of each
    strength begins where the one before ended.

    Arguments
    ---------
    x : np.ndarray
        (N, D) embeddings, standardised.
    labels : np.ndarray
        (N,) labels, of K >= 2 different ones.
    strengths : sequence of float
        Values of C, the inverse of the weights' penalty, in rising order.

    Returns
    -------
    list of LinearProbe
        One probe for each strength.

    Raises
    ------
    ValueError
        If an embedding is not finite, or there is only one label.

    Example
    -------
    >>> x = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    >>> (probe,) = fit_probes(x, np.array(["a", "a", "b", "b"]), [0.1])
    >>> probe.predict(np.array([[-0.3], [0.2]])).tolist()
    ['a', 'b']
    """
    if not (finite := np.isfinite(x).all(axis=1)).all():
        raise ValueError(f"embedding {finite.argmin()} is not finite")
    names, truth = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"a probe needs two labels or more, but there is only {names.tolist()}")
    count, size = x.shape
    # A fit makes thousands of short products. If another program uses a core, threads would wait
    # for each other at each of them, and a fit would take ten times as long.
    with threadpool_limits(1 if x.size <= FEW_NUMBERS else None, "blas"):
        variances, basis = np.linalg.eigh(x.T @ x / count)
        points = np.hstack([x @ basis, np.ones((count, 1), x.dtype)])
        curvature = np.append(variances.clip(0), 1.0) / len(names)  # the last is that of the bias
        weights, probes = np.zeros((len(names), size + 1)), []
        for strength in strengths:
            # For two labels, scikit-learn has one vector of weights; the two here are its halves.
            penalty = np.append(np.ones(size), 0.0) * (1 + (len(names) == 2)) / (strength * count)
            scale = np.sqrt(curvature + penalty)
            weights = _minimise(points, truth, penalty, scale, weights)
            probes.append(LinearProbe(names, weights[:, :-1] @ basis.T, weights[:, -1]))
    return probes


def _minimise(
    points: np.ndarray,
    truth: np.ndarray,
    penalty: np.ndarray,
    scale: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Finds the (K, D) weights that minimise mean cross-entropy + sum(penalty weights^2) / 2.

    Arguments
    ---------
    points : np.ndarray
        (N, D) inputs.
    truth : np.ndarray
        (N,) int classes.
    penalty, scale : np.ndarray
        (D,) penalty and scale of each dimension; L-BFGS optimises weights times scale.
    weights : np.ndarray
        (K, D) weights to start from.
    """
    rows = np.arange(len(points))

    def loss_and_gradient(scaled: np.ndarray) -> tuple[float, np.ndarray]:
        at = scaled.reshape(weights.shape) / scale
        logits = points @ at.T.astype(points.dtype)
        logits -= logits.max(axis=1, keepdims=True)
        of_truth = logits[rows, truth]
        chances = np.exp(logits, out=logits)
        sums = chances.sum(axis=1)
        loss = np.mean(np.log(sums) - of_truth, dtype=float) + (penalty * at**2).sum() / 2
        chances /= sums[:, None]
        chances[rows, truth] -= 1
        return loss, ((chances.T @ points / len(points) + penalty * at) / scale).ravel()

    options = {"maxiter": MAX_STEPS, "gtol": TOLERANCE, "ftol": 64 * np.finfo(float).eps}
    start = (weights * scale).ravel()
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    if found.nit >= MAX_STEPS:
        logger.warning("a linear probe has not converged after %d steps", MAX_STEPS)
    return found.x.reshape(weights.shape) / scale
