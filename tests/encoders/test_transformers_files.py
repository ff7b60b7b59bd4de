"""Checkpoints of transformers: what each family does with padding, and what is refused.

A folder, and a configuration, may have been written by someone to do harm.
"""

import json
import logging

import pytest
import torch
import transformers
from hf_models import CONV, LAYER, MODELS, SMALL, save_small, save_whisper
from run_folder import make_run
from small_models import speech

from masr_modules.encoders import registry
from masr_modules.encoders.conformer import SpeechEncoder
from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.pretrained import build_encoder, describe_encoder, load_encoder
from masr_modules.encoders.transformers_files import FAMILIES

FAMILY_NAMES = [*MODELS, "whisper"]


def say(folder, **values):
    """Changes what a folder's config.json says."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def load(name, tmp_path, **options):
    torch.manual_seed(3)
    encoder = HuggingFaceEncoder(save_small(name, tmp_path), **options).eval()
    for value in encoder.parameters():  # biases start at 0, where leaks do not show
        value.data += 0.05 * torch.randn_like(value)
    return encoder


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


PLAIN = "wav2vec2 without head"
#: A key of a configuration, and a value of a wrong kind or size.
UNFIT = [
    ("hidden_size", "wide"),
    ("hidden_size", None),
    ("hidden_size", -1),
    ("hidden_size", 0),
    ("hidden_size", 31),
    ("hidden_size", 2**40),
    ("hidden_dropout", "some"),
    ("num_attention_heads", 0),
    ("num_attention_heads", 3),
    ("num_hidden_layers", [1]),
    ("num_hidden_layers", 10**6),
    ("num_feat_extract_layers", 10**6),
    ("num_conv_pos_embeddings", 0),
    ("num_conv_pos_embeddings", 2**20),
    ("num_labels", 2**20),
    ("conv_dim", []),
    ("conv_dim", [-1] * 7),
    ("conv_dim", [[2**40]] * 7),
    ("conv_kernel", [0] * 7),
    ("hidden_act", "none of these"),
    ("layerdrop", "a"),
    ("attribute_map", 3),
    ("to_dict", 3),
    ("dtype", "os.system"),
    ("model_type", 3),
    ("model_type", ["wav2vec2"]),
    ("model_type", "theirs"),
    ("model_type", "bert"),
    ("a_list", [3] * 10**4),
    ("task_specific_params", {"a": {"b": [2**40]}}),
]


def described(config):
    """A stranger's hyperparams.yaml with that configuration."""
    part = registry.Part("masr_modules.encoders.huggingface.HuggingFaceEncoder", {"config": config})
    return f"sample_rate: 16000\nencoder: {registry.write(part)}\n"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """What HuggingFaceEncoder says of itself."""
    return HuggingFaceEncoder(save_small(PLAIN, tmp_path_factory.mktemp("model"))).described


@pytest.mark.parametrize("key, value", UNFIT)
def test_values_of_a_wrong_kind_or_size_name_the_folder(key, value, tmp_path):
    source = save_small(PLAIN, tmp_path / "model")
    say(tmp_path / "model", **{key: value})
    with pytest.raises(ValueError, match=f"^{source}"):
        HuggingFaceEncoder(source)


@pytest.mark.parametrize("key, value", UNFIT)
def test_values_of_a_wrong_kind_or_size_in_a_description(key, value, config):
    with pytest.raises(ValueError, match="^hyperparams.yaml: "):
        build_encoder(describe_encoder(described(config | {key: value})))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_numbers_that_are_none(value, config, tmp_path):
    source = save_small(PLAIN, tmp_path)
    say(tmp_path, layer_norm_eps=value)
    with pytest.raises(ValueError, match="config.json says layer_norm_eps: .*; no model has"):
        HuggingFaceEncoder(source)
    # NaN is written as YAML knows it.
    text = described(config | {"layer_norm_eps": 0.125}).replace("0.125", f".{value}"[:4])
    with pytest.raises(ValueError, match="hyperparams.yaml"):
        describe_encoder(text if value != 1e30 else described(config | {"layer_norm_eps": value}))


def test_a_model_type_that_no_speech_encoder_has_is_named(config):
    for kind in ("theirs", None, "bert", "sew"):
        with pytest.raises(ValueError, match=f"is a '?{kind}'? model"):
            build_encoder(describe_encoder(described(config | {"model_type": kind})))


