"""Whisper's encoder at the utterance's own length, beside transformers' pass over 30 s."""

import pytest
import torch
import transformers
from hf_models import padded_whisper, save_whisper
from small_models import speech

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.whisper import WhisperLogMel
from masr_modules.objectives.huggingface import HuggingFaceSSL


@pytest.fixture
def load(tmp_path):
    """A small Whisper whose biases are not zero, as options make it."""

    def loaded(**options):
        encoder = HuggingFaceEncoder(save_whisper(tmp_path / "model"), **options)
        torch.manual_seed(3)
        for value in encoder.parameters():
            value.data += 0.05 * torch.randn_like(value)
        return encoder.eval()

    return loaded


def frames(encoder, *batch):
    """All layers, of each utterance its own frames."""
    with torch.no_grad():
        layers, counts = encoder(*batch)
    return [[layer[row, :n] for layer in layers] for row, n in enumerate(counts.tolist())]


def assert_same(found, expected):
    """Within a millionth of the largest."""
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 2e-6 * b.abs().max()


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("samples", [400, 4001, 16000, 23456, 100_000])
def test_log_mel_is_that_of_transformers(n_mels, samples):
    (wav,), _ = speech(samples)
    extractor = transformers.WhisperFeatureExtractor(feature_size=n_mels)
    expected = extractor(wav.numpy(), sampling_rate=16000, return_tensors="pt").input_features
    found = WhisperLogMel(n_mels)(wav[None], torch.tensor([samples])).transpose(1, 2)
    assert found.shape[2] == 2 * -(-samples // 320) + 4
    assert (found - expected[:, :, : found.shape[2]]).abs().max() <= 1e-6


def test_log_mel_of_a_padded_utterance_hears_no_padding():
    wavs, lens = speech(16000, 9000)  # padded with noise
    together = WhisperLogMel(80)(wavs, torch.tensor([16000, 9000]))
    alone = WhisperLogMel(80)(wavs[1:, :9000], torch.tensor([9000]))
    assert torch.equal(together[1, : alone.shape[1]], alone[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_another_precision_hears_the_same_features(load, dtype):
    encoder, (wavs, lens) = load(), speech(16000, 9000)
    expected, before = encoder.prepare(wavs, lens).values, frames(encoder, wavs, lens)
    encoder.to(dtype)
    assert torch.equal(encoder.prepare(wavs, lens).values, expected)
    for found, wanted in zip(frames(encoder, wavs, lens), before, strict=True):
        assert found[-1].dtype == dtype
        alike = torch.cosine_similarity(found[-1].float().flatten(), wanted[-1].flatten(), dim=0)
        assert alike > 0.99


def test_frames_of_an_utterance_do_not_depend_on_the_batch(load):
    encoder = load()
    assert not encoder.padding_sensitive
    wavs, lens = speech(16000, 9000, 11111)
    together = frames(encoder, wavs, lens)
    for row, count in enumerate((16000, 9000, 11111)):
        (alone,) = frames(encoder, wavs[row : row + 1, :count], torch.ones(1))
        assert len(alone[0]) == -(-count // 320)
        assert_same(together[row], alone)


@pytest.mark.parametrize("samples", [8000, 31999])
def test_it_is_the_padded_form_without_attention_to_silence(load, samples):
    encoder = load()
    wavs, lens = speech(samples)
    (found,) = frames(encoder, wavs, lens)
    expected = padded_whisper(encoder.model.encoder, wavs[0], -(-samples // 320))
    assert_same(found, [layer[0] for layer in expected])


def test_what_is_longer_than_30_seconds_is_heard_in_windows(load):
    encoder = load()
    whole = 30 * 16000
    wavs, lens = speech(whole + 16000)
    (found,) = frames(encoder, wavs, lens)
    assert len(found[0]) == 1550 and len(found) == 3
    # The second window is heard as an utterance of those features: positions begin again.
    inputs = encoder.prepare(wavs, lens)
    nothing = torch.zeros(1, 50, dtype=torch.bool)
    with torch.no_grad():
        second = encoder.model(inputs.values[:, 3000:], torch.ones(1, 50), nothing)
    assert_same([layer[1500:] for layer in found], [x[0] for x in second.hidden_states])


def test_windows_do_not_depend_on_the_batch(load):
    encoder = load()
    wavs, lens = speech(31 * 16000, 30 * 16000, 30 * 16000 + 160)
    together = frames(encoder, torch.cat([wavs, torch.randn(3, 16000)], dim=1), lens * 31 / 32)
    for row, count in enumerate((31 * 16000, 30 * 16000, 30 * 16000 + 160)):
        (alone,) = frames(encoder, wavs[row : row + 1, :count], torch.ones(1))
        assert_same(together[row], alone)


def test_a_long_utterance_beside_a_short_one(load):
    encoder = load()
    wavs, lens = speech(31 * 16000, 2 * 16000)
    long, short = frames(encoder, wavs, lens)
    assert [len(long[0]), len(short[0])] == [1550, 100]
    assert all(layer.isfinite().all() for layer in (*long, *short))
    (alone,) = frames(encoder, wavs[1:, : 2 * 16000], torch.ones(1))
    assert_same(short, alone)
    loss = HuggingFaceSSL(encoder.train(), codebook_size=16)(wavs, lens, [1, 2]).loss
    loss.backward()  # a window without any frame is in this batch
    grads = [p.grad for p in encoder.parameters() if p.grad is not None]
    assert grads and all(grad.isfinite().all() for grad in grads)


def test_a_masked_frame_is_hidden_from_all(load):
    encoder = load()
    wavs, lens = speech(16000)
    inputs = encoder.prepare(wavs, lens)
    hidden = torch.zeros(1, inputs.num_frames, dtype=torch.bool)
    hidden[:, 10:20] = True
    other = inputs.values.clone()
    other[:, 22:38] += 1.0  # what frames 11 to 18 alone hear: 2 n - 2 to 2 n + 2
    changed = type(inputs)(other, *list(vars(inputs).values())[1:])
    with torch.no_grad():
        expected, found = (encoder.run(x, hidden).hidden_states for x in (inputs, changed))
        seen = encoder.run(changed, torch.zeros_like(hidden)).hidden_states
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not torch.equal(seen[0][0, 15], expected[0][0, 15])
    position = encoder.model.encoder.embed_positions.weight[15]
    torch.testing.assert_close(expected[0][0, 15], encoder.model.masked_spec_embed + position)


def test_gradient_checkpointing_changes_no_gradient(load):
    gradients = []
    for value in (False, True):
        encoder = load(gradient_checkpointing=value)
        torch.manual_seed(4)
        ssl = HuggingFaceSSL(encoder, codebook_size=16).train()
        ssl(*speech(16000, 12000), [1, 2]).loss.backward()
        gradients.append({n: p.grad for n, p in encoder.named_parameters() if p.requires_grad})
    assert encoder.model.encoder.layers[0].gradient_checkpointing
    plain, saving = gradients
    for name, expected in plain.items():
        torch.testing.assert_close(saving[name], expected, msg=name)


def test_lora_adapts_the_layers_and_nothing_else(load):
    encoder = load(trainable="lora", lora_rank=2)
    adapted = {n.split(".lora_")[0] for n, _ in encoder.named_parameters() if ".lora_" in n}
    maps = ("q_proj", "k_proj", "v_proj", "out_proj")
    assert adapted == {
        f"model.encoder.layers.{layer}.self_attn.{name}" for layer in range(2) for name in maps
    }
    trained = {n for n, p in encoder.named_parameters() if p.requires_grad and ".lora_" not in n}
    assert trained == {"model.masked_spec_embed"}


def test_frozen_layers_are_the_first_and_the_convolutions(load):
    encoder = load(frozen_layers=1)
    frozen = {n for n, p in encoder.model.named_parameters() if not p.requires_grad}
    below = ("encoder.conv1.", "encoder.conv2.", "encoder.layers.0.", "encoder.embed_positions.")
    assert {n for n, _ in encoder.model.named_parameters() if n.startswith(below)} == frozen


def test_an_untrained_one_is_built_from_the_configuration_alone(load):
    encoder = load()
    again = HuggingFaceEncoder(config=encoder.described).eval()
    again.load_state_dict(encoder.state_dict())
    wavs, lens = speech(16000)
    assert_same(frames(again, wavs, lens)[0], frames(encoder, wavs, lens)[0])


def test_a_preprocessor_of_other_features_is_refused(tmp_path):
    source = save_whisper(tmp_path)
    transformers.WhisperFeatureExtractor(feature_size=40).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"preprocessor_config.json says \[40, 160, 400\]"):
        HuggingFaceEncoder(source)
