"""Encoders from folders: ours, a stranger's, and ones that do not fit."""

import json
import logging
import pickle
import zipfile
from importlib import import_module

import pytest
import torch
import transformers
from hf_models import MODELS, SMALL, save_small
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml.nodes import MappingNode
from run_folder import YAML, make_run

from masr_modules.encoders import registry
from masr_modules.encoders.conformer import SpeechEncoder
from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.pretrained import (
    build_encoder,
    check_encoder,
    describe_encoder,
    export_encoder,
    load_encoder,
)
from masr_modules.inference import MASREncoder


def frames_of(encoder):
    wavs = torch.sin(torch.arange(8000) / 20.0).repeat(2, 1)
    with torch.no_grad():
        return encoder.eval()(wavs, torch.tensor([1.0, 0.6]))[0][-1]


def test_a_run_folder_gives_its_encoder_and_runs_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder = make_run(tmp_path)
    loaded = load_encoder(tmp_path)
    assert torch.equal(frames_of(loaded.encoder), frames_of(encoder))
    assert not (tmp_path / "HACKED").exists()
    assert loaded.d_model == 8 and loaded.count_layers() == 2 and loaded.facts == {}


def test_an_exported_folder_holds_the_encoder_alone(tmp_path):
    encoder = make_run(tmp_path)
    folder = export_encoder(tmp_path, {"languages": ["deu"]}, "card")
    state = torch.load(folder / "encoder.ckpt", weights_only=True)
    assert state.keys() == encoder.state_dict().keys()
    assert "apply" not in (folder / "hyperparams.yaml").read_text()
    for source in (folder, tmp_path):  # the run's folder means its export, where there is one
        loaded = load_encoder(source)
        assert loaded.facts == {"languages": ["deu"]}
        assert torch.equal(frames_of(loaded.encoder), frames_of(encoder))


def test_random_init_leaves_the_weights_as_drawn(tmp_path):
    encoder = make_run(tmp_path)
    assert not torch.equal(frames_of(load_encoder(tmp_path, True).encoder), frames_of(encoder))


@pytest.mark.parametrize(
    "part",
    [
        "!apply:os.system [touch HACKED]",
        "!new:masr_modules.encoders.conformer.LogMel {n_mels: !apply:os.system [touch HACKED]}",
        "!new:os.system [touch HACKED]",
        "!name:os.system",
        "!include:other.yaml",
        "[1, {a: !module:os x}]",
        "!new:masr_modules.encoders.torch.utils.collect_env.subprocess.Popen [[touch, HACKED]]",
        "!new:masr_modules.encoders.conformer.torch.load [x]",
        "!new:masr_modules.encoders.LogMel.__init__ [x]",
        "!apply:masr_modules.encoders.LogMel {}",
        "!new:masr_modules.encoders.LogMel {n_mels: !tuple [1]}",
        "!new:masr_modules.encoders.LogMel {n_mels: !ref <secret>}",
    ],
)
def test_a_strangers_description_cannot_run_code(part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path)
    (tmp_path / "hyperparams.yaml").write_text(f"sample_rate: 16000\nencoder: {part}\n")
    with pytest.raises(ValueError, match="hyperparams.yaml: the encoder holds '!.*run any code"):
        load_encoder(tmp_path)
    assert not (tmp_path / "HACKED").exists()


def dotted_names(draw_from):
    """Paths through the package and what its modules import, to any depth."""
    return st.lists(st.sampled_from(draw_from), max_size=4).map(
        lambda parts: ".".join(["masr_modules.encoders", *parts])
    )


WORDS = ["conformer", "huggingface", "pretrained", "torch", "nn", "LogMel", "SpeechEncoder"]
WORDS += ["utils", "os", "system", "subprocess", "Popen", "__class__", "__init__", "load_encoder"]


@given(dotted_names(WORDS) | st.text(alphabet="abc._:!", max_size=12))
def test_no_name_outside_the_registry_is_looked_up(name):
    node = MappingNode(f"!new:{name}", [])
    if name in registry.BUILDERS:
        assert registry.read(node, "a.yaml").name == name
    else:
        with pytest.raises(ValueError, match="a.yaml: the encoder holds"):
            registry.read(node, "a.yaml")


def test_every_entry_of_the_registry_is_a_class():
    for module, name in set(registry.BUILDERS.values()):
        assert isinstance(getattr(import_module(f"masr_modules.encoders.{module}"), name), type)


@pytest.mark.parametrize(
    "part, message",
    [
        ("[1]", "which is not an encoder"),
        ("!new:masr_modules.encoders.LogMel {n_mels: 2020-01-01}", "not a plain value"),
        ("!new:masr_modules.encoders.LogMel {colour: 1}", "cannot be built: .*colour"),
    ],
)
def test_a_description_that_is_not_sound_is_an_error(part, message):
    with pytest.raises(ValueError, match=f"hyperparams.yaml: .*{message}"):
        build_encoder(describe_encoder(f"sample_rate: 1\nencoder: {part}\n"))


