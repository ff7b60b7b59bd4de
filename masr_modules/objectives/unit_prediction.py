"""HuBERT's task: the encoder predicts the unit of each masked frame."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.objectives.units import load_centroids, nearest


class UnitPrediction(nn.Module):
    """A part of an objective that predicts the units that k-means found.

    Units are assigned during training, so that there are no label files. Frames are compared with
    learned unit embeddings by cosine similarity; the loss is the cross-entropy on masked frames.
    """

    logit_temperature = 0.1

    def add_units(
        self,
        d_model: int,
        unit_features: nn.Module,
        centroids: str | Path,
        num_units: int,
        unit_dim: int,
    ) -> None:
        """Makes the learned parameters, and a buffer for the centroids.

        Arguments
        ---------
        d_model : int
            Width of the encoder's frames.
        unit_features : nn.Module
            The features that k-means clustered: see `masr_modules.objectives.units`.
        centroids : str or Path
            The .npz of recipes/pretrain/kmeans.py. It has to exist at the first forward pass,
            not before.
        num_units : int
            Number of clusters.
        unit_dim : int
            Dimension in which frames and units are compared.
        """
        self.unit_features = unit_features
        self.centroids_file = Path(centroids)
        empty = torch.full((num_units, unit_features.size), float("nan"))
        self.register_buffer("centroids", empty)
        self.projection = nn.Linear(d_model, unit_dim)
        self.units = nn.Parameter(torch.randn(num_units, unit_dim))
        self._ready = False

    def predict_units(self, frames: Tensor, features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes loss and stats of (N, D) masked frames, given (N, size) features of units."""
        targets = nearest(features, self.centroids)
        predicted = F.normalize(self.projection(frames).float(), dim=-1)
        logits = predicted @ F.normalize(self.units.float(), dim=-1).T / self.logit_temperature
        loss = F.cross_entropy(logits.float(), targets)
        with torch.no_grad():
            accuracy = (logits.argmax(dim=-1) == targets).float().mean()
        return loss, {"ssl_accuracy": accuracy}

    @torch.compiler.disable
    def require_centroids(self) -> None:
        """Loads the centroids of the file, once, unless a checkpoint has set them."""
        if self._ready:
            return
        if self.centroids.isnan().any():
            if not self.centroids_file.is_file():
                raise FileNotFoundError(
                    f"no centroids at {self.centroids_file}: first run recipes/pretrain/kmeans.py "
                    "with the same YAML and overrides"
                )
            name, shape = self.unit_features.name, tuple(self.centroids.shape)
            self.centroids.copy_(load_centroids(self.centroids_file, shape, name))
        self._ready = True
