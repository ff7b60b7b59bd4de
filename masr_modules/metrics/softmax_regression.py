"""Multinomial logistic regression of embeddings, for linear probes of many layers and strengths."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

logger = logging.getLogger(__name__)

#: As in scikit-learn: of the gradient's largest number.
TOLERANCE = 1e-4
MAX_STEPS = 300
#: Up to so many numbers (utterances times dimensions) one thread fits.
FEW_NUMBERS = 1 << 24


@dataclass
class LinearProbe:
    """A linear classifier.

    Arguments
    ---------
    names : np.ndarray
        (K,) labels.
    weights : np.ndarray
        (K, D).
    bias : np.ndarray
        (K,).
    """

    names: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(N,) labels of (N, D) embeddings."""
        return self.names[(x @ self.weights.T + self.bias).argmax(axis=1)]


def fit_probes(x: np.ndarray, labels: np.ndarray, strengths: Sequence[float]) -> list[LinearProbe]:
    """The minima that scikit-learn's LogisticRegression has at C = strength.

    It takes L-BFGS two to five times as many steps there, for the dimensions of embeddings are
    correlated. Here it works on principal components, each divided by about the root of the
    loss's curvature along it: (variance / K + 1 / (C N)). The penalty stays that of the weights,
    which is why scaling the inputs of LogisticRegression would not do. Each strength begins where
    the one before ended.

    Arguments
    ---------
    x : np.ndarray
        (N, D), standardised.
    labels : np.ndarray
        (N,) of K labels, two or more.
    strengths : sequence of float
        C, the inverse of the weights' penalty; rising.

    Returns
    -------
    list of LinearProbe
        One a strength.

    Raises
    ------
    ValueError
        If an embedding is not finite, or there is one label alone.

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
        raise ValueError(f"a probe tells two labels or more apart; there is {names.tolist()} alone")
    count, size = x.shape
    # Short products by the thousand: where another program has a core, threads would wait for each
    # other at each of them, and a fit would take ten times as long.
    with threadpool_limits(1 if x.size <= FEW_NUMBERS else None, "blas"):
        variances, basis = np.linalg.eigh(x.T @ x / count)
        points = np.hstack([x @ basis, np.ones((count, 1), x.dtype)])
        curvature = np.append(variances.clip(0), 1.0) / len(names)  # the last: bias
        weights, probes = np.zeros((len(names), size + 1)), []
        for strength in strengths:
            # scikit-learn has one vector of weights for two labels; ours are its halves.
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
    """(K, D) weights of the least mean cross-entropy + sum(penalty weights^2) / 2.

    Arguments
    ---------
    points : np.ndarray
        (N, D).
    truth : np.ndarray
        (N,) int.
    penalty, scale : np.ndarray
        (D,): of each dimension; L-BFGS moves weights times scale.
    weights : np.ndarray
        (K, D) to start with.
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
