"""Rates by depth: each parameter that learns is in one group, and lower ones have lower rates."""

import pytest
from small_models import small_encoder, small_huggingface, small_wave_transformer

from masr_modules.training.layer_rates import depth_groups


def rates(encoder, decay, lr=1.0):
    """Name -> rate, of all that learns."""
    name_of = {parameter: name for name, parameter in encoder.named_parameters()}
    groups = depth_groups(encoder, lr, decay)
    found = [(name_of[p], group["lr"]) for group in groups for p in group["params"]]
    assert len(found) == len(dict(found)), "a parameter is in two groups"
    return dict(found)


def rates_below(found, prefix):
    """The rates of a module's parameters."""
    return {rate for name, rate in found.items() if name.startswith(prefix)}


def test_each_layer_has_the_rate_of_the_one_above_times_the_decay():
    encoder = small_encoder(num_layers=3)
    found = rates(encoder, 0.5, lr=0.8)
    assert found.keys() == dict(encoder.named_parameters()).keys()
    assert rates_below(found, "context.norm") == {0.8}
    assert rates_below(found, "context.layers.2") == {0.8}
    assert rates_below(found, "context.layers.1") == {0.4}
    assert rates_below(found, "context.layers.0") == {0.2}
    assert rates_below(found, "front_end") == {0.1}


@pytest.mark.parametrize(
    "name, bottom, top",
    [
        ("xls_r", ["feature_extractor", "encoder.pos_conv_embed"], ["encoder.layer_norm"]),
        ("wav2vec2", ["feature_extractor", "encoder.layer_norm"], []),  # it is before the layers
        ("hubert", ["feature_extractor", "feature_projection"], []),
        ("wavlm", ["feature_extractor", "feature_projection"], ["encoder.layer_norm"]),
        ("wav2vec2-bert", ["feature_projection"], []),
    ],
)
def test_depth_in_models_of_transformers(name, bottom, top):
    encoder = small_huggingface(name).encoder
    found = rates(encoder, 0.5)
    assert rates_below(found, "model.encoder.layers.1.") == {1.0}
    assert rates_below(found, "model.encoder.layers.0.") == {0.5}
    assert {rate for part in bottom for rate in rates_below(found, f"model.{part}.")} == {0.25}
    assert all(rates_below(found, f"model.{part}.") == {1.0} for part in top)


def test_without_decay_there_is_one_group_in_the_order_of_the_encoder():
    encoder = small_wave_transformer()
    (group,) = depth_groups(encoder, 0.3, 1.0)
    assert group["lr"] == 0.3
    assert [*map(id, group["params"])] == [*map(id, encoder.parameters())]


def test_what_does_not_learn_is_in_no_group():
    encoder = small_encoder()
    encoder.front_end.requires_grad_(False)
    assert rates_below(rates(encoder, 0.5), "front_end") == set()


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.1, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match="layer_lr_decay is .*: choose a number above 0"):
        depth_groups(small_encoder(), 0.1, decay)
