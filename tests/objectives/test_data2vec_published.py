"""data2vec as published: its targets, its teacher, its folder."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from published_models import DATA2VEC, save_as_published, theirs
from small_models import small_published, speech
from transformers import AutoModel

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.transformers_export import save_transformers
from masr_modules.objectives.data2vec_published import PublishedData2Vec


def moved(ssl):
    """As after some updates: student and teacher differ everywhere."""
    with torch.no_grad():
        for part in (ssl.encoder, ssl.teacher):
            for parameter in part.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
    return ssl


@pytest.mark.parametrize("training", (True, False))
def test_targets_are_feed_forward_outputs_of_the_averaged_transformer(training):
    """By transformers' own pass with the student's convolutions and the teacher's layers."""
    torch.manual_seed(0)
    ssl = moved(small_published("data2vec")).train(training)
    model = copy.deepcopy(ssl.encoder.model).eval()
    model.encoder.load_state_dict(ssl.teacher.state_dict())
    results = []
    for layer in model.encoder.layers[-2:]:
        layer.feed_forward.register_forward_hook(lambda *passed: results.append(passed[2]))
    wavs, lens = speech(32000, 32000)
    with torch.no_grad():
        model(ssl.encoder.prepare(wavs, lens).values)
    targets = sum(F.instance_norm(part.transpose(1, 2)).transpose(1, 2) for part in results) / 2
    out = ssl(wavs, lens, [1, 2])
    predicted = ssl.regression(out.frames[out.frame_mask])
    error = F.mse_loss(predicted, targets[out.frame_mask], reduction="none").sum(dim=-1)
    expected = error.sum() / math.sqrt(ssl.d_model) / error.numel()  # per masked frame
    torch.testing.assert_close(out.loss, expected, rtol=1e-6, atol=1e-6)


def test_targets_are_normalised_over_valid_frames():
    ssl = moved(small_published("data2vec")).eval()
    wavs, lens = speech(32000, 16000)
    masked = ssl.masked_pass(wavs, lens, [1, 2])
    targets = ssl._targets(masked)
    count = masked.inputs.frame_lens[1]
    assert targets[1, :count].mean(dim=0).abs().max() < 1e-5
    assert not targets[1, count:].any() and targets[1, :count].std() > 0.5


def test_the_teacher_is_the_average_of_the_layers_and_a_copy_of_the_positions():
    ssl = small_published("data2vec", decay=(0.5, 1.0), decay_steps=4)
    before = {name: value.clone() for name, value in ssl.teacher.state_dict().items()}
    moved(ssl)
    ssl.teacher.load_state_dict(before)
    ssl.after_step(2)  # decay .75
    student = ssl.encoder.model.encoder.state_dict()
    for name, value in ssl.teacher.state_dict().items():
        expected = 0.75 * before[name] + 0.25 * student[name]
        if name.startswith("pos_conv_embed"):
            expected = student[name]
        torch.testing.assert_close(value, expected, msg=name)
    assert not any(name.startswith("feature") for name in ssl.teacher.state_dict())


def test_the_teacher_has_no_dropout_drops_no_layer_and_is_not_trained():
    ssl = small_published("data2vec", config=DATA2VEC | {"hidden_dropout": 0.5}, layerdrop=0.5)
    wavs, lens = speech(32000)
    found = [ssl.train()._targets(ssl.masked_pass(wavs, lens, [1])) for _ in range(3)]
    assert torch.equal(found[0], found[1]) and torch.equal(found[1], found[2])
    assert not any(parameter.requires_grad for parameter in ssl.teacher.parameters())


def test_it_has_as_many_layers_as_are_averaged():
    with pytest.raises(ValueError, match="top_layers is 8: choose 1 to num_layers, 3"):
        PublishedData2Vec(HuggingFaceEncoder(config=DATA2VEC))


def test_folders_go_both_ways(tmp_path):
    model = theirs(DATA2VEC)
    (tmp_path / "theirs").mkdir()
    source = save_as_published(model, tmp_path / "theirs")
    encoder = HuggingFaceEncoder(source, config=DATA2VEC)
    save_transformers(encoder, tmp_path / "ours")
    loaded, info = AutoModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert type(loaded) is type(model)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in loaded.state_dict().items())
