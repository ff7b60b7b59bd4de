"""HuBERT: masked prediction of units that k-means found.

Hsu et al., "HuBERT: self-supervised speech representation learning by masked
prediction of hidden units", TASLP 2021, arXiv 2106.07447.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.encoders.conformer import SpeechEncoder
from masr_modules.objectives.base import SSLOutput
from masr_modules.objectives.masked_latents import MaskedLatents
from masr_modules.objectives.units import load_centroids, nearest


class Hubert(MaskedLatents):
    """HuBERT on the shared encoder; units are assigned on the fly, there are no label files.

    Frames are compared with learned unit embeddings by cosine similarity; the loss is
    the cross-entropy on masked frames.

    Arguments
    ---------
    encoder : SpeechEncoder
        The encoder to train.
    unit_features : nn.Module
        What k-means clustered: masr_modules.objectives.units.Mfcc or LayerFrames.
    centroids : str or Path
        The .npz of recipes/pretrain/kmeans.py. It may come later than the objective, but
        not later than its first forward pass.
    num_units : int
        Number of clusters.
    unit_dim : int
        Dimension in which frames and units are compared.
    mask_share : float
        Fraction of each utterance's frames that is masked.
    mask_span : int
        Length of a mask in encoder frames.
    """

    logit_temperature = 0.1

    def __init__(
        self,
        encoder: SpeechEncoder,
        unit_features: nn.Module,
        centroids: str | Path,
        num_units: int = 100,
        unit_dim: int = 256,
        mask_share: float = 0.49,
        mask_span: int = 10,
    ):
        super().__init__(encoder, mask_share, mask_span)
        self.unit_features = unit_features
        self.centroids_file = Path(centroids)
        empty = torch.full((num_units, unit_features.size), float("nan"))
        self.register_buffer("centroids", empty)
        self.projection = nn.Linear(encoder.d_model, unit_dim)
        self.units = nn.Parameter(torch.randn(num_units, unit_dim))
        self._ready = False

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """See SSLObjective; raises FileNotFoundError without centroids."""
        self._require_centroids()
        masked = self.masked_pass(wavs, wav_lens, mask_seeds)
        frames = masked.layers[-1]
        features, _ = self.unit_features(wavs, wav_lens)
        features = features[:, : frames.shape[1]]
        targets = nearest(masked.mask.select(features), self.centroids)
        predicted = F.normalize(self.projection(masked.mask.select(frames)).float(), dim=-1)
        logits = predicted @ F.normalize(self.units.float(), dim=-1).T / self.logit_temperature
        loss = F.cross_entropy(logits.float(), targets)
        with torch.no_grad():
            accuracy = (logits.argmax(dim=-1) == targets).float().mean()
        stats = {"ssl_accuracy": accuracy}
        return SSLOutput(loss, masked.layers, masked.lens, masked.mask.frames, stats)

    @torch.compiler.disable
    def _require_centroids(self) -> None:
        """Once: those of the file, unless a checkpoint brought them."""
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