def test_an_encoder_that_others_could_not_load_is_refused_before_training(tmp_path):
    make_run(tmp_path)
    check_encoder(tmp_path)
    path = tmp_path / "hyperparams.yaml"
    path.write_text(path.read_text().replace("masr_modules.encoders.conformer.LogMel", "my.Mel"))
    with pytest.raises(ValueError, match="hyperparams.yaml: the encoder holds '!new:my.Mel'"):
        check_encoder(tmp_path)


class Hostile:
    def __reduce__(self):
        return print, ("this ran",)


def test_a_strangers_weights_cannot_run_code(tmp_path, capsys):
    make_run(tmp_path)
    (tmp_path / "save/CKPT+a/ssl.ckpt").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ValueError, match=r"ssl\.ckpt: (holds more than weights|cannot be read)"):
        load_encoder(tmp_path)
    torch.save({"encoder.x": Hostile()}, tmp_path / "save/CKPT+a/ssl.ckpt")
    with pytest.raises(ValueError, match=r"ssl\.ckpt: holds more than weights"):
        load_encoder(tmp_path)
    assert "this ran" not in capsys.readouterr().out


def test_weights_that_do_not_fit_name_both_files(tmp_path):
    make_run(tmp_path, width=8, yaml_width=16)
    with pytest.raises(ValueError, match=r"ssl\.ckpt: its weights do not fit .*hyperparams\.yaml"):
        load_encoder(tmp_path)


def test_truncated_weights_are_an_error(tmp_path):
    make_run(tmp_path)
    path = tmp_path / "save/CKPT+a/ssl.ckpt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"ssl\.ckpt: cannot be read"):
        load_encoder(tmp_path)


