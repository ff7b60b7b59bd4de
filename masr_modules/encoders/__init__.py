"""From waveforms to frames of every layer, and from frames to utterance embeddings.

What YAMLs name is importable from here.
"""

from masr_modules.encoders.conformer import ConvFrontEnd, LogMel, SpeechEncoder
from masr_modules.encoders.pooling import MeanPooling, StatisticsPooling
from masr_modules.encoders.waveform import LatentFrontEnd, Waveform

#: The name that SpeechEncoder has in YAMLs saved by version 0.1.
MASREncoder = SpeechEncoder

__all__ = [
    "ConvFrontEnd",
    "LatentFrontEnd",
    "LogMel",
    "MeanPooling",
    "SpeechEncoder",
    "StatisticsPooling",
    "Waveform",
]
