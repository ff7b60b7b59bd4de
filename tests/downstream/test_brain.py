"""Fine-tuning: what learns, what stays as it was, and when masks act."""

import logging
from unittest.mock import patch

import pytest
import torch
from small_models import small_encoder, small_huggingface, small_wave_transformer, speech
from speechbrain import Stage
from speechbrain.augment.freq_domain import SpectrogramDrop
from speechbrain.dataio.batch import PaddedBatch
from torch import nn

from masr_modules.downstream.brain import DownstreamBrain
from masr_modules.encoders.pretrained import PretrainedEncoder
from masr_modules.training.checkpoints import Checkpointer

ENCODERS = {
    "convolutions on log-mel features": small_encoder,
    "convolutions on samples": small_wave_transformer,
    "XLS-R": lambda: small_huggingface("xls_r").encoder,
    "HuBERT": lambda: small_huggingface("hubert").encoder,
    "w2v-BERT 2.0": lambda: small_huggingface("wav2vec2-bert").encoder,
}


class Toy(DownstreamBrain):
    """The mean frame shall be 1."""

    def compute_forward(self, batch, stage):
        frames, _ = self.frames(batch, stage)
        return self.modules.head(frames).mean()

    def compute_objectives(self, predictions, batch, stage):
        return (predictions - 1).square()


@pytest.fixture
def build(tmp_path):
    """A Brain as Brain.fit leaves it before the first batch."""

    def made(encoder, **settings):
        hparams = {
            "freeze": False,
            "random_init": False,
            "freeze_front_end": True,
            "layer_lr_decay": 1.0,
            "hidden_augmentation": None,
            "augmentation": None,
            "head_only_steps": 0,
            "lr": 0.01,
            "encoder_lr": 0.01,
            "opt_class": torch.optim.Adam,
            "checkpointer": Checkpointer(tmp_path),
        } | settings
        pretrained = PretrainedEncoder(encoder, "", 16000)
        head = {"head": nn.Linear(encoder.d_model, 1)}
        brain = Toy.from_hparams(hparams, {}, pretrained, head)
        brain.init_optimizers()
        brain.modules.train()
        return brain

    return made


def batch():
    wavs, _ = speech(8000, 8000)
    return PaddedBatch([{"id": str(i), "sig": wav} for i, wav in enumerate(wavs)])


def update(brain):
    """One update; the names of the encoder's parameters that it changed."""
    encoder = brain.modules.encoder
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    outputs = brain.compute_forward(batch(), Stage.TRAIN)
    brain.compute_objectives(outputs, batch(), Stage.TRAIN).backward()
    brain.optimizer.step()
    after = encoder.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def names_of(encoder, module):
    """Names of a module's parameters within the encoder."""
    inside = {*map(id, module.parameters())}
    return {name for name, p in encoder.named_parameters() if id(p) in inside}


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_front_end_stays_as_it_was_and_in_eval_mode_while_layers_learn(kind, build):
    encoder = ENCODERS[kind]()
    changed = update(build(encoder))
    assert not changed & names_of(encoder, encoder.front[0])
    assert all(changed & names_of(encoder, layer) for layer in encoder.blocks)
    modes = {module.training for module in encoder.front[0].modules()}
    assert modes == {False} and encoder.training and encoder.context.training


def test_a_frozen_front_end_keeps_no_graph(build):
    encoder = ENCODERS["XLS-R"]()
    brain, seen = build(encoder), []
    encoder.front[0].register_forward_hook(lambda *call: seen.append(call[-1].requires_grad))
    brain.compute_forward(batch(), Stage.TRAIN)
    assert seen == [False]


@pytest.mark.parametrize("settings", [{"freeze_front_end": False}, {"random_init": True}])
def test_the_front_end_learns_where_asked_and_where_it_was_never_trained(settings, build):
    encoder = small_encoder()
    changed = update(build(encoder, **settings))
    assert changed & names_of(encoder, encoder.front[0]) and encoder.front[0].training


def test_layers_have_rates_by_depth_that_rise_and_fall_together(build):
    brain = build(small_encoder(), encoder_lr=0.8, layer_lr_decay=0.5, lr=3.0)
    assert sorted(brain.rates) == [0.4, 0.8, 3.0]  # the lower layer, the upper one, the head
    brain.total_steps = 99
    brain.set_rates(5)  # half of the warm-up of 10 updates
    rates = [group["lr"] for group in brain.optimizer.param_groups]
    assert rates == pytest.approx([rate / 2 for rate in brain.rates])


def heard(brain, stage):
    """(B, F, D): what the layers were given."""
    context = brain.modules.encoder.context
    with patch.object(context, "forward", wraps=context.forward) as forward:
        brain.compute_forward(batch(), stage)
    return forward.call_args.args[0]


def spans(dim, length):
    """One span of a fixed length."""
    return SpectrogramDrop(length, length + 1, 1, 1, "zeros", dim)


@pytest.mark.parametrize("kind", ENCODERS)
def test_masks_hide_frames_and_features_in_training_alone(kind, build):
    masks = nn.Sequential(spans(1, 4), spans(2, 6))
    masked, plain = [], []
    for seed in range(5):
        torch.manual_seed(seed)
        brain = build(ENCODERS[kind](), hidden_augmentation=masks)
        hidden = heard(brain, Stage.TRAIN) == 0
        masked.append(hidden)
        plain += [heard(brain, stage) == 0 for stage in (Stage.VALID, Stage.TEST)]
    frames = torch.cat([hidden.all(dim=2).sum(dim=1) for hidden in masked])
    features = torch.cat([hidden.all(dim=1).sum(dim=1) for hidden in masked])
    assert frames.max() == 4 and features.max() == 6  # fewer where a span leaves the end
    assert frames.min() > 0 and features.min() > 0
    assert not torch.stack(plain).any()


def test_masks_wait_until_the_encoder_learns(build):
    brain = build(small_encoder(), hidden_augmentation=spans(1, 4), head_only_steps=2)
    brain.optimizer_step = 1
    assert not (heard(brain, Stage.TRAIN) == 0).any()
    brain.modules.train()
    brain.optimizer_step = 2
    assert (heard(brain, Stage.TRAIN) == 0).any()


def test_masks_leave_no_trace_in_the_encoder(build):
    encoder, latents = small_encoder(), []
    brain = build(encoder, hidden_augmentation=spans(1, 4))
    keys = [*encoder.state_dict()]
    encoder.front_end.register_forward_hook(lambda *call: latents.append(call[-1][0]))
    update(brain)
    assert [*encoder.state_dict()] == keys and not encoder.context._forward_pre_hooks
    assert not (latents[0] == 0).any()  # what the front end gave is not written to


def test_fine_tuning_options_of_a_frozen_encoder_are_told(build, caplog):
    settings = {"freeze": True, "layer_lr_decay": 0.9, "hidden_augmentation": spans(1, 4)}
    with caplog.at_level(logging.WARNING):
        build(small_encoder(), **settings)
    said = "without effect on a frozen encoder: layer_lr_decay, hidden_augmentation; give --freeze"
    assert said in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        build(small_encoder(), freeze=True)
    assert not caplog.text
