"""What each family of transformers does with padding, and which models are not taken."""

import json

import pytest
import torch
import transformers
from hf_models import CONV, LAYER, MODELS, SMALL, save_small
from small_models import speech

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.transformers_files import FAMILIES

FAMILY_NAMES = [*MODELS, "whisper"]


def load(name, tmp_path, **options):
    torch.manual_seed(3)
    encoder = HuggingFaceEncoder(save_small(name, tmp_path), **options).eval()
    for value in encoder.parameters():  # biases start at 0, where leaks do not show
        value.data += 0.05 * torch.randn_like(value)
    return encoder


def say(folder, **values):
    """Changes what a folder's config.json says; None removes a key."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | values
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def difference(found, expected):
    """Of all layers, the largest part of the largest."""
    pairs = zip(found, expected, strict=True)
    return max((a - b).abs().max() / b.abs().max() for a, b in pairs).item()


def test_each_family_has_a_small_model(tmp_path):
    kinds = {
        json.loads((tmp_path / name / "config.json").read_text())["model_type"]
        for name in FAMILY_NAMES
        if save_small(name, tmp_path / name)
    }
    assert kinds == FAMILIES.keys()


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_padding_changes_frames_only_where_the_encoder_says_so(name, tmp_path):
    encoder = load(name, tmp_path)
    wavs, lens = speech(24000, 15000)
    with torch.no_grad():
        alone, counts = encoder(wavs[1:, :15000], torch.ones(1))
        together, _ = encoder(wavs, lens)  # grouped by length where it is sensitive
        padded, _ = encoder._layers(wavs, lens)  # never grouped

    def cut(layers):
        return [layer[1:, : int(counts)] for layer in layers]

    assert difference(cut(together), alone) < 5e-6
    assert (difference(cut(padded), alone) > 1e-4) is encoder.padding_sensitive


def test_the_padded_frames_of_a_grouped_batch_are_in_their_rows(tmp_path):
    encoder = load("hubert", tmp_path)
    wavs, lens = speech(9000, 16000, 9000, 12000)
    with torch.no_grad():
        layers, counts = encoder(wavs, lens)
        for row, samples in enumerate((9000, 16000, 9000, 12000)):
            (alone, *_), (count,) = encoder(wavs[row : row + 1, :samples], torch.ones(1))
            torch.testing.assert_close(layers[0][row, :count], alone[0], atol=1e-5, rtol=1e-5)
            assert counts[row] == count and not layers[0][row, count:].any()


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_what_lies_before_the_layers(name, tmp_path):
    """What is frozen or slowed with the front is reached by no layer's output."""
    encoder = load(name, tmp_path)
    layers, _ = encoder(*speech(16000))
    layers[0].sum().backward()  # the input of the first layer
    reached = {n for n, p in encoder.model.named_parameters() if p.grad is not None}
    front = {p for module in encoder.front for p in module.parameters()}
    names = {n for n, p in encoder.model.named_parameters() if p in front}
    assert names - {"masked_spec_embed"} == reached - {"masked_spec_embed"}


def test_a_squeezed_model_is_refused_with_the_reason(tmp_path):
    config = transformers.SEWConfig(**SMALL, conv_dim=(8,) * 13)
    transformers.SEWModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a 'sew' model: its layers run on frames that are sq"):
        HuggingFaceEncoder(str(tmp_path))


def test_quantised_weights_are_refused(tmp_path):
    source = save_small("wavlm", tmp_path)
    say(tmp_path, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    with pytest.raises(ValueError, match="its weights are quantised, which cannot be trained on"):
        HuggingFaceEncoder(source)


@pytest.fixture
def offline(monkeypatch):
    """Any connection is a failure."""

    def connect(*_, **__):
        raise AssertionError("asked the network")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("huggingface_hub.file_download.hf_hub_download", connect)
    monkeypatch.setattr("huggingface_hub.snapshot_download", connect)


@pytest.mark.parametrize("name", ["wav2vec2 without head", "whisper", "wav2vec2-bert"])
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_attention_of_the_hub_is_refused_before_anything_is_fetched(name, key, tmp_path, offline):
    source = save_small(name, tmp_path)
    say(tmp_path, **{key: "kernels-community/flash-attn2"})
    with pytest.raises(ValueError, match="asks for the attention 'kernels-community/flash-attn2'"):
        HuggingFaceEncoder(source)
    config = HuggingFaceEncoder(save_small(name, tmp_path)).described
    with pytest.raises(ValueError, match="asks for the attention 'kernels-community/flash-attn2'"):
        HuggingFaceEncoder(config=config | {key: "kernels-community/flash-attn2"})


@pytest.mark.parametrize("model_type", ["wav2vec2", "theirs"])
@pytest.mark.parametrize("described", [False, True])
def test_code_that_a_configuration_names_does_not_run(model_type, described, tmp_path, offline):
    source = save_small("wav2vec2 without head", tmp_path / "m")
    auto_map = {name: f"theirs.{name}" for name in ("AutoConfig", "AutoModel")}
    auto_map |= {"AutoModelForPreTraining": "theirs.AutoModel"}
    code = (
        f"open({str(tmp_path / 'HACKED')!r}, 'w')\nclass AutoConfig: pass\nAutoModel = AutoConfig"
    )
    (tmp_path / "m/theirs.py").write_text(code)
    config = HuggingFaceEncoder(source).described
    say(tmp_path / "m", model_type=model_type, auto_map=auto_map)
    stranger = {"model_type": model_type, "auto_map": auto_map, "custom_pipelines": auto_map}
    given = {"config": config | stranger} if described else {"source": source}
    if model_type == "theirs":
        with pytest.raises(ValueError, match="theirs|contains custom code"):
            HuggingFaceEncoder(**given)
    else:
        HuggingFaceEncoder(**given)(*speech(16000))
    assert not (tmp_path / "HACKED").exists()


def test_the_convolution_that_a_conformer_never_runs_is_not_trained(tmp_path):
    encoder = load("wav2vec2-conformer", tmp_path)
    frozen = {n for n, p in encoder.model.named_parameters() if not p.requires_grad}
    assert frozen and all(name.startswith("encoder.pos_conv_embed.") for name in frozen)


@pytest.mark.parametrize("norm", [{}, {"feat_extract_norm": "group"}])
def test_normalisation_of_waveforms_is_as_the_preprocessor_says(norm, tmp_path):
    config = transformers.UniSpeechSatConfig(**SMALL, **CONV | LAYER | norm)
    transformers.UniSpeechSatModel(config).save_pretrained(tmp_path)
    encoder = HuggingFaceEncoder(str(tmp_path))  # without one, as such models were trained
    assert encoder.normalize is not bool(norm)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=bool(norm)).save_pretrained(tmp_path)
    assert HuggingFaceEncoder(str(tmp_path)).normalize is bool(norm)
