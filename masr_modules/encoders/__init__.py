"""Encoders, from waveforms to the frames of every layer, and pooling of frames to embeddings.

Classes that YAMLs name can be imported from here.
"""

from masr_modules.encoders.conformer import ConvFrontEnd, LogMel, SpeechEncoder
from masr_modules.encoders.pooling import MeanPooling, StatisticsPooling
from masr_modules.encoders.waveform import LatentFrontEnd, Waveform

#: The name of SpeechEncoder in YAMLs that version 0.1 saved.
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
