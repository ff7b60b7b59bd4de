"""YAMLs that carry a published model's name are that model, at its full size."""

import math

import pytest
import torch
import transformers
from conftest import ROOT
from published_models import CLASSES, save_as_published

from masr_modules.config.settings import load_settings
from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.transformers_export import save_transformers

#: YAML -> configuration of transformers whose defaults are the published model, and millions of
#: parameters as the papers have them, rounded down.
MODELS = {
    "wav2vec2_base": (transformers.Wav2Vec2Config, 95),
    "hubert_base": (transformers.HubertConfig, 94),
    "data2vec_base": (transformers.Data2VecAudioConfig, 93),
}
#: What a configuration says of the training alone.
TRAINING = {"activation_dropout", "feat_proj_dropout", "feat_quantizer_dropout", "layerdrop"}
TRAINING |= {"architectures", "mask_feature_prob", "dtype", "apply_spec_augment", "return_dict"}


def settings(name, keys, **overrides):
    given = {key: "/nowhere" for key in ("data_folder", "train_csv", "valid_csv", "test_csv")}
    path = ROOT / f"hparams/published/{name}.yaml"
    return load_settings(path, given | overrides, only=keys)


def whole(encoder):
    """The state of an encoder under the names of the whole model of transformers."""
    state = encoder.model.state_dict()
    if encoder.head is None:
        return state
    prefix = encoder.head.base_model_prefix
    return {f"{prefix}.{k}": value for k, value in state.items()} | encoder.head.state_dict()


@pytest.mark.parametrize("name", MODELS)
def test_the_network_is_that_of_the_published_configuration(name):
    config, millions = MODELS[name]
    with torch.device("meta"):
        encoder = settings(name, ["encoder"])["encoder"]
        expected = CLASSES[config.model_type](config()).state_dict()
    found = whole(encoder)
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in expected.items()}
    assert sum(p.numel() for p in encoder.parameters()) // 10**6 == millions
    ours, theirs = encoder.model.config.to_dict(), config().to_dict()
    assert {key for key in theirs if ours.get(key) != theirs[key]} <= TRAINING


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_weights_go_to_transformers_and_back_at_full_size(name, tmp_path):
    """From a folder in facebook's layout, through ours, to one that transformers loads whole."""
    config, _ = MODELS[name]
    torch.manual_seed(1)
    model = CLASSES[config.model_type](config())
    expected = {key: value.clone() for key, value in model.state_dict().items()}
    (tmp_path / "theirs").mkdir()
    source = save_as_published(model, tmp_path / "theirs")
    ssl = settings(name, ["ssl"], source=source)["ssl"]
    found = whole(ssl.encoder)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    save_transformers(ssl.encoder, tmp_path / "ours")
    loaded, info = CLASSES[config.model_type].from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert all(torch.equal(v, expected[key]) for key, v in loaded.state_dict().items())
    wavs, lens = 0.1 * torch.randn(1, 16000), torch.ones(1)
    encoder = HuggingFaceEncoder(str(tmp_path / "ours")).eval()
    with torch.no_grad():
        frames = getattr(loaded, loaded.base_model_prefix, loaded).eval()(
            encoder.prepare(wavs, lens).values
        )
        torch.testing.assert_close(
            encoder(wavs, lens)[0][-1], frames.last_hidden_state, atol=1e-5, rtol=1e-5
        )


def linear(warm_up, total, top=0.0005):
    """fairseq's polynomial decay of power 1."""
    up, down = (
        (lambda step: top * step / warm_up),
        (lambda step: (total - step) / (total - warm_up)),
    )
    return lambda step: up(step) if step <= warm_up else top * down(step)


def three_stages(warm_up, decay, total, top=0.0005, scale=0.01):
    """fairseq's tri_stage: a hundredth of the rate at both ends."""

    def rate(step):
        if step < warm_up:
            return top * (scale + (1 - scale) * step / warm_up)
        return top * scale ** (max(0, step - (total - decay)) / decay)

    return rate


RATES = {"wav2vec2_base": linear(32000, 400000), "hubert_base": linear(20000, 250000)}
RATES |= {"data2vec_base": three_stages(12000, 28000, 400000)}  # .03, .9 and .07 of all
STEPS = (1, 1000, 12000, 32000, 100000, 200000, 249999, 372000, 390000, 399999)


@pytest.mark.parametrize("name, rate", RATES.items())
def test_learning_rates_are_the_published_ones(name, rate):
    found = settings(name, ["lr_schedule", "opt_class"])
    optimizer = found["opt_class"]([torch.nn.Parameter(torch.zeros(1))])
    assert type(optimizer) is torch.optim.AdamW
    (group,) = optimizer.param_groups
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.98), 1e-6, 0.01)
    total = found["lr_schedule"].total_steps
    for step in (step for step in STEPS if step < total):
        found["lr_schedule"](optimizer, step)
        assert math.isclose(group["lr"], rate(step), rel_tol=1e-6), step
