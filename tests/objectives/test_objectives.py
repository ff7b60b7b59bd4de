"""What every SSL objective must meet; a new one is one line in OBJECTIVES.

See "An SSL method" in docs/extend.md.
"""

import functools
import io
from pathlib import Path

import pytest
import torch
from hf_models import MODELS
from small_models import (
    SPAN,
    small_encoder,
    small_hubert,
    small_huggingface,
    small_published,
    small_wave_transformer,
    speech,
    step,
)
from torch import _dynamo as dynamo
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from masr_modules.config.settings import load_settings
from masr_modules.objectives.best_rq import BestRQ
from masr_modules.objectives.data2vec import Data2Vec
from masr_modules.objectives.masking import FrameMask
from masr_modules.objectives.w2v_bert import W2vBert
from masr_modules.objectives.wav2vec2 import Wav2Vec2

pytestmark = pytest.mark.slow

HPARAMS = Path(__file__).parents[2] / "hparams"

#: Of wav2vec 2.0 and w2v-BERT; the temperature falls fast, so that two steps show it.
CONTRASTIVE = {
    "num_codes": 8,
    "code_dim": 16,
    "num_distractors": 10,
    "temperature": (2.0, 0.5, 0.9),
    "mask_span": SPAN,
}

#: Name -> how to build a small one.
OBJECTIVES = {
    "best_rq": lambda: BestRQ(small_encoder(), codebook_size=16, mask_span=SPAN),
    "wav2vec2": lambda: Wav2Vec2(small_encoder(), **CONTRASTIVE),
    "wav2vec2 on samples": lambda: Wav2Vec2(small_wave_transformer(), **CONTRASTIVE),
    "w2v_bert": lambda: W2vBert(small_encoder(), contrastive_layers=1, **CONTRASTIVE),
    "hubert": lambda: small_hubert(small_encoder()),
    "hubert on samples": lambda: small_hubert(small_wave_transformer()),
    "data2vec": lambda: Data2Vec(small_encoder(), 2, decay=(0.9, 0.99), mask_span=SPAN),
    **{
        f"{name} as published": functools.partial(small_published, name)
        for name in ("wav2vec2", "hubert", "data2vec")
    },
    **{
        f"huggingface {name}": functools.partial(small_huggingface, name)
        for name in (*MODELS, "whisper")
    },
    "start of whisper": functools.partial(
        small_huggingface, "whisper", own_weight=0.0, start_weight=1.0
    ),
    "start beside xls_r's own": functools.partial(small_huggingface, "xls_r", start_weight=1.0),
}

#: Compiling takes many seconds; what is left out differs in front end or family alone.
COMPILED = ["best_rq", "wav2vec2", "w2v_bert", "hubert", "data2vec"]
COMPILED += ["huggingface wav2vec2", "huggingface hubert", "start of whisper"]
COMPILED += ["data2vec as published"]


@pytest.fixture(params=OBJECTIVES)
def ssl(request):
    torch.manual_seed(0)
    return OBJECTIVES[request.param]().train()


def test_shapes_and_lengths_of_a_ragged_batch(ssl):
    wavs, lens = speech(16000, 12345, 1200)
    out = ssl(wavs, lens, [1, 2, 3])
    layers, frame_lens = ssl.eval().encode(wavs, lens)
    assert out.loss.shape == () and torch.isfinite(out.loss)
    assert out.frames.shape == (3, frame_lens.max(), ssl.d_model)
    assert out.frame_lens.tolist() == frame_lens.tolist()
    assert all(layer.shape == out.frames.shape for layer in layers) and len(layers) > 1
    assert out.frame_mask.shape == out.frames.shape[:2] and out.frame_mask.dtype == torch.bool
    for mask, length in zip(out.frame_mask, frame_lens.tolist(), strict=True):
        assert not mask[length:].any()
    assert out.frame_mask[:2].any(dim=1).all()  # the third is shorter than one mask
    assert all(value.shape == () and not value.requires_grad for value in out.stats.values())


@pytest.mark.parametrize("samples", (4000, 16123))
def test_padding_does_not_change_an_utterance(ssl, samples):
    ssl.eval()
    wavs, lens = speech(samples, 24000)
    alone, alone_lens = ssl.encode(wavs[:1, :samples], torch.ones(1))
    padded, padded_lens = ssl.encode(wavs, lens)
    assert padded_lens[0] == alone_lens[0] == alone[0].shape[1]
    for layer, expected in zip(padded, alone, strict=True):
        torch.testing.assert_close(layer[:1, : padded_lens[0]], expected, atol=1e-4, rtol=1e-4)


def test_a_mask_depends_on_the_seed_of_its_utterance_alone(ssl):
    wavs, lens = speech(16000, 24000)
    padded = ssl(wavs, lens, [7, 8]).frame_mask
    alone = ssl(wavs[:1, :16000], torch.ones(1), [7]).frame_mask
    assert torch.equal(padded[0, : alone.shape[1]], alone[0])
    assert not torch.equal(alone, ssl(wavs[:1, :16000], torch.ones(1), [9]).frame_mask)


def test_encode_is_deterministic_and_draws_nothing(ssl):
    ssl.eval()
    wavs, lens = speech(16000, 12000)
    generator = torch.get_rng_state()
    first, _ = ssl.encode(wavs, lens)
    assert torch.equal(generator, torch.get_rng_state())  # no mask, noise or dropout
    for before, after in zip(first, ssl.encode(wavs, lens)[0], strict=True):
        assert torch.equal(before, after)


