"""Padding changes nothing; lengths are right; a new objective has an interface to meet."""

import pytest
import torch

from masr_modules.encoders.conformer import ConvFrontEnd, LogMel, SpeechEncoder
from masr_modules.encoders.pooling import MeanPooling
from masr_modules.objectives.base import SSLOutput
from masr_modules.objectives.best_rq import BestRQ
from masr_modules.objectives.masking import span_mask
from masr_modules.objectives.random_projection import FastRandomProjectionQuantizer


def small_encoder(kernels=(7,), strides=(4,)):
    torch.manual_seed(0)
    front_end = ConvFrontEnd(80, 32, list(kernels), list(strides))
    encoder = SpeechEncoder(LogMel(), front_end, 2, 32, 64, 2, kernel_size=7).eval()
    for parameter in encoder.parameters():  # biases start at 0, where leaks do not show
        parameter.data += 0.05 * torch.randn_like(parameter)
    return encoder


@pytest.mark.parametrize("kernels, strides", [((7,), (4,)), ((3, 3), (2, 2)), ((5, 3), (2, 1))])
@pytest.mark.parametrize("samples", (4000, 16000, 16123))
def test_an_utterance_gets_the_same_frames_alone_and_padded(kernels, strides, samples):
    ssl = BestRQ(small_encoder(kernels, strides)).eval()
    wav = torch.randn(1, samples)
    alone, alone_lens = ssl.encode(wav, torch.ones(1))
    padded = torch.randn(2, 32000)
    padded[0, :samples] = wav  # what follows is noise, and must not matter
    layers, lens = ssl.encode(padded, torch.tensor([samples / 32000, 1.0]))
    assert lens[0] == alone_lens[0] == alone[0].shape[1]
    for layer, expected in zip(layers, alone, strict=True):
        torch.testing.assert_close(layer[:1, : lens[0]], expected, atol=1e-4, rtol=1e-4)


def test_features_keep_no_level_but_keep_shape():
    features, lens = LogMel()(torch.randn(2, 8000) * torch.tensor([[0.1], [1.0]]), torch.ones(2))
    assert features.mean(dim=1).abs().max() < 1e-3 and lens.tolist() == [51, 51]


def test_fast_quantizer_equals_speechbrains():
    from speechbrain.nnet.quantisers import RandomProjectionQuantizer

    torch.manual_seed(0)
    fast = FastRandomProjectionQuantizer(20, 16, 64)
    stock = RandomProjectionQuantizer(20, 16, 64)
    stock.load_state_dict(fast.state_dict())
    x = torch.randn(3, 50, 20)
    assert torch.equal(fast(x), stock(x))


def test_masks_lie_within_each_utterance_in_at_most_the_share():
    lens = torch.tensor([200, 100, 40, 12, 3])
    masks = torch.stack([span_mask(lens, 200, 0.4, 10, [i] * 5).frames for i in range(200)])
    for i, length in enumerate(lens.tolist()):
        assert not masks[:, i, length:].any()
        assert (masks[:, i, :length].float().mean(dim=1) <= 0.4).all()
    assert (masks[:, :3].sum(dim=2) == torch.tensor([80, 40, 10])).all()
    assert (masks[:, 3:].sum(dim=2) == torch.tensor([4, 1])).all()  # shorter spans


def test_a_mask_depends_on_its_seed_alone():
    one = span_mask(torch.tensor([50, 80]), 80, 0.4, 10, [5, 9]).frames
    two = span_mask(torch.tensor([80, 50]), 80, 0.4, 10, [9, 5]).frames
    assert torch.equal(one[0], two[1]) and torch.equal(one[1], two[0])


def test_nothing_to_mask_is_an_error():
    with pytest.raises(ValueError, match="nothing to mask: 0.4 of the longest of 2 utterances"):
        span_mask(torch.tensor([2, 1]), 2, 0.4, 10)


def test_a_batch_of_one_utterance_trains():
    ssl = BestRQ(small_encoder()).train()
    out = ssl(torch.randn(1, 16000), torch.ones(1))
    out.loss.backward()
    assert torch.isfinite(out.loss)


def test_pooling_ignores_padding_and_masked_frames():
    frames = torch.tensor([[[1.0], [2.0], [float("nan")]], [[4.0], [6.0], [8.0]]])
    mask = torch.tensor([[True, True, False], [False, True, False]])
    pooled = MeanPooling()(frames, torch.tensor([2, 3]), mask)
    # All of the first is masked: all its valid frames count.
    assert pooled.flatten().tolist() == [1.5, 6.0]


def test_the_loss_of_two_ranks_is_the_mean_over_all_masked_frames(monkeypatch):
    mask = torch.tensor([[True, True, False], [True, True, False]])
    output = SSLOutput(torch.tensor(3.0), torch.zeros(2, 3, 1), torch.tensor([3, 3]), mask)
    assert output.joint_loss.item() == 3.0
    for module in ("masr_modules.objectives.base", "masr_modules.distributed"):
        monkeypatch.setattr(f"{module}.world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda count: count.fill_(10.0))
    # 4 masked frames here, 6 on the other rank; the trainer halves the sum of both.
    assert output.joint_loss.item() == pytest.approx(2 * 3.0 * 4 / 10)
