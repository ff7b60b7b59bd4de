"""The points and predicted languages of one layer of an encoder."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from encoder_analysis.geometry import unit_points
from masr_modules.metrics.embeddings import LabelledEmbeddings
from masr_modules.metrics.probes import best_layer, macro


@dataclass
class System:
    """One layer of an encoder on the utterances.

    Arguments
    ---------
    name : str
        Name in tables and pictures.
    layer : int
        Number of the layer; 0 is the front end.
    valid_score : float
        Macro accuracy of the probe on the validation set.
    points : np.ndarray
        (N, D) points of unit length, standardised as for the kNN probe.
    truth, predicted : np.ndarray
        (N,) languages.
    """

    name: str
    layer: int
    valid_score: float
    points: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray

    @property
    def accuracy(self) -> float:
        """Macro accuracy of the predicted languages."""
        return macro(self.truth, (self.predicted == self.truth).astype(float))


def look_at(
    name: str,
    splits: Mapping[str, LabelledEmbeddings],
    probe: str = "knn",
    layer: int | None = None,
) -> System:
    """Chooses the layer and predicts the languages.

    Arguments
    ---------
    name : str
        Name of the system.
    splits : mapping of str to LabelledEmbeddings
        Embeddings of all layers: `labelled`, from which the probe learns; `valid`, on which layer
        and strength are chosen; `test`.
    probe : str
        `knn` or `linear`, see `masr_modules.metrics.probes`.
    layer : int, optional
        The layer, instead of the best one; negative counts from the last.

    Raises
    ------
    ValueError
        If there is no such layer, or the probe has fewer than two languages to learn.
    """
    labelled, valid, test = (splits[split] for split in ("labelled", "valid", "test"))
    count = len(test.layers)
    if layer is not None and not -count <= layer < count:
        raise ValueError(f"{name}: --layer {layer}, but its layers are 0 to {count - 1}")
    if len(set(labelled["label"])) < 2:
        raise ValueError("the probe needs two labelled languages: give another --labelled")
    if layer is None:
        score, chosen, predicted = best_layer(probe, labelled, valid, test)
    else:
        chosen = layer % count
        one = (split.at(chosen) for split in (labelled, valid, test))
        score, _, predicted = best_layer(probe, *one)
    points = unit_points(test.layers[chosen], labelled.layers[chosen])
    return System(name, chosen, score, points, test["label"], predicted)
