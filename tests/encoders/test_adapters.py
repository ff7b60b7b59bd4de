"""Adapters in a folder of anyone: what does not fit is refused, and no code runs."""

import json
import pickle

import pytest
import torch
from hf_models import save_small
from safetensors.torch import load_file, save_file

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.transformers_export import save_transformers


@pytest.fixture
def adapted(tmp_path):
    """A folder with adapters apart from the weights."""
    encoder = HuggingFaceEncoder(
        save_small("wav2vec2 without head", tmp_path / "a"), trainable="lora", lora_rank=2
    )
    save_transformers(encoder, tmp_path / "b", merge_adapters=False)
    HuggingFaceEncoder(str(tmp_path / "b"))
    return tmp_path / "b"


def refused(folder, message):
    with pytest.raises(ValueError, match=f"^{folder}.*{message}"):
        HuggingFaceEncoder(str(folder))


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors"])
def test_adapters_without_a_file(file, adapted):
    (adapted / "adapter" / file).unlink()
    refused(adapted, f"its adapters cannot be read: .*{file}|No such file")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "{}", '{"r": 2}'])
def test_adapters_whose_configuration_says_nothing(text, adapted):
    (adapted / "adapter/adapter_config.json").write_text(text)
    refused(adapted, "its adapters cannot be read")


@pytest.mark.parametrize(
    "key, value",
    [
        ("r", 10**9),
        ("r", -1),
        ("r", 0),
        ("r", 2.5),
        ("r", "2"),
        ("r", None),
        ("r", [2]),
        ("target_modules", ["q_proj"]),
        ("target_modules", ".*"),
        ("target_modules", "(a+)+$"),
        ("lora_alpha", 10**9),
        ("lora_alpha", "4"),
        ("use_rslora", True),
        ("use_dora", True),
        ("rank_pattern", {"q_proj": 10**9}),
        ("alpha_pattern", {"q_proj": 3}),
    ],
)
def test_adapters_of_another_kind(key, value, adapted):
    path = adapted / "adapter/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    refused(adapted, "holds adapters of another kind than pretraining writes")


def test_adapters_whose_weights_do_not_fit(adapted):
    path = adapted / "adapter/adapter_model.safetensors"
    state = load_file(path)
    first = next(iter(state))
    ninth = first.replace("layers.0", "layers.9")
    changes = [
        {key: value for key, value in state.items() if key != first},
        state | {ninth: state[first].clone()},
        {key: value.repeat(1, 2) for key, value in state.items()},
        {key: value.repeat(3, 1) for key, value in state.items()},
        {key: torch.tensor(1.0) for key in state},
        {},
    ]
    for change in changes:
        save_file(change, path)
        refused(adapted, "adapter")


class Payload:
    """Pickles as a call."""

    def __reduce__(self):
        return (print, ("code of the adapters ran",))


def test_adapters_in_a_pickle_are_not_read(adapted, capsys):
    path = adapted / "adapter/adapter_model.safetensors"
    path.write_bytes(pickle.dumps(Payload()))
    refused(adapted, "its adapters cannot be read")
    path.rename(path.with_name("adapter_model.bin"))
    refused(adapted, "its adapters cannot be read")
    assert "code of the adapters ran" not in capsys.readouterr().out
