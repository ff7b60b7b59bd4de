"""The prediction of the start: its loss by hand, and what learns from it."""

import copy
from types import SimpleNamespace

import pytest
import torch
from hf_models import MODELS
from small_models import small_huggingface, speech, step
from torch import nn
from transformers import WhisperConfig

from masr_modules.encoders.huggingface import EncoderInput, HuggingFaceEncoder
from masr_modules.objectives.huggingface import HuggingFaceSSL
from masr_modules.objectives.masking import FrameMask
from masr_modules.objectives.start import LOSS_SCALE, StartPrediction


def small_whisper():
    """A Whisper encoder with two layers, whose mask embedding is not 0."""
    config = WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=24
    )
    encoder = HuggingFaceEncoder(config=config.to_diff_dict())
    nn.init.normal_(encoder.model.masked_spec_embed)
    return encoder


def start_alone(encoder=None, **options):
    """The objective without a loss of its own."""
    return HuggingFaceSSL(encoder or small_whisper(), own_weight=0.0, start_weight=1.0, **options)


class Teacher(nn.Module):
    """Stands for an encoder whose layers are given."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = [torch.tensor(layer) for layer in layers]

    def run(self, inputs, mask, all_layers):
        assert not mask.any() and all_layers
        return SimpleNamespace(hidden_states=self.layers, last_hidden_state=self.layers[-1])


def mask_of(*rows):
    return FrameMask.of(torch.tensor(rows, dtype=torch.bool))


@pytest.mark.parametrize("visible_weight", [0.0, 0.5])
def test_the_loss_is_the_mean_square_of_normalised_layers(visible_weight):
    # One utterance with three frames, the last one padding; masked is the first. Two channels
    # that differ are 1 and -1, or -1 and 1, once they are normalised: squares are 0 or 4.
    up, down = [1.0, 3.0], [8.0, 2.0]
    teacher = Teacher([[up, up, up]], [[up, up, up]], [[up, up, up]])
    prediction = StartPrediction(teacher, visible_weight)
    layers = [
        torch.tensor([[down, down, down]]),  # the input of the first layer is not compared
        torch.tensor([[down, up, down]]),
        torch.tensor([[up, down, down]]),
    ]
    inputs = EncoderInput(torch.zeros(1, 6), torch.ones(1, 6), torch.tensor([2]), 3)
    loss, stats = prediction(inputs, layers, mask_of([1, 0, 0]))
    # Of two layers one is wrong at the masked frame, and one at the visible frame.
    assert stats["start_guess"].item() == pytest.approx(2.0, abs=1e-3)
    assert stats["start_drift"].item() == pytest.approx(2.0, abs=1e-3)
    assert loss.item() == pytest.approx(LOSS_SCALE * 2.0 * (1 + visible_weight), abs=0.02)


def test_masked_frames_of_padding_never_count():
    prediction = StartPrediction(small_whisper().eval(), visible_weight=1.0)
    encoder = small_whisper().eval()
    wavs, lens = speech(8000, 16000)
    inputs = encoder.prepare(wavs, lens)
    frames = torch.zeros(2, 50, dtype=torch.bool)
    frames[:, 5:15] = True
    layers = encoder.run(inputs, frames, all_layers=True).hidden_states
    expected, _ = prediction(inputs, layers, FrameMask.of(frames))
    spoilt = [layer.clone() for layer in layers]
    for layer in spoilt:
        layer[0, 25:] = torch.randn(25, 16)
    frames[0, 30:40] = True
    got, _ = prediction(inputs, spoilt, FrameMask.of(frames))
    assert torch.equal(expected, got)
    spoilt[1][0, 24] = torch.randn(16)  # the last frame of the utterance does
    assert not torch.equal(prediction(inputs, spoilt, FrameMask.of(frames))[0], expected)


def test_before_any_step_what_is_not_masked_has_not_drifted():
    ssl = start_alone(visible_weight=1.0).eval()
    inputs = ssl.encoder.prepare(*speech(16000, 12000))
    nothing = torch.zeros(2, 50, dtype=torch.bool)
    output = ssl.encoder.run(inputs, nothing, all_layers=True)
    loss, stats = ssl.start(inputs, output.hidden_states, FrameMask.of(nothing))
    assert loss == stats["start_guess"] == stats["start_drift"] == 0
    assert ssl(*speech(16000, 12000), [1, 2]).stats["start_guess"] > 0.01  # where it is masked


def test_the_student_learns_and_the_start_stays():
    ssl = start_alone().train()
    before = copy.deepcopy(ssl.state_dict())
    optimizer = torch.optim.AdamW(ssl.parameters(), lr=0.01, weight_decay=0.1)
    losses = [step(ssl, optimizer, i + 1, *speech(16000, 12000)) for i in range(20)]
    assert losses[-1] < losses[0]
    after = ssl.state_dict()
    start = [key for key in before if key.startswith("start.")]
    assert len(start) > 20 and all(torch.equal(before[key], after[key]) for key in start)
    assert all(parameter.grad is None for parameter in ssl.start.parameters())
    moved = [key for key in before if not torch.equal(before[key], after[key])]
    assert len(moved) > 20 and all(key.startswith("encoder.") for key in moved)


def test_the_start_stays_in_eval_mode():
    ssl = start_alone().train()
    assert ssl.encoder.model.training
    assert not any(module.training for module in ssl.start.start.modules())


def test_a_state_holds_the_start_as_it_was():
    ssl = start_alone()
    step(ssl, torch.optim.SGD(ssl.parameters(), lr=0.1), 1, *speech(16000))
    nn.init.normal_(ssl.encoder.model.encoder.conv1.weight)
    resumed = start_alone(small_whisper())  # as of another source
    resumed.load_state_dict(ssl.state_dict())
    losses = [each.eval()(*speech(16000), [1]).loss for each in (ssl, resumed)]
    assert torch.equal(*losses)


def test_without_a_loss_of_its_own_there_are_no_codes_and_no_head():
    ssl = start_alone()
    assert {name for name, _ in ssl.named_children()} == {"encoder", "start"}
    ssl = HuggingFaceSSL(small_whisper(), codebook_size=16)
    assert {name for name, _ in ssl.named_children()} == {"encoder", "features", "prediction"}


@pytest.mark.slow
def test_without_a_loss_of_its_own_a_shipped_head_is_kept_as_it_came():
    ssl = small_huggingface("xls_r", own_weight=0.0, start_weight=1.0)
    assert not any(parameter.requires_grad for parameter in ssl.encoder.head.parameters())
    assert ssl.start.start.head is None


def test_weights_add_the_losses_up():
    torch.manual_seed(0)
    encoder = small_whisper().eval()
    losses = []
    for own, start in ((1.0, 0.0), (0.0, 1.0), (0.5, 3.0)):
        torch.manual_seed(1)  # of the codes
        ssl = HuggingFaceSSL(encoder, codebook_size=16, own_weight=own, start_weight=start).eval()
        losses.append(ssl(*speech(16000), [1]).loss.item())
    assert losses[2] == pytest.approx(0.5 * losses[0] + 3.0 * losses[1], rel=1e-5)


@pytest.mark.parametrize("own, start", [(0.0, 0.0), (-1.0, 2.0), (1.0, -0.5)])
def test_a_loss_that_weighs_nothing(own, start):
    with pytest.raises(ValueError, match=f"own_weight is {own} and start_weight {start}: one must"):
        HuggingFaceSSL(small_whisper(), own_weight=own, start_weight=start)


@pytest.mark.slow
@pytest.mark.parametrize("trainable", ["all", "layer_norm", "lora"])
@pytest.mark.parametrize("own, start", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("name", [*MODELS, "whisper"])
def test_every_trained_parameter_gets_a_gradient(name, own, start, trainable):
    """DDP waits for those that get none."""
    ssl = small_huggingface(name, trainable=trainable, own_weight=own, start_weight=start)
    ssl(*speech(16000, 12000), [1, 2]).loss.backward()
    trained = {n for n, p in ssl.named_parameters() if p.requires_grad}
    assert {n for n, p in ssl.named_parameters() if p.grad is not None} == trained
    assert not any(n.startswith("start.") for n in trained)


def test_a_weight_without_effect_is_told(caplog):
    with caplog.at_level("WARNING"):
        HuggingFaceSSL(small_huggingface("whisper").encoder, visible_weight=1.0)
    assert "visible_weight has no effect" in caplog.text
