"""Heads on an encoder: from frames to embeddings and classes, or from frames to tokens."""

import torch
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
from speechbrain.lobes.models.Xvector import Xvector
from speechbrain.nnet.pooling import StatisticsPooling as NoisyStatisticsPooling
from speechbrain.nnet.RNN import LSTM
from torch import Tensor, nn

from masr_modules.distributed import world_size
from masr_modules.encoders.pooling import StatisticsPooling


class StatisticsHead(nn.Module):
    """The mean and standard deviation of the frames, standardised by running statistics.

    It has no trained parameters.

    Arguments
    ---------
    input_size : int
        D, the width of the frames.

    Example
    -------
    >>> head = StatisticsHead(8)
    >>> head(torch.randn(3, 5, 8), torch.tensor([5, 4, 2])).shape, head.embedding_size
    (torch.Size([3, 16]), 16)
    """

    def __init__(self, input_size: int):
        super().__init__()
        self.embedding_size = 2 * input_size
        self.pooling = StatisticsPooling()
        self.norm = nn.BatchNorm1d(self.embedding_size, affine=False)

    def forward(self, frames: Tensor, frame_lens: Tensor) -> Tensor:
        """Embeds (B, F, D) frames of (B,) lengths; returns (B, embedding_size)."""
        self.norm.train(self.training and len(frames) * world_size() > 1)
        return self.norm(self.pooling(frames, frame_lens))


