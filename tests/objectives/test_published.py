"""Masks and layers of the published methods; wav2vec 2.0's loss is that of transformers."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from published_models import DATA2VEC, HUBERT, WAV2VEC2, save_as_published, theirs
from small_models import small_published, speech
from transformers import AutoModelForPreTraining
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.transformers_export import save_transformers
from masr_modules.objectives.contrastive import quantize, sample_distractors
from masr_modules.objectives.masking import overlapping_span_mask
from masr_modules.objectives.wav2vec2_published import PublishedWav2Vec2

#: Without what is drawn in training beside masks.
STILL = {"layerdrop": 0.0, "feature_grad": 1.0}


def small(config=WAV2VEC2, **options):
    torch.manual_seed(0)
    encoder = HuggingFaceEncoder(config=config, pretraining_head=True)
    return PublishedWav2Vec2(encoder, **options)


def share_and_runs(rows):
    """Mean fraction of masked frames, and the masked runs' lengths."""
    rows = np.asarray(rows)
    runs = [len([*run]) for row in rows for masked, run in itertools.groupby(row) if masked]
    return rows.mean(), runs


@pytest.mark.parametrize("prob", (0.65, 0.8))
@pytest.mark.parametrize("frames", (50, 100, 500))
def test_masks_are_distributed_as_those_of_transformers(frames, prob):
    count = 200_000 // frames
    lens = torch.full((count,), frames)
    ours = overlapping_span_mask(lens, frames, prob, 10, seeds=[*range(count)]).frames
    np.random.seed(0)
    # One call each: within a call all utterances round their number of spans alike.
    expected = [_compute_mask_indices((1, frames), prob, 10, min_masks=2)[0] for _ in range(count)]
    (share, runs), (their_share, their_runs) = share_and_runs(ours), share_and_runs(expected)
    assert share == pytest.approx(their_share, rel=0.02)
    assert np.mean(runs) == pytest.approx(np.mean(their_runs), rel=0.02)
    assert min(runs) == min(their_runs) == 10  # spans overlap or touch, and none is cut


def test_of_fifteen_seconds_as_much_is_masked_as_the_paper_says():
    """Section 4.2: 49 % of all frames, in runs of 14.7 on average."""
    mask = overlapping_span_mask(torch.full((1000,), 750), 750, 0.65, 10, seeds=[*range(1000)])
    share, runs = share_and_runs(mask.frames)
    assert share == pytest.approx(0.49, abs=0.01) and np.mean(runs) == pytest.approx(14.7, abs=0.3)


@pytest.mark.parametrize(
    "length, masked", [(9, {0}), (10, {10}), (19, {10}), (20, {*range(11, 21)})]
)
def test_short_utterances_have_the_spans_that_they_have_room_for(length, masked):
    lens = torch.tensor([length, 100])
    found = {
        int(overlapping_span_mask(lens, 100, 0.65, 10, seeds=[seed, 0]).frames[0].sum())
        for seed in range(100)
    }
    assert found <= masked


def test_a_batch_without_room_for_a_span_is_refused():
    with pytest.raises(ValueError, match="nothing to mask: the longest of 2 .* has 9 frames"):
        overlapping_span_mask(torch.tensor([9, 5]), 9, 0.65, 10)


def test_the_quantizer_gives_what_transformers_gives():
    quantizer = theirs(WAV2VEC2).quantizer
    latents = torch.randn(40, 8)
    for training in (True, False):
        quantizer.train(training).temperature = 0.7
        torch.manual_seed(1)
        expected, their_perplexity = quantizer(latents[None])
        torch.manual_seed(1)
        codes, perplexity = quantize(quantizer, latents, torch.tensor(0.7))
        torch.testing.assert_close(codes, expected[0])
        torch.testing.assert_close(perplexity, their_perplexity)


def most_likely(logits, tau, hard):
    """A Gumbel softmax without noise: as many draws as frames would differ."""
    soft = (logits / tau).softmax(dim=-1)
    return F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).float() + soft - soft.detach()


