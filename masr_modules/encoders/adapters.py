"""LoRA in encoders of the `transformers` library: adapters are made, merged, saved and read.

The method is that of Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022,
arXiv 2106.09685.
"""

import json
from pathlib import Path

from torch import nn

from masr_modules.config.extras import extra
from masr_modules.encoders.transformers_files import FAMILIES, UNFIT, named_errors

with extra("hub"):
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
    from peft.tuners.lora import LoraLayer
    from safetensors.torch import load_file, save_file

#: Folder of adapters that are saved apart from the weights, and its files.
ADAPTER, ADAPTER_CONFIG, ADAPTER_WEIGHTS = (
    "adapter",
    "adapter_config.json",
    "adapter_model.safetensors",
)
#: Keys of a configuration that say how adapters change the weights.
_ADAPTER_KEYS = ("lora_alpha", "target_modules", "use_rslora", "use_dora")
_ADAPTER_KEYS = (*_ADAPTER_KEYS, "rank_pattern", "alpha_pattern")


def lora_config(kind: str, rank: int) -> "LoraConfig":
    """Configures adapters of the linear maps in the layers of an encoder of that `model_type`."""
    targets = "|".join(FAMILIES[kind].lora_targets)
    # Only those of the encoder: a Whisper's decoder has maps of the same names.
    return LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=rf"encoder\.layers\..*\.({targets})"
    )


def remove_adapters(model: nn.Module, merge: bool) -> None:
    """Replaces linear maps with LoRA by plain ones: the sum of both if merged, else the base."""
    for name, module in [*model.named_modules()]:
        if isinstance(module, LoraLayer):
            if merge:
                module.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())


def save_adapter(config: "LoraConfig", model: nn.Module, folder: Path) -> None:
    """Saves a model's adapters so that `peft.PeftModel.from_pretrained` loads them."""
    config.save_pretrained(folder)
    state = {
        f"base_model.model.{key.replace('.default.', '.')}": value.contiguous()
        for key, value in model.state_dict().items()
        if ".lora_" in key
    }
    save_file(state, folder / ADAPTER_WEIGHTS)


def add_adapter(model: nn.Module, folder: Path) -> None:
    """Merges the adapters of a folder into a model.

    Raises
    ------
    ValueError
        If the adapters are not of the kind that `save_adapter` saves, or do not fit the model.
    """
    try:
        said = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        state = load_file(folder / ADAPTER_WEIGHTS)
        (rank,) = {len(value) for key, value in state.items() if ".lora_A." in key}
        config = lora_config(model.config.model_type, rank)
        expected = {"r": rank} | {key: getattr(config, key) for key in _ADAPTER_KEYS}
        same = all(said[key] == value for key, value in expected.items())
    except (OSError, *UNFIT) as error:
        raise ValueError(f"{folder}: its adapters cannot be read: {error}") from error
    if not same:
        raise ValueError(
            f"{folder}: holds adapters of another kind than pretraining writes: merge them into "
            "the weights with peft"
        )
    inject_adapter_in_model(config, model)
    with named_errors(str(folder)):
        loaded = set_peft_model_state_dict(model, state)
    missing = [key for key in loaded.missing_keys if "lora_" in key]
    if missing or loaded.unexpected_keys:
        raise ValueError(
            f"{folder}: its adapters do not fit the model: {(missing + loaded.unexpected_keys)[:3]}"
        )
    remove_adapters(model, merge=True)
