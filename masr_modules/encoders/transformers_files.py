"""Checkpoints of the `transformers` library: what is checked before and while they are loaded."""

import logging
from pathlib import Path

import torch
from torch import nn

from masr_modules.config.extras import extra
from masr_modules.encoders.weights import refuse_packed

with extra("hub"):
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForPreTraining

logger = logging.getLogger(__name__)

#: Family (`model_type`) -> the linear maps that LoRA adapts. WavLM reads the weights of its
#: attention without calling its modules, so adapters there would have no effect.
LORA_TARGETS = {
    "wav2vec2": ["q_proj", "k_proj", "v_proj", "out_proj"],
    "hubert": ["q_proj", "k_proj", "v_proj", "out_proj"],
    "wavlm": ["intermediate_dense", "output_dense"],
    "wav2vec2-bert": ["linear_q", "linear_k", "linear_v", "linear_out"],
}
#: Largest numbers, most layers and longest lists in a config.json: more takes a machine's memory.
MAX_SIZE, MAX_LAYERS = 2**24, 1000
WEIGHT_FILES = ("model*.safetensors", "pytorch_model*.bin")


def check_source(source: str) -> None:
    """Raises FileNotFoundError for a local folder that is missing or incomplete."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        if source.count("/") > 1 or source.startswith((".", "/", "~")):
            raise FileNotFoundError(f"{source}: no such folder, and no hub name (owner/name)")
        return
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{source}: has no config.json: is it a transformers model?")
    if not any(any(folder.glob(pattern)) for pattern in WEIGHT_FILES):
        raise FileNotFoundError(f"{source}: has no weights ({' or '.join(WEIGHT_FILES)})")


def load_config(source: str):
    """The model's configuration, with masks and layers left to us.

    Raises
    ------
    ValueError
        If the checkpoint is of no known family, says sizes that no model has, or describes a model
        that its weights cannot fill.
    """
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    _check_values(source, config.to_dict())
    if config.model_type not in LORA_TARGETS:
        raise ValueError(
            f"{source}: is a {config.model_type!r} model; the speech encoders that can be "
            f"trained on are {', '.join(LORA_TARGETS)}"
        )
    config.layerdrop = 0.0  # every parameter gets a gradient at every step
    config.apply_spec_augment = True  # with our masks, and none of its own
    config.mask_feature_prob = 0.0
    config.mask_time_prob = config.mask_time_prob or 0.05  # else there is no mask embedding
    if getattr(config, "add_adapter", False):
        logger.warning(
            f"{source}: the adapter behind its encoder, which shortens frames for a decoder, is "
            "left out: frames are the encoder's"
        )
        config.add_adapter = config.use_intermediate_ffn_before_adapter = False
    if Path(source).expanduser().is_dir():
        _check_weights(Path(source).expanduser(), config)
    return config


def _check_values(source: str, values: dict, within: str = "") -> None:
    """Refuses numbers and lists that no model has, however deep they stand."""
    for key, value in values.items():
        name = f"{within}{key}"
        if isinstance(value, dict):
            _check_values(source, value, f"{name}.")
            continue
        cells = value if isinstance(value, list | tuple) else [value]
        most = MAX_LAYERS if key == "num_hidden_layers" else MAX_SIZE
        large = any(isinstance(cell, int | float) and abs(cell) > most for cell in cells)
        if large or len(cells) > MAX_LAYERS:
            raise ValueError(
                f"{source}: its config.json says {name}: {str(value)[:80]}; no model has"
            )


def _check_weights(folder: Path, config) -> None:
    """Refuses a model, of which nothing is in memory yet, that the folder's weights cannot fill."""
    files = [path for pattern in WEIGHT_FILES for path in folder.glob(pattern)]
    for path in files:
        refuse_packed(path)
    with torch.device("meta"):
        count = sum(value.numel() for value in AutoModel.from_config(config).parameters())
    most = sum(path.stat().st_size for path in files)  # a byte each at least
    if count > most:
        raise ValueError(
            f"{folder}: its config.json describes a model of {count:,} parameters, which do not "
            f"fit its weights, of {most:,} bytes"
        )


def load_extractor(source: str, sample_rate: int):
    """The model's preprocessor, or None where the folder has none.

    Raises
    ------
    ValueError
        If the model was trained on another sample rate.
    """
    try:
        extractor = AutoFeatureExtractor.from_pretrained(source, trust_remote_code=False)
    except OSError:
        return None
    if extractor.sampling_rate != sample_rate:
        raise ValueError(
            f"{source}: was trained on {extractor.sampling_rate} Hz, but sample_rate is "
            f"{sample_rate}: resample the corpus, or choose another model"
        )
    return extractor


def load_model(source: str, config) -> tuple[nn.Module, nn.Module | None]:
    """The encoder, and its pretraining head where the checkpoint ships a complete one.

    In float32, whatever the precision of the checkpoint: half of it cannot be trained on.

    No code of the checkpoint runs: weights come from safetensors, or from a pickle that
    torch reads with weights_only.
    """
    if any(name == "Wav2Vec2ForPreTraining" for name in config.architectures or ()):
        model, info = AutoModelForPreTraining.from_pretrained(
            source,
            config=config,
            output_loading_info=True,
            weights_only=True,
            trust_remote_code=False,
            dtype=torch.float32,
        )
        missing = [key for key in info["missing_keys"] if not key.startswith("wav2vec2.")]
        encoder = model.wav2vec2
        del model.wav2vec2  # what is left is the head
        if not missing:
            return encoder, model
        logger.warning(f"{source}: its pretraining head lacks {missing}, and is not used")
        return encoder, None
    model = AutoModel.from_pretrained(
        source, config=config, weights_only=True, trust_remote_code=False, dtype=torch.float32
    )
    return model, None
