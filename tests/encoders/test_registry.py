"""What a stranger's folder may describe: code, more than YAML should, more than there is."""

import json
import zipfile

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from hypothesis import given, settings
from hypothesis import strategies as st
from run_folder import make_run

from masr_modules.encoders import registry
from masr_modules.encoders.pretrained import describe_encoder, export_encoder, load_encoder

LOG_MEL = "!new:masr_modules.encoders.LogMel"


@pytest.mark.parametrize(
    "part, message",
    [
        (f"{LOG_MEL} {{<<: {{x: !apply:os.system [touch HACKED]}}}}", "which is not a name"),
        (f"{LOG_MEL} {{<<: *bad}}", "which is not a name"),
        (f"{LOG_MEL} {{n_mels: *bad}}", "run any code"),
        (f"{LOG_MEL} {{n_mels: &a [8], sample_rate: *a}}", "alias"),
        (f"{LOG_MEL} {{? [n_mels] : 8}}", "which is not a name"),
        (f"{LOG_MEL} {{n_mels: 8, n_mels: 9}}", "comes twice"),
        (f"{LOG_MEL} {{n_mels: [{LOG_MEL} {{}}]}}", "within a list"),
        (f"{LOG_MEL} [8]", "by name"),
        (f"{LOG_MEL} {{n_mels: {'[' * 50}{']' * 50}}}", "deeper than"),
        (f"{LOG_MEL} {{n_mels: {'[' * 5000}{']' * 5000}}}", "nested too deeply"),
        (f"{LOG_MEL} {{n_mels: {[1] * 600}}}", "more than 500 nodes"),
        (f"{LOG_MEL} {{n_mels: {'9' * 5000}}}", "not a plain value"),
        (f"{LOG_MEL} {{n_mels: .inf}}", "n_mels is inf"),
        (f"{LOG_MEL} {{n_mels: 1000000000}}", "n_mels is 1000000000: it cannot be more than"),
        (f"{LOG_MEL} {{n_mels: 1e9}}", "n_mels is 1000000000.0: it cannot be more than"),
    ],
)
def test_a_description_is_refused_for_what_yaml_allows_beyond_it(
    part, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path)
    bad = "bad: &bad {x: !apply:os.system [touch HACKED]}"
    (tmp_path / "hyperparams.yaml").write_text(f"sample_rate: 8\n{bad}\nencoder: {part}\n")
    for read in (load_encoder, lambda folder: export_encoder(folder, {}, "card")):
        with pytest.raises(ValueError, match=f"hyperparams.yaml: .*{message}"):
            read(tmp_path)
    assert not (tmp_path / "HACKED").exists()
    assert not (tmp_path / "encoder/hyperparams.yaml").exists()


def test_what_is_exported_is_what_was_checked(tmp_path):
    make_run(tmp_path)
    text = (export_encoder(tmp_path, {}, "card") / "hyperparams.yaml").read_text()
    assert not any(sign in text for sign in ("&", "*", "<<", "!apply"))
    assert describe_encoder(text) == text


PLAIN = st.none() | st.booleans() | st.integers(-(2**16), 2**16) | st.text(max_size=8)
PLAIN |= st.floats(-1e4, 1e4).map(lambda value: round(value, 3))
TAGS = st.sampled_from([LOG_MEL, "!apply:os.system", "!ref", "!tuple", "!include:x", "&a", "*a"])
KEYS = st.sampled_from(["n_mels", "<<", "features", "*a", "!apply:os.system x", "'a b'"])
FLOW = st.recursive(
    PLAIN.map(json.dumps) | st.sampled_from(["(1, 2)", "*a", "0o7", "1:30", "<a>", "!ref <a>"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | st.dictionaries(KEYS, inner, max_size=3).map(
            lambda parts: "{" + ", ".join(f"{k}: {v}" for k, v in parts.items()) + "}"
        )
        | st.tuples(TAGS, inner).map(" ".join)
    ),
    max_leaves=6,
)


def only_parts_and_plain_values(tree):
    if isinstance(tree, registry.Part):
        return tree.name in registry.BUILDERS and only_parts_and_plain_values(tree.arguments)
    if isinstance(tree, dict | list):
        inner = tree.values() if isinstance(tree, dict) else tree
        return all(map(only_parts_and_plain_values, inner))
    return tree is None or isinstance(tree, str | int | float | bool)


def without_parts(tree):
    if isinstance(tree, registry.Part):
        return {key: without_parts(part) for key, part in tree.arguments.items()}
    return tree


@pytest.mark.filterwarnings("ignore::ruamel.yaml.error.ReusedAnchorWarning")
@given(FLOW)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_whatever_the_description_only_registry_parts_and_plain_values_are_written(flow):
    try:
        text = describe_encoder(f"sample_rate: 8\nencoder: {flow}\n")
    except ValueError:
        return
    tree = registry.read(registry.parse(text, "a")["encoder"], "a")
    assert only_parts_and_plain_values(tree)
    assert describe_encoder(text) == text  # read again it is the same
    untagged = load_hyperpyyaml(text.replace(LOG_MEL, ""))  # and SpeechBrain reads the same
    assert untagged["encoder"] == without_parts(tree)


def test_an_encoder_larger_than_its_weights_is_not_built(tmp_path):
    make_run(tmp_path)
    path = tmp_path / "hyperparams.yaml"
    path.write_text(path.read_text().replace("d_ffn: 8", "d_ffn: 65536"))
    with pytest.raises(ValueError, match="encoder of 2,.* parameters, which do not fit .*ssl.ckpt"):
        load_encoder(tmp_path)
    path.write_text(path.read_text().replace("num_layers: 1", "num_layers: 1000000"))
    with pytest.raises(ValueError, match="num_layers is 1000000: it cannot be more than"):
        load_encoder(tmp_path, random_init=True)


def test_weights_that_unpack_to_more_than_their_size_are_refused(tmp_path):
    make_run(tmp_path)
    path = tmp_path / "save/CKPT+a/ssl.ckpt"
    torch.save({"encoder.x": torch.zeros(1_000_000)}, tmp_path / "whole")
    with zipfile.ZipFile(tmp_path / "whole") as whole, zipfile.ZipFile(path, "w", 8) as small:
        for name in whole.namelist():
            small.writestr(name, whole.read(name))
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"ssl\.ckpt: .*would unpack to 4,.* bytes"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("text", ["[1]", "[" * 100_000, "{", "0" * 2_000_000])
def test_facts_that_are_no_small_json_of_keys_are_an_error(text, tmp_path):
    folder = make_run(tmp_path) and export_encoder(tmp_path, {}, "card")
    (folder / "pretraining.json").write_text(text)
    with pytest.raises(ValueError, match=r"pretraining\.json: "):
        load_encoder(folder)
