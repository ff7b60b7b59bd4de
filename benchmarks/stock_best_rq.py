"""BEST-RQ of SpeechBrain's LibriSpeech recipe, composed from SpeechBrain's parts.

It follows the recipe's published YAML and steps; only the sizes can be chosen.
"""

from functools import partial

import torch
import torch.nn.functional as F
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.BESTRQ import brq_mask_collate_fn
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.lobes.models.transformer.TransformerASR import EncoderWrapper, TransformerASR
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.quantisers import RandomProjectionQuantizer
from speechbrain.processing.features import InputNormalization
from torch import Tensor, nn

SUBSAMPLING = 4
#: A mask is one encoder frame (4 feature frames) long; 60 % of the shortest utterance's frames are
#: masked, the same for all utterances.
MASK_LENGTH, MASK_PROB = 4, 0.15


def output_length(samples: Tensor) -> Tensor:
    """Returns the number of feature frames (10 ms) of a number of samples."""
    return (samples // 160 + 1).long()


#: The recipe's own collate function, which pads and draws the batch's mask.
collate = partial(
    brq_mask_collate_fn,
    get_out_len_fn=output_length,
    mask_prob=MASK_PROB,
    mask_length=MASK_LENGTH,
    n_mels=80,
)


class StockBestRQ(nn.Module):
    """The features, front end, Conformer, quantiser and classifier of the recipe.

    Arguments
    ---------
    num_layers, d_model, d_ffn, nhead : int
        Sizes of the Conformer.
    codebook_size : int
        Number of codes.
    attention_type : str
        "RelPosMHAXL", which the recipe has, or "RoPEMHA".
    dropout : float
        Dropout of the Conformer.
    """

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        d_ffn: int,
        nhead: int,
        codebook_size: int,
        attention_type: str = "RelPosMHAXL",
        dropout: float = 0.1,
    ):
        super().__init__()
        self.fbank = Fbank(sample_rate=16000, n_fft=400, n_mels=80)
        self.normalize = InputNormalization(norm_type="sentence")
        self.front_end = ConvolutionFrontEnd(
            (8, 10, 80),
            num_blocks=2,
            num_layers_per_block=1,
            out_channels=(128, 32),
            kernel_sizes=(3, 3),
            strides=(2, 2),
            residuals=(False, False),
        )
        self.encoder = EncoderWrapper(
            TransformerASR(
                input_size=640,
                tgt_vocab=32,  # for the decoder, which has no layers
                d_model=d_model,
                nhead=nhead,
                num_encoder_layers=num_layers,
                num_decoder_layers=0,
                d_ffn=d_ffn,
                dropout=dropout,
                activation=nn.GELU,
                conformer_activation=nn.GELU,
                encoder_module="conformer",
                attention_type=attention_type,
                normalize_before=True,
                causal=False,
            )
        )
        self.quantizer = RandomProjectionQuantizer(320, 16, codebook_size)
        self.classifier = Linear(input_size=d_model, n_neurons=codebook_size)

    def features(self, wavs: Tensor, lens: Tensor) -> Tensor:
        """Computes (B, F, 80) features of (B, T) samples, F being a multiple of SUBSAMPLING."""
        features = self.normalize(self.fbank(wavs), lens)
        return F.pad(features, (0, 0, 0, -features.shape[1] % SUBSAMPLING))

    def forward(self, wavs: Tensor, lens: Tensor, mask: Tensor) -> Tensor:
        """Computes the loss; `mask` has the indices of the feature frames to mask in all rows."""
        features = self.features(wavs, lens)
        places = mask[::SUBSAMPLING] // SUBSAMPLING
        stacked = features.unflatten(1, (-1, SUBSAMPLING)).flatten(2)
        targets = self.quantizer(stacked[:, places])
        noise = 0.1 * torch.randn(len(wavs), len(mask), 80, device=wavs.device)
        features[:, mask] = noise.to(features.dtype)
        # Every frame passes through the classifier, as in the recipe.
        logits = self.classifier(self.encoder(self.front_end(features), lens))[:, places]
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
