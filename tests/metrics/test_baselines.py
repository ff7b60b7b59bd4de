"""What an encoder has to beat."""

import torch

from masr_modules.metrics.baselines import QUIET, QuietFrameStatistics


def cepstra(frames):
    """Features whose first coefficient is the level: a spectrum of that many times 1."""
    return lambda wavs: frames


def test_the_quietest_tenth_of_the_real_frames_is_what_counts():
    # 20 real frames, of which 2 are quiet, and 5 of padding that are quieter still.
    level = torch.tensor([1.0] * 9 + [0.0, 0.25] + [1.0] * 9 + [-9.0] * 5)
    features = level.view(1, -1, 1).expand(1, 25, 8)
    statistics = QuietFrameStatistics(cepstra(features), hop=1, n_mels=8, n_mfcc=2)
    (found,), lens = statistics(torch.zeros(1, 24), torch.tensor([19 / 24]))
    whole, _ = statistics.fbank(None), lens
    quiet = whole[0, [9, 10]]
    expected = torch.cat([quiet.mean(dim=0), quiet.std(dim=0, correction=0)])
    assert 20 // QUIET == 2
    torch.testing.assert_close(found[0, 0], expected, atol=1e-3, rtol=0)
