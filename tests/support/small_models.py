"""Small encoders and objectives, speech for them, and a step of training."""

import tempfile

import torch
from hf_models import save_small
from published_models import DATA2VEC, HUBERT, WAV2VEC2

from masr_modules.encoders.conformer import ConvFrontEnd, LogMel, SpeechEncoder
from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.waveform import LatentFrontEnd, Waveform
from masr_modules.objectives.data2vec_published import PublishedData2Vec
from masr_modules.objectives.hubert import Hubert
from masr_modules.objectives.hubert_published import PublishedHubert
from masr_modules.objectives.huggingface import HuggingFaceSSL
from masr_modules.objectives.units import KaldiMfcc, Mfcc, unit_features
from masr_modules.objectives.wav2vec2_published import PublishedWav2Vec2

SPAN = 5


def small_encoder(num_layers=2):
    """Two Conformer layers of width 32 on frames of 40 ms."""
    front_end = ConvFrontEnd(80, 32, [7], [4])
    encoder = SpeechEncoder(LogMel(), front_end, num_layers, 32, 64, 2, kernel_size=7, dropout=0.0)
    for parameter in encoder.parameters():  # biases start at 0, where leaks do not show
        parameter.data += 0.05 * torch.randn_like(parameter)
    return encoder


def small_wave_transformer():
    """One Transformer layer on samples, in frames of 20 ms."""
    return SpeechEncoder(Waveform(), LatentFrontEnd(32, 16), 1, 32, 64, 2, None, dropout=0.0)


def small_hubert(encoder):
    """HuBERT with random units of MFCC."""
    ssl = Hubert(encoder, unit_features(encoder), "unused.npz", 8, 16, mask_span=SPAN)
    ssl.centroids.copy_(30 * torch.randn(8, Mfcc.size))
    return ssl


def small_huggingface(name, own_weight=1.0, start_weight=0.0, **options):
    """A `transformers` model, saved and loaded by its path; other options are the encoder's."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = HuggingFaceEncoder(save_small(name, folder), **options)
    weights = {"own_weight": own_weight, "start_weight": start_weight}
    return HuggingFaceSSL(encoder, codebook_size=16, mask_span=SPAN, **weights)


def small_published(name, config=None, layerdrop=0.0, **options):
    """A method as published, on a small network of its kind; by default no layer is dropped."""
    options["layerdrop"] = layerdrop
    if name == "wav2vec2":
        encoder = HuggingFaceEncoder(config=config or WAV2VEC2, pretraining_head=True)
        return PublishedWav2Vec2(encoder, **{"temperature": (2.0, 0.5, 0.9)} | options)
    if name == "data2vec":
        encoder = HuggingFaceEncoder(config=config or DATA2VEC)
        return PublishedData2Vec(encoder, top_layers=2, **{"decay": (0.99, 0.999)} | options)
    encoder = HuggingFaceEncoder(config=config or HUBERT)
    ssl = PublishedHubert(encoder, KaldiMfcc(), "unused.npz", 8, 16, **options)
    ssl.centroids.copy_(10 * torch.randn(8, KaldiMfcc.size))
    return ssl


def speech(*samples):
    """Red noise, padded with white: what follows an utterance must not matter."""
    torch.manual_seed(1)
    wavs = torch.randn(len(samples), max(samples))
    for wav, count in zip(wavs, samples, strict=True):
        wav[:count] = wav[:count].cumsum(dim=0) / 50
    return wavs, torch.tensor(samples) / max(samples)


def step(ssl, optimizer, number, wavs, lens):
    """One training step as the recipe makes it; the loss."""
    loss = ssl(wavs, lens, list(range(len(wavs)))).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    ssl.after_step(number)
    return loss.item()