class TDNNHead(nn.Module):
    """A head with one of SpeechBrain's time-delay networks over the frames.

    Its convolutions and its pooling reach into the padding of a batch. In eval mode, utterances of
    equal length are therefore run together, without padding.

    Arguments
    ---------
    network : nn.Module
        (B, F, D) frames -> (B, 1, E) embeddings.
    embedding_size : int
        E, the width of the embeddings.
    """

    LEAST = 9  # number of frames that the widest convolution spans

    def __init__(self, network: nn.Module, embedding_size: int):
        super().__init__()
        self.network = network
        self.embedding_size = embedding_size

    def forward(self, frames: Tensor, frame_lens: Tensor) -> Tensor:
        """Embeds (B, F, D) frames of (B,) lengths; returns (B, E)."""
        # Batch normalisation needs two utterances.
        self.network.train(self.training and len(frames) * world_size() > 1)
        if self.network.training:
            missing = max(0, self.LEAST - frames.shape[1])
            frames = nn.functional.pad(frames, (0, 0, 0, missing))
            return self.network(frames, frame_lens / frames.shape[1]).squeeze(1)
        out = torch.empty(len(frames), self.embedding_size).to(frames)
        for length in frame_lens.unique().tolist():
            alike = frame_lens == length
            out[alike] = self.network(self.long_enough(frames[alike, :length])).squeeze(1)
        return out

    def long_enough(self, frames: Tensor) -> Tensor:
        """Repeats the frames of an utterance that is shorter than the widest convolution."""
        times = -(-self.LEAST // frames.shape[1])
        return frames.repeat(1, times, 1) if times > 1 else frames


class ECAPAHead(TDNNHead):
    """A head with ECAPA-TDNN (Desplanques et al., Interspeech 2020, arXiv 2005.07143).

    Arguments
    ---------
    input_size : int
        D, the width of the frames.
    channels : int
        Number of channels of its convolutions; the last has three times as many.
    embedding_size : int
        E, the width of the embeddings.

    Example
    -------
    >>> head = ECAPAHead(8, channels=16, embedding_size=4).eval()
    >>> frames, lens = torch.randn(2, 30, 8), torch.tensor([30, 20])
    >>> torch.allclose(head(frames, lens)[1:], head(frames[1:, :20], lens[1:]), atol=1e-5)
    True
    >>> head.train()(frames[:, :3], torch.tensor([3, 2])).shape  # fewer frames than LEAST
    torch.Size([2, 4])
    """

    def __init__(self, input_size: int, channels: int = 512, embedding_size: int = 192):
        network = ECAPA_TDNN(
            input_size, channels=[channels] * 4 + [3 * channels], lin_neurons=embedding_size
        )
        super().__init__(network, embedding_size)


class XVectorHead(TDNNHead):
    """A head with the x-vector network (Snyder et al., ICASSP 2018).

    Arguments
    ---------
    input_size : int
        D, the width of the frames.
    channels : int
        Number of channels of its convolutions; the last has three times as many.
    embedding_size : int
        E, the width of the embeddings.

    Example
    -------
    >>> XVectorHead(8, channels=16, embedding_size=4)(torch.randn(2, 30, 8), torch.ones(2)).shape
    torch.Size([2, 4])
    """

    def __init__(self, input_size: int, channels: int = 512, embedding_size: int = 512):
        network = Xvector(
            tdnn_channels=[channels] * 4 + [3 * channels],
            lin_neurons=embedding_size,
            in_channels=input_size,
        )
        for place, block in enumerate(network.blocks):
            if isinstance(block, NoisyStatisticsPooling):
                network.blocks[place] = RelativeStatisticsPooling()
        super().__init__(network, embedding_size)


class RelativeStatisticsPooling(nn.Module):
    """StatisticsPooling with the interface of SpeechBrain's: it takes relative lengths."""

    def __init__(self):
        super().__init__()
        self.pooling = StatisticsPooling()

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Pools (B, F, D) frames of (B,) lengths in (0, 1] to (B, 1, 2 D)."""
        if lengths is None:
            lengths = frames.new_ones(len(frames))
        lens = (lengths * frames.shape[1]).round().clamp(min=1)
        return self.pooling(frames, lens).unsqueeze(1)


class LinearClassifier(nn.Module):
    """Logistic regression from embeddings to log-posteriors.

    Arguments
    ---------
    input_size : int
        Width of the embeddings.
    out_neurons : int
        Number of classes.

    Example
    -------
    >>> LinearClassifier(input_size=4, out_neurons=3)(torch.randn(2, 4)).exp().sum(dim=1).round()
    tensor([1., 1.], grad_fn=<RoundBackward0>)
    """

    def __init__(self, input_size: int, out_neurons: int):
        super().__init__()
        self.linear = nn.Linear(input_size, out_neurons)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Computes (B, out_neurons) log-posteriors of (B, input_size) embeddings."""
        return self.linear(embeddings).log_softmax(dim=-1)


class CTCHead(nn.Module):
    """A head from frames to log-posteriors of tokens and blank (Graves et al., ICML 2006).

    Arguments
    ---------
    input_size : int
        D, the width of the frames.
    out_neurons : int
        V, the number of tokens with the blank.
    rnn_layers : int
        Number of bidirectional LSTM layers below the linear classifier; 0 for none.
    rnn_size : int
        Width of the LSTM in one direction.
    dropout : float
        Dropout on the frames.

    Example
    -------
    >>> head = CTCHead(8, 5, rnn_layers=1, rnn_size=4).eval()
    >>> frames, lens = torch.randn(2, 30, 8), torch.tensor([30, 20])
    >>> torch.allclose(head(frames, lens)[1, :20], head(frames[1:, :20], lens[1:])[0], atol=1e-5)
    True
    """

    def __init__(
        self,
        input_size: int,
        out_neurons: int,
        rnn_layers: int = 0,
        rnn_size: int = 256,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.rnn = None
        if rnn_layers:
            self.rnn = LSTM(
                rnn_size, input_size=input_size, num_layers=rnn_layers, bidirectional=True
            )
            input_size = 2 * rnn_size
        self.linear = nn.Linear(input_size, out_neurons)

    def forward(self, frames: Tensor, frame_lens: Tensor) -> Tensor:
        """Computes (B, F, V) log-posteriors of (B, F, D) frames of (B,) lengths."""
        frames = self.dropout(frames)
        if self.rnn is not None:
            frames, _ = self.rnn(frames, lengths=frame_lens / frames.shape[1])
        return self.linear(frames).log_softmax(dim=-1)