def test_folders_without_an_encoder_say_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no encoder. Expected the output folder"):
        load_encoder(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_encoder(tmp_path / "none")
    (tmp_path / "hyperparams.yaml").write_text(YAML.format(width=8))
    with pytest.raises(FileNotFoundError, match="neither encoder.ckpt nor a checkpoint"):
        load_encoder(tmp_path)


def test_a_description_without_an_encoder_or_that_is_no_yaml():
    for text, message in (
        ("sample_rate: 1", "no sample_rate, or no encoder"),
        ("encoder: 1\nsample_rate: x", "sample_rate is 'x'"),
        ("a: [", "is not valid YAML"),
        ("text", "is not a mapping of keys"),
    ):
        with pytest.raises(ValueError, match=message):
            describe_encoder(text)


@pytest.mark.parametrize("family", ["wav2vec2", "wav2vec2-bert"])
def test_a_transformers_folder_is_an_encoder_too(family, tmp_path):
    source = save_small(family, tmp_path)
    loaded = load_encoder(source)
    frames, lens = MASREncoder(loaded.encoder, 16000).encode_batch(torch.randn(2, 16000))
    assert frames.shape == (2, int(lens.max()), loaded.d_model)
    again = build_encoder(loaded.description)["encoder"]  # from its configuration alone
    again.load_state_dict(loaded.encoder.state_dict())
    assert str(source) not in loaded.description
    assert torch.equal(frames_of(again), frames_of(loaded.encoder))


WAVE = """
sample_rate: 16000
encoder: !new:masr_modules.encoders.SpeechEncoder
    features: !new:masr_modules.encoders.Waveform
        sample_rate: 16000
    front_end: !new:masr_modules.encoders.LatentFrontEnd
        d_model: 8
        channels: 8
    num_layers: 1
    d_model: 8
    d_ffn: 8
    nhead: 2
"""


def test_an_encoder_exported_by_version_0_1_still_loads():
    old = WAVE.replace("encoders.SpeechEncoder", "encoders.MASREncoder")
    old = old.replace("encoders.Waveform", "waveform.Waveform")
    old = old.replace("encoders.LatentFrontEnd", "waveform.LatentFrontEnd")
    assert old.count("masr_modules.waveform.") == 2
    new = build_encoder(describe_encoder(WAVE))["encoder"]
    loaded = build_encoder(describe_encoder(old))["encoder"]
    loaded.load_state_dict(new.state_dict())
    assert type(loaded) is SpeechEncoder
    assert torch.equal(frames_of(loaded), frames_of(new))


#: As `recipes/pretrain/train.py` exported it before the library had rooms; narrower.
EXPORTED = """\
sample_rate: 16000
encoder: &id001 !new:masr_modules.encoders.SpeechEncoder
    features: !new:masr_modules.encoders.LogMel
        sample_rate: 16000
        n_mels: 80
        keep_spectrum: true
    front_end: !new:masr_modules.encoders.ConvFrontEnd
        input_size: 80
        d_model: 8
        kernel_sizes: [7]
        strides: [4]
    num_layers: 1
    d_model: 8
    d_ffn: 8
    nhead: 2
    kernel_size: 15
    dropout: 0.0
"""


def test_a_folder_exported_before_the_rooms_still_loads(tmp_path):
    network = build_encoder(describe_encoder(EXPORTED))["encoder"]
    (tmp_path / "hyperparams.yaml").write_text(EXPORTED)
    torch.save(network.state_dict(), tmp_path / "encoder.ckpt")
    loaded = MASREncoder.from_hparams(tmp_path)
    assert loaded.sample_rate == 16000
    wav = torch.randn(2, 8000)
    expected = network.eval()(wav, torch.ones(2))[0][-1]
    torch.testing.assert_close(loaded.encode_batch(wav)[0], expected)


WAVS, LENS = torch.sin(torch.arange(16000) / 9.0).repeat(2, 1), torch.tensor([1.0, 0.5])


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_checkpoint_in_half_precision_trains_and_gives_nearly_the_same(family, dtype, tmp_path):
    source = save_small(family, tmp_path / "whole")
    half = save_small(family, tmp_path / "half")  # with the preprocessor
    model = getattr(transformers, MODELS[family][0]).from_pretrained(source, dtype=dtype)
    model.save_pretrained(half)
    assert json.loads((tmp_path / "half/config.json").read_text())["dtype"] != "float32"
    expected = MASREncoder.from_hparams(source).embed_batch(WAVS, LENS)
    encoder = MASREncoder.from_hparams(half)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    found = encoder.embed_batch(WAVS, LENS)
    assert torch.cosine_similarity(found, expected).min() > 0.99
    # And where it is to run in half precision.
    found = MASREncoder.from_hparams(source).to(dtype).embed_batch(WAVS, LENS)
    assert torch.cosine_similarity(found.float(), expected).min() > 0.99


@pytest.mark.parametrize("family", ["xls_r", "wav2vec2 without head", "wavlm", "wav2vec2-bert"])
def test_an_adapter_is_left_out_and_told(family, tmp_path, caplog):
    plain, adapted = save_small(family, tmp_path / "a"), save_small(family, tmp_path / "b")
    name, config = MODELS[family]
    model_class = getattr(transformers, name)
    config = model_class.config_class(**SMALL, **config, add_adapter=True, output_hidden_size=16)
    model = model_class(config)
    model.load_state_dict(model_class.from_pretrained(plain).state_dict(), strict=False)
    model.save_pretrained(adapted)
    expected, lens = MASREncoder.from_hparams(plain).encode_batch(WAVS, LENS)
    with caplog.at_level(logging.WARNING):
        found, found_lens = MASREncoder.from_hparams(adapted).encode_batch(WAVS, LENS)
    assert "the adapter behind its encoder" in caplog.text
    assert torch.equal(found_lens, lens)
    torch.testing.assert_close(found, expected)


def test_a_strangers_folder_with_code_runs_none_and_asks_nothing(tmp_path, monkeypatch):
    source = save_small("hubert", tmp_path / "m")
    config = json.loads((tmp_path / "m/config.json").read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Config"}}
    (tmp_path / "m/config.json").write_text(json.dumps(config))
    code = f"open({str(tmp_path / 'HACKED')!r}, 'w')\nclass Config: pass\n"
    (tmp_path / "m/theirs.py").write_text(code)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ValueError, match="trust_remote_code|theirs"):
        HuggingFaceEncoder(source)
    assert not (tmp_path / "HACKED").exists()


@pytest.mark.parametrize(
    "name, value",
    [
        ("num_hidden_layers", 10**6),
        ("hidden_size", 2**40),
        ("conv_dim", [2**40] * 7),
        ("a_list", [3] * 10**4),
        ("task_specific_params", {"a": {"b": 2**40}}),
    ],
)
def test_sizes_that_no_model_has_are_refused_before_memory_is_taken(name, value, tmp_path):
    source = save_small("hubert", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {name: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"config.json says {name}"):
        HuggingFaceEncoder(source)


def test_a_transformers_model_larger_than_its_weights_is_not_built(tmp_path):
    """Each number is one that some model may have; 500 such layers take 40 TB."""
    source = save_small("hubert", tmp_path)
    sizes = {"hidden_size": 65536, "intermediate_size": 65536, "num_hidden_layers": 500}
    config = json.loads((tmp_path / "config.json").read_text()) | sizes
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="parameters, which do not fit its weights"):
        HuggingFaceEncoder(source)


def test_pickled_weights_of_transformers_that_unpack_to_more_are_refused(tmp_path):
    source = save_small("hubert", tmp_path)
    torch.save({"x": torch.zeros(1_000_000)}, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for record in whole.infolist():
            packed.writestr(record.filename, whole.read(record))
    with pytest.raises(ValueError, match="pytorch_model.bin: cannot be read: it would unpack"):
        HuggingFaceEncoder(source)