@pytest.mark.parametrize("training", (True, False))
def test_loss_and_gradients_are_those_of_transformers(training, monkeypatch):
    """Beside the penalty, which transformers leaves out; of a sum, where ours is a mean."""
    monkeypatch.setattr(F, "gumbel_softmax", most_likely)
    ssl = small(penalty_weight=0.0, **STILL).train(training)
    model = theirs(WAV2VEC2).train(training)
    model.config.layerdrop = 0.0
    save = dict(ssl.encoder.head.state_dict())
    model.load_state_dict(
        save | {f"wav2vec2.{key}": value for key, value in ssl.encoder.model.state_dict().items()}
    )
    wavs, lens = speech(32000, 24000)
    drawn = []
    monkeypatch.setattr(
        "masr_modules.objectives.contrastive.sample_distractors",
        lambda mask, num: drawn.append((mask, sample_distractors(mask, num))) or drawn[0][1],
    )
    out = ssl(wavs, lens, [1, 2])
    ((mask, indices),) = drawn
    negatives = torch.zeros(*mask.frames.shape, 10, dtype=torch.long)
    negatives.view(-1, 10)[mask.places] = mask.places[indices].T
    inputs = ssl.encoder.prepare(wavs, lens)
    expected = model(
        inputs.values, inputs.attention_mask, mask.frames, sampled_negative_indices=negatives
    )
    masked = mask.frames.sum()
    torch.testing.assert_close(out.loss, expected.loss / masked, rtol=1e-6, atol=1e-6)
    out.loss.backward()
    (expected.loss / masked).backward()
    ours = dict(ssl.encoder.head.named_parameters())
    ours |= {f"wav2vec2.{name}": value for name, value in ssl.encoder.model.named_parameters()}
    for name, value in model.named_parameters():
        found = ours.pop(name).grad
        if value.grad is None:
            assert found is None or not found.any(), name
        else:
            torch.testing.assert_close(found, value.grad, rtol=1e-4, atol=1e-6, msg=name)
    assert not ours


def test_the_penalty_is_the_mean_square_of_the_convolutions_on_utterances_alone():
    ssl = small(penalty_weight=10.0, **STILL).eval()
    wavs, lens = speech(32000, 16000)
    penalty = ssl(wavs, lens, [1, 2]).stats["feature_penalty"]
    latents = ssl.encoder.model.feature_extractor(ssl.encoder.prepare(wavs, lens).values)
    counts = ssl.encoder.prepare(wavs, lens).frame_lens.tolist()
    valid = torch.cat(
        [row[:, :count].flatten() for row, count in zip(latents, counts, strict=True)]
    )
    torch.testing.assert_close(penalty, valid.square().mean())
    ssl.penalty_weight = 0.0
    torch.manual_seed(3)
    bare = ssl(wavs, lens, [1, 2]).loss
    ssl.penalty_weight = 10.0
    torch.manual_seed(3)
    loss = ssl(wavs, lens, [1, 2]).loss
    torch.testing.assert_close(loss - bare, 10 * penalty)


def test_the_gradient_of_the_convolutions_is_a_tenth():
    gradients = []
    for factor in (1.0, 0.1):
        ssl = small(layerdrop=0.0, feature_grad=factor).train()
        torch.manual_seed(5)
        ssl(*speech(32000), [1]).loss.backward()
        gradients.append({name: p.grad for name, p in ssl.named_parameters()})
    for name, whole in gradients[0].items():
        factor = 0.1 if "feature_extractor" in name else 1.0
        torch.testing.assert_close(gradients[1][name], factor * whole, msg=name)


def test_layers_are_dropped_in_training_alone_and_each_has_a_gradient():
    ssl = small(layerdrop=0.5).train()
    wavs, lens = speech(32000)
    skipped = []
    for _ in range(40):
        out = ssl(wavs, lens, [1])
        assert len(out.layers) == 4
        skipped += [torch.equal(a, b) for a, b in itertools.pairwise(out.layers)]
    assert 0.35 < np.mean(skipped) < 0.65
    ssl(wavs, lens, [1]).loss.backward()
    assert all(p.grad is not None for p in ssl.parameters())
    layers = ssl.eval()(wavs, lens, [1]).layers
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(layers))