def test_the_loss_falls_on_one_batch(ssl):
    batch = speech(16000, 16000, 12000)
    optimizer = torch.optim.Adam(ssl.parameters(), lr=3e-3)
    losses = [step(ssl, optimizer, i + 1, *batch) for i in range(30)]
    assert sum(losses[-3:]) / 3 < 0.85 * losses[0]


def test_gradients_reach_every_parameter_that_is_trained(ssl):
    batch = speech(16000, 12000)
    step(ssl, torch.optim.SGD(ssl.parameters(), lr=0.1), 1, *batch)  # LoRA starts with zeros
    ssl(*batch, [1, 2]).loss.backward()
    reached = {n for n, p in ssl.named_parameters() if p.grad is not None and p.grad.any()}
    trained = {n for n, p in ssl.named_parameters() if p.requires_grad}
    assert reached == trained


def test_a_run_saved_and_restored_goes_on_exactly(ssl, request):
    batch = speech(16000, 12000)
    optimizer = torch.optim.Adam(ssl.parameters(), lr=1e-3)
    for number in (1, 2):
        step(ssl, optimizer, number, *batch)
    file = io.BytesIO()
    torch.save([ssl.state_dict(), optimizer.state_dict(), torch.get_rng_state()], file)
    expected = [step(ssl, optimizer, number, *batch) for number in (3, 4)]

    torch.manual_seed(99)  # another process: other codebooks, other generator
    other = OBJECTIVES[request.node.callspec.params["ssl"]]().train()
    optimizer = torch.optim.Adam(other.parameters(), lr=1e-3)
    file.seek(0)
    state, optimizer_state, generator = torch.load(file, weights_only=True)
    other.load_state_dict(state)
    optimizer.load_state_dict(optimizer_state)
    torch.set_rng_state(generator)
    assert [step(other, optimizer, number, *batch) for number in (3, 4)] == expected
    for name, value in ssl.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_autocast_in_bfloat16_stays_finite(ssl):
    with torch.autocast("cpu", torch.bfloat16):
        loss = ssl(*speech(16000, 12000), [1, 2]).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad.isfinite().all() for p in ssl.parameters() if p.grad is not None)


@pytest.mark.parametrize("ssl", COMPILED, indirect=True)
def test_compiled_it_gives_the_same_loss(ssl):
    batch = speech(16000, 12000)
    torch._dynamo.reset()
    compiled = torch.compile(ssl, backend="aot_eager")
    losses = []
    for module in (ssl, compiled):
        torch.manual_seed(2)
        losses.append(module(*batch, [1, 2]).loss)
    losses[1].backward()
    torch.testing.assert_close(losses[1], losses[0], atol=1e-4, rtol=1e-4)


def every_other(lens, num_frames, share, span, seeds, device):
    """A mask that no value decides, drawn where values are free."""
    assert lens.device.type == "cpu" and device.type == "cuda"
    frames = (torch.arange(num_frames, device=device) % 2 == 0).expand(len(lens), -1)
    return FrameMask(frames, 2 * torch.arange(len(lens) * (num_frames // 2), device=device))


@pytest.mark.parametrize(
    "ssl", ["best_rq", "wav2vec2", "w2v_bert", "hubert", "data2vec"], indirect=True
)
def test_a_forward_pass_stays_on_its_device_and_never_waits_for_it(ssl, monkeypatch):
    """On a GPU that need not be there: tensors without values, which refuse to be mixed or read.

    Neither may a shape come from values, as that of `frames[mask]` does.
    """
    ssl(*speech(16000), [1])  # what is looked at once, such as HuBERT's centroids
    for module in ("best_rq", "masked_latents"):
        monkeypatch.setattr(f"masr_modules.objectives.{module}.span_mask", every_other)
    with FakeTensorMode(allow_non_fake_inputs=True):
        wavs, lens = torch.randn(2, 16000, device="cuda"), torch.ones(2)
        out = ssl.to("cuda")(wavs, lens, [1, 2])
        found = [out.loss, out.frame_mask, *out.layers, *out.stats.values()]
        assert {value.device.type for value in found} == {"cuda"}
        assert out.frame_lens.device.type == "cpu"
        with pytest.raises(Exception, match="device"):
            ssl.encode(wavs.cpu(), lens)
        with pytest.raises(DynamicOutputShapeException):
            out.frames[out.frame_mask]


def test_short_utterances_are_masked_within_their_share_or_refused(ssl):
    try:
        out = ssl(*speech(2400, 1200), [1, 2])
    except ValueError as error:
        assert "nothing to mask" in str(error)
        return
    masked = out.frame_mask.sum(dim=1)
    assert (masked <= getattr(ssl, "mask_share", 0.65) * out.frame_lens).all() and masked.any()


@pytest.mark.parametrize("yaml", ["masr.yaml", "pretrain_wav2vec2.yaml"])
def test_masks_alone_break_the_graph_of_a_compiled_one(yaml):
    small = {"d_model": 16, "d_ffn": 16, "nhead": 2}
    ssl = load_settings(HPARAMS / yaml, small, only=["ssl"])["ssl"].train()
    dynamo.reset()
    with dynamo.config.patch(capture_dynamic_output_shape_ops=True):  # as Trainer does
        found = dynamo.explain(ssl)(torch.randn(2, 16000), torch.tensor([1.0, 0.7]), [1, 2])
    reasons = {reason.reason for reason in found.break_reasons}  # numpy draws the masks
    assert len(reasons) <= 1 and all("span_mask" in reason for reason in reasons), reasons
