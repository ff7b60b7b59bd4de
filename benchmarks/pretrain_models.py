"""The models that pretrain.py measures, at each size."""

from collections.abc import Callable

from stock_best_rq import StockBestRQ

from masr_modules.encoders.conformer import ConvFrontEnd, LogMel, SpeechEncoder
from masr_modules.objectives.best_rq import BestRQ
from masr_modules.objectives.data2vec import Data2Vec
from masr_modules.objectives.hubert import Hubert
from masr_modules.objectives.units import Mfcc
from masr_modules.objectives.w2v_bert import W2vBert
from masr_modules.objectives.wav2vec2 import Wav2Vec2

#: Name -> layers, width, feed-forward width, heads, codes.
SIZES = {
    "small": (4, 144, 576, 4, 1024),
    "base": (12, 576, 2048, 8, 8192),
    "600m": (24, 1024, 4096, 8, 8192),
}


def make_encoder(size: str) -> SpeechEncoder:
    """Makes the shared encoder at a size, with the kernels of SpeechBrain's recipe."""
    layers, width, ffn, heads, _ = SIZES[size]
    front_end = ConvFrontEnd(80, width, [3, 3], [2, 2])
    return SpeechEncoder(LogMel(), front_end, layers, width, ffn, heads, kernel_size=31)


def make_hubert(size: str) -> Hubert:
    """Makes HuBERT with random units."""
    encoder = make_encoder(size)
    ssl = Hubert(encoder, Mfcc(encoder.frame_samples), "unused.npz", num_units=500)
    ssl.centroids.normal_(std=20)
    return ssl


def make_best_rq(size: str) -> BestRQ:
    """Makes BEST-RQ with the masks of SpeechBrain's recipe: 60 % of the frames, one by one."""
    return BestRQ(make_encoder(size), SIZES[size][4], mask_share=0.6, mask_span=1)


def make_stock(attention: str) -> Callable[[str], StockBestRQ]:
    """Returns a function that makes SpeechBrain's model with a type of attention."""
    return lambda size: StockBestRQ(*SIZES[size], attention_type=attention)


OBJECTIVES = {
    "best_rq": make_best_rq,
    "wav2vec2": lambda size: Wav2Vec2(make_encoder(size)),
    "w2v_bert": lambda size: W2vBert(make_encoder(size), SIZES[size][0] // 2),
    "hubert": make_hubert,
    "data2vec": lambda size: Data2Vec(make_encoder(size), top_layers=SIZES[size][0] // 2),
}
STOCK = {
    "SpeechBrain, RelPosMHAXL": make_stock("RelPosMHAXL"),
    "SpeechBrain, RoPEMHA": make_stock("RoPEMHA"),
}