def test_dropout_comes_before_masks():
    ssl = small(WAV2VEC2 | {"feat_proj_dropout": 0.9}, **STILL).train()
    heard = []
    ssl.encoder.model.encoder.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    out = ssl(*speech(32000), [1])
    masked = heard[0][out.frame_mask]
    assert torch.equal(masked, ssl.encoder.model.masked_spec_embed.expand_as(masked))
    assert (heard[0][~out.frame_mask] == 0).float().mean() > 0.8


def test_the_temperature_falls_and_is_kept():
    ssl = small(temperature=(2.0, 0.5, 0.9))
    ssl.after_step(2)
    assert ssl.state_dict()["temperature"].item() == pytest.approx(1.62)
    ssl.after_step(1000)
    assert ssl.temperature.item() == 0.5


def test_a_folder_in_the_published_layout_is_a_start(tmp_path):
    model = theirs(WAV2VEC2 | {"layerdrop": 0.3})
    source = save_as_published(model, tmp_path)
    encoder = HuggingFaceEncoder(source, config=WAV2VEC2, pretraining_head=True)
    found = {f"wav2vec2.{key}": value for key, value in encoder.model.state_dict().items()}
    found |= encoder.head.state_dict()
    expected = model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)
    assert encoder.starts_trained and encoder.normalize  # as its preprocessor says


def test_what_is_saved_is_a_folder_in_the_published_layout(tmp_path):
    encoder = small(WAV2VEC2 | {"layerdrop": 0.05}).encoder
    save_transformers(encoder, tmp_path)
    model, info = AutoModelForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(model) is type(theirs(WAV2VEC2)) and model.config.layerdrop == 0.05
    expected = encoder.model.state_dict() | encoder.head.state_dict()
    for key, value in model.state_dict().items():
        assert torch.equal(value, expected[key.removeprefix("wav2vec2.")]), key
    again = HuggingFaceEncoder(str(tmp_path), config=WAV2VEC2, pretraining_head=True)
    assert again.state_dict().keys() == encoder.state_dict().keys()


def test_an_encoder_alone_gets_a_head(tmp_path, caplog):
    theirs(WAV2VEC2).wav2vec2.save_pretrained(tmp_path)
    encoder = HuggingFaceEncoder(str(tmp_path), config=WAV2VEC2, pretraining_head=True)
    assert "its pretraining head lacks" in caplog.text and "drawn at random" in caplog.text
    assert torch.isfinite(PublishedWav2Vec2(encoder)(*speech(32000), [1]).loss)


def test_another_network_is_refused(tmp_path):
    source = save_as_published(theirs(WAV2VEC2 | {"num_hidden_layers": 2}), tmp_path)
    with pytest.raises(ValueError, match="another network: it has num_hidden_layers 2, where .* 3"):
        HuggingFaceEncoder(source, config=WAV2VEC2)
    with pytest.raises(ValueError, match="needs an encoder with pretraining_head: true"):
        PublishedWav2Vec2(HuggingFaceEncoder(config=WAV2VEC2))


@pytest.mark.parametrize("name", ("wav2vec2", "hubert", "data2vec"))
def test_projection_and_positions_are_drawn_as_published(name):
    """fairseq: uniform up to 1 / root of the inputs; normal of variance 4 / (kernel * width)."""
    config = {"wav2vec2": WAV2VEC2, "hubert": HUBERT, "data2vec": DATA2VEC}[name]
    model = small_published(name, config | {"hidden_size": 64}).encoder.model
    projection = model.feature_projection.projection  # of 8 inputs
    for values in (projection.weight, projection.bias):
        assert 0.9 / 8**0.5 < values.abs().max() <= 1 / 8**0.5
    positions = model.encoder.pos_conv_embed
    if name == "data2vec":  # torch's default: uniform up to 1 / root of 19 * 32 inputs of a group
        bound = (19 * 32) ** -0.5
        assert all(0.99 * bound < c.conv.weight.abs().max() <= bound for c in positions.layers)
        return
    assert positions.conv.weight.std().item() == pytest.approx(2 / (128 * 64) ** 0.5, rel=0.02)
    assert not positions.conv.bias.any()