def test_sizes_that_each_may_have_and_together_none(config):
    sizes = {"hidden_size": 65536, "intermediate_size": 65536, "num_hidden_layers": 500}
    with pytest.raises(ValueError, match="hyperparams.yaml: .* parameters, which do not fit"):
        build_encoder(describe_encoder(described(config | sizes)))


def test_a_description_that_is_nested_deep(config, tmp_path):
    deep = "[" * 50 + "]" * 50
    text = described(config | {"layer_norm_eps": 0.125}).replace("0.125", deep)
    with pytest.raises(ValueError, match="hyperparams.yaml: .* is deeper than 8"):
        describe_encoder(text)
    source = save_small(PLAIN, tmp_path)
    path = tmp_path / "config.json"
    for inside in ("[" * 10**5 + "]" * 10**5, '{"a":' * 10**5 + "1" + "}" * 10**5):
        path.write_text(path.read_text().rstrip()[:-1] + f', "deep": {inside}}}')
        with pytest.raises((ValueError, OSError), match=str(tmp_path)):
            HuggingFaceEncoder(source)
        save_small(PLAIN, tmp_path)


def test_a_configuration_that_is_no_json_or_no_mapping(tmp_path):
    source = save_small(PLAIN, tmp_path)
    for text in ("{", "", "[]", "3", "null", "\x00"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises((ValueError, OSError), match=str(tmp_path)):
            HuggingFaceEncoder(source)


@pytest.mark.parametrize("file", ["model.safetensors", "preprocessor_config.json"])
def test_a_broken_file_names_the_folder(file, tmp_path):
    source = save_small(PLAIN, tmp_path)
    whole = (tmp_path / file).read_bytes()
    for broken in (whole[: len(whole) // 2], b"\xff" * len(whole), b"[1]" + b" " * len(whole)):
        (tmp_path / file).write_bytes(broken)
        with pytest.raises((ValueError, OSError), match=str(tmp_path)):
            HuggingFaceEncoder(source)


def test_a_thousand_labels_are_no_part_of_the_description(tmp_path):
    source = save_small("mms", tmp_path)
    labels = {str(number): f"language {number}" for number in range(4017)}
    say(tmp_path, id2label=labels, label2id={name: int(key) for key, name in labels.items()})
    loaded = load_encoder(source)
    assert len(loaded.description) < 2000
    build_encoder(describe_encoder(loaded.description))


def test_a_description_in_half_precision_builds_float32(config):
    built = build_encoder(describe_encoder(described(config | {"dtype": "float16"})))
    assert {p.dtype for p in built["encoder"].parameters()} == {torch.float32}


def test_an_adapter_that_a_description_asks_for_is_left_out_and_told(config, caplog):
    with caplog.at_level(logging.WARNING):
        encoder = HuggingFaceEncoder(config=config | {"add_adapter": True, "return_dict": False})
    assert "the adapter behind its encoder" in caplog.text
    assert len(encoder.eval()(*speech(16000))[0]) == 3


def test_a_configuration_beside_an_encoder_of_ours_is_not_read(tmp_path):
    expected = make_run(tmp_path)
    save_small(PLAIN, tmp_path / "theirs")
    (tmp_path / "theirs/config.json").rename(tmp_path / "config.json")
    (tmp_path / "theirs/model.safetensors").rename(tmp_path / "model.safetensors")
    loaded = load_encoder(tmp_path).encoder
    assert type(loaded) is SpeechEncoder
    state = expected.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


def test_a_whisper_with_more_layers_than_any(tmp_path):
    source = save_whisper(tmp_path)
    say(tmp_path, encoder_layers=10**6)
    with pytest.raises(ValueError, match="config.json says encoder_layers: 1000000; no model has"):
        HuggingFaceEncoder(source)


def test_a_whisper_whose_weights_are_of_another_size(tmp_path):
    source = save_whisper(tmp_path)
    say(tmp_path, encoder_ffn_dim=40)
    with pytest.raises(ValueError, match=f"^{source}: cannot be loaded"):
        HuggingFaceEncoder(source)
    assert transformers.WhisperConfig.from_pretrained(source).encoder_ffn_dim == 40
