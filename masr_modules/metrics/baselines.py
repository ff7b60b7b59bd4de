"""Baselines for an encoder: statistics of plain features, and a guess without the audio."""

from collections.abc import Callable, Mapping

import torch
from speechbrain.processing.features import DCT
from torch import Tensor

from masr_modules.encoders.pooling import StatisticsPooling, valid_frames

#: One frame in this many counts as quiet.
QUIET = 10


class LogMelStatistics:
    """The mean and standard deviation of log-mel features, a baseline that learns nothing.

    Arguments
    ---------
    fbank : callable
        (B, T) waveforms -> (B, F, M) features, not normalised.
    hop : int
        Number of samples per frame.

    Example
    -------
    >>> from masr_modules.encoders.conformer import LogMel
    >>> features = LogMel()
    >>> statistics = LogMelStatistics(features.fbank, features.hop)
    >>> frames, lens = statistics(torch.randn(2, 16000), torch.ones(2))
    >>> frames[0].shape
    torch.Size([2, 1, 160])
    """

    def __init__(self, fbank: Callable[[Tensor], Tensor], hop: int):
        self.fbank = fbank
        self.hop = hop

    def __call__(self, wavs: Tensor, wav_lens: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns the statistics in the form of `SSLObjective.encode`: one layer of one frame."""
        features = self.fbank(wavs)
        lens = (wav_lens * wavs.shape[1]).round().long() // self.hop + 1
        valid = valid_frames(lens, features.shape[1]).unsqueeze(-1)
        count = lens.view(-1, 1)
        mean = (features * valid).sum(dim=1) / count
        deviation = (features - mean.unsqueeze(1)) * valid
        std = (deviation.square().sum(dim=1) / count).sqrt()
        return [torch.cat([mean, std], dim=1).unsqueeze(1)], torch.ones_like(lens)


class MFCCStatistics(LogMelStatistics):
    """The mean and standard deviation of MFCC, which depend on the speaker and the channel.

    Arguments
    ---------
    fbank : callable
        (B, T) waveforms -> (B, F, M) log-mel features, not normalised.
    hop : int
        Number of samples per frame.
    n_mels : int
        M, the number of mel bands.
    n_mfcc : int
        Number of cepstral coefficients.

    Example
    -------
    >>> from masr_modules.encoders.conformer import LogMel
    >>> features = LogMel()
    >>> statistics = MFCCStatistics(features.fbank, features.hop, n_mels=80)
    >>> frames, lens = statistics(torch.randn(2, 16000), torch.ones(2))
    >>> frames[0].shape
    torch.Size([2, 1, 40])
    """

    def __init__(self, fbank: Callable[[Tensor], Tensor], hop: int, n_mels: int, n_mfcc: int = 20):
        cosines = DCT(input_size=n_mels, n_out=n_mfcc)
        super().__init__(lambda wavs: cosines(fbank(wavs)), hop)


class QuietFrameStatistics(MFCCStatistics):
    """The statistics of MFCC over the quietest tenth of an utterance's frames.

    They depend on the recording channel. If they predict a label, the label is correlated with
    how and where people were recorded, and a better encoder may have learned no more than that.

    Arguments
    ---------
    fbank, hop, n_mels, n_mfcc
        See MFCCStatistics.

    Example
    -------
    >>> from masr_modules.encoders.conformer import LogMel
    >>> features = LogMel()
    >>> statistics = QuietFrameStatistics(features.fbank, features.hop, n_mels=80)
    >>> frames, lens = statistics(torch.randn(2, 16000), torch.ones(2))
    >>> frames[0].shape
    torch.Size([2, 1, 40])
    """

    def __call__(self, wavs: Tensor, wav_lens: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns the statistics as LogMelStatistics does."""
        features = self.fbank(wavs)
        lens = (wav_lens * wavs.shape[1]).round().long() // self.hop + 1
        valid = valid_frames(lens, features.shape[1])
        # The first cepstral coefficient rises with the frame's level.
        level = features[..., 0].masked_fill(~valid, float("inf"))
        rank = level.argsort(dim=1).argsort(dim=1)
        quiet = rank < (lens.to(rank.device).unsqueeze(1) / QUIET).ceil()
        pooled = StatisticsPooling()(features, lens, ~quiet)
        return [pooled.unsqueeze(1)], torch.ones_like(lens)


def blind_guess(test: Mapping[str, Mapping], column: str = "language") -> dict[str, float]:
    """Computes the best metrics of a guess without the audio: the row `chance` of the table.

    Arguments
    ---------
    test : mapping
        ID -> row of the test set.
    column : str
        The column that neighbours and probe predict.

    Returns
    -------
    dict[str, float]
        knn, linear and family, which are 1 / number of labels or families, as macro accuracies
        are, and speaker_eer.

    Example
    -------
    >>> french = {"language": "fra", "family": "Indo-European"}
    >>> blind_guess({"a": french, "b": french, "c": french | {"language": "deu"}})
    {'knn': 0.5, 'linear': 0.5, 'family': 1.0, 'speaker_eer': 0.5}
    """
    labels, families = (
        len({row.get(name) or "" for row in test.values()} - {""}) or float("nan")
        for name in (column, "family")
    )
    return {
        "knn": 1 / labels,
        "linear": 1 / labels,
        "family": 1 / families if column == "language" else float("nan"),
        "speaker_eer": 0.5,
    }
