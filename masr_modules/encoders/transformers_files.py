"""Checkpoints of the `transformers` library, which are checked before and while they are loaded."""

import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from masr_modules.config.extras import extra
from masr_modules.encoders.weights import refuse_packed
from masr_modules.encoders.whisper import HOP, N_FFT, WhisperBody

with extra("hub"):
    from safetensors import SafetensorError
    from transformers import (
        CONFIG_MAPPING,
        AutoConfig,
        AutoFeatureExtractor,
        AutoModel,
        AutoModelForPreTraining,
        AutoTokenizer,
        PreTrainedConfig,
        Wav2Vec2ForPreTraining,
        WhisperForConditionalGeneration,
    )
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Family:
    """The properties that models of a `model_type` share.

    Arguments
    ---------
    lora_targets : tuple of str
        The linear maps that LoRA adapts.
    input_kind : str
        "samples", "kaldi" (features of w2v-BERT 2.0) or "whisper" (log-mel features).
    mixes_padding : bool
        Whether its convolutions carry padding into frames of the utterance.
    conformer : bool
        Whether the layers encode positions themselves, so that no convolution and no norm comes
        before them.
    """

    lora_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj")
    input_kind: str = "samples"
    mixes_padding: bool = False
    conformer: bool = False


_CONFORMER = ("linear_q", "linear_k", "linear_v", "linear_out")
#: `model_type` -> family. WavLM reads the weights of its attention without calling its modules, so
#: adapters there would have no effect.
FAMILIES = {
    "wav2vec2": Family(),
    "hubert": Family(),
    "wavlm": Family(("intermediate_dense", "output_dense")),
    "wav2vec2-bert": Family(_CONFORMER, "kaldi", conformer=True),
    "data2vec-audio": Family(mixes_padding=True),
    "unispeech-sat": Family(),
    "wav2vec2-conformer": Family(_CONFORMER, mixes_padding=True, conformer=True),
    "whisper": Family(input_kind="whisper"),
}
#: `model_type` -> why it is refused.
REFUSED = {
    kind: "its layers run on frames that are squeezed in time and restored at the end, so that "
    "layers cannot be mixed with each other"
    for kind in ("sew", "sew-d")
}
#: Largest numbers, and largest numbers of layers and items of a list, in a config.json: more could
#: exhaust a machine's memory.
MAX_SIZE, MAX_LAYERS = 2**24, 1000
#: Keys whose value alone, without weights of that size, could take much memory or time.
_BOUNDS = {"num_conv_pos_embeddings": MAX_LAYERS, "num_labels": 2**16}
#: Keys of a configuration that describe the network; all others say how it is trained.
_NETWORK = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads")
_NETWORK = (*_NETWORK, "intermediate_size", "hidden_act", "layer_norm_eps", "do_stable_layer_norm")
_NETWORK = (*_NETWORK, "feat_extract_norm", "feat_extract_activation", "conv_dim", "conv_kernel")
_NETWORK = (*_NETWORK, "conv_stride", "conv_bias", "conv_pos_kernel_size", "conv_pos_batch_norm")
_NETWORK = (*_NETWORK, "num_conv_pos_embeddings", "num_conv_pos_embedding_groups")
TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
WEIGHT_FILES = ("model*.safetensors", "pytorch_model*.bin")
#: Errors that are raised on files whose values are of a wrong kind or size.
UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError)
UNFIT = (*UNFIT, RuntimeError, SafetensorError, StrictDataclassError, TypeError, ValueError)


@contextmanager
def named_errors(source: str) -> Iterator[None]:
    """Context that turns errors about the files of a source into a ValueError that names it.

    Example
    -------
    >>> with named_errors("their/model"):
    ...     {}["hidden_size"]
    Traceback (most recent call last):
    ...
    ValueError: their/model: cannot be loaded: KeyError: 'hidden_size'
    """
    try:
        yield
    except pickle.UnpicklingError as error:  # torch's own message advises reading it nonetheless
        raise ValueError(
            f"{source}: its weights hold more than weights, so they are not read"
        ) from error
    except UNFIT as error:
        if isinstance(error, ValueError) and str(error).startswith(source):
            raise
        raise ValueError(f"{source}: cannot be loaded: {type(error).__name__}: {error}") from error


def check_source(source: str) -> None:
    """Raises FileNotFoundError for a local folder that is missing or incomplete."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        if source.count("/") > 1 or source.startswith((".", "/", "~")):
            raise FileNotFoundError(f"{source}: no such folder, and not a hub name (owner/name)")
        return
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{source}: has no config.json: it is not a transformers model")
    if not any(any(folder.glob(pattern)) for pattern in WEIGHT_FILES):
        raise FileNotFoundError(f"{source}: has no weights ({' or '.join(WEIGHT_FILES)})")


def load_config(source: str) -> tuple:
    """Loads a model's configuration; masks and dropped layers are set for training here.

    Returns
    -------
    config : transformers.PreTrainedConfig
        The configuration.
    published : dict
        The values that were replaced.

    Raises
    ------
    ValueError
        If the checkpoint is of no known family, names sizes that no model has, or describes a model
        that its weights cannot fill.
    """
    values, _ = PreTrainedConfig.get_config_dict(source)
    _check_values(f"{source}/config.json", values)
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    published = _take_over(source, config)
    if Path(source).expanduser().is_dir():
        _check_weights(Path(source).expanduser(), config)
    return config, published


def _check_family(source: str, kind: str) -> None:
    if kind not in FAMILIES:
        why = f": {REFUSED[kind]}" if kind in REFUSED else ""
        raise ValueError(
            f"{source}: is a {kind!r} model{why}; the speech encoders that can be "
            f"trained on are {', '.join(FAMILIES)}"
        )


def _take_over(source: str, config) -> dict:
    """Sets a configuration's masks and dropped layers for training; refuses other encoders.

    Returns key -> the value that was replaced.
    """
    _check_family(source, config.model_type)
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError(
            f"{source}: its weights are quantised, which cannot be trained on: choose the model "
            "with full weights"
        )
    # A hub name here would name code to download.
    if config._attn_implementation not in (None, "eager", "sdpa"):
        raise ValueError(
            f"{source}: asks for the attention {config._attn_implementation!r}: set "
            "attn_implementation to eager or sdpa in its config.json"
        )
    ours = {
        # No layer is dropped, so that every parameter gets a gradient at every step.
        "encoder_layerdrop" if config.model_type == "whisper" else "layerdrop": 0.0,
        "apply_spec_augment": True,  # the objective gives the masks, and the model draws none
        "mask_feature_prob": 0.0,
        "mask_time_prob": 0.05,  # at 0 the model would have no mask embedding
    }
    published = {key: getattr(config, key) for key in ours if hasattr(config, key)}
    for key, value in ours.items():
        setattr(config, key, value)
    if getattr(config, "add_adapter", False):
        logger.warning(
            f"{source}: the adapter behind its encoder, which shortens the sequence for a decoder, "
            "is left out: the frames are those of the encoder"
        )
        config.add_adapter = config.use_intermediate_ffn_before_adapter = False
    config.return_dict = True
    return published


def config_of(described: dict):
    """Reads the configuration in an encoder's description; no code that it names runs.

    Arguments
    ---------
    described : dict
        See HuggingFaceEncoder.described.

    Returns
    -------
    config : transformers.PreTrainedConfig
        The configuration.
    normalize : bool
        Whether waveforms are normalised.
    published : dict
        The values for masks and dropped layers that were replaced.

    Raises
    ------
    ValueError
        If it is of no known family, or names sizes that no model has.
    """
    values = dict(described)
    normalize, kind = values.pop("normalize", True), values.pop("model_type", None)
    _check_family("config", kind)
    _check_values("config", values)
    config = CONFIG_MAPPING[kind].from_dict(values)
    published = _take_over("config", config)
    config.dtype = torch.float32
    return config, bool(normalize), published


def build_model(config) -> nn.Module:
    """Builds an encoder with drawn weights, without a pretraining head."""
    if config.model_type == "whisper":
        return WhisperBody(WhisperEncoder(config))
    return AutoModel.from_config(config)


def build_pretraining(config) -> tuple[nn.Module, nn.Module]:
    """Builds a wav2vec 2.0 with drawn weights; returns its encoder and its pretraining head.

    Raises
    ------
    ValueError
        If transformers has no such head for the family.
    """
    _check_head(config)
    return _without_encoder(Wav2Vec2ForPreTraining(config))


def _check_head(config) -> None:
    if config.model_type != "wav2vec2":
        raise ValueError(
            f"a {config.model_type!r} model has no pretraining head in transformers: set "
            "pretraining_head to false"
        )


def _without_encoder(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    encoder = model.wav2vec2
    del model.wav2vec2  # the rest of the model is the head
    return encoder, model


def check_network(source: str, config) -> None:
    """Refuses a source whose network is not that of a configuration.

    Raises
    ------
    ValueError
        If the networks differ; the message names the keys.
    """
    found, _ = load_config(source)
    differs = []
    for key in _NETWORK:
        theirs, ours = (getattr(side, key, None) for side in (found, config))
        if isinstance(theirs, list | tuple) and isinstance(ours, list | tuple):
            theirs, ours = list(theirs), list(ours)
        if theirs != ours:
            differs.append(f"{key} {theirs}, where the encoder's config has {ours}")
    if differs:
        raise ValueError(
            f"{source}: is another network: it has {'; '.join(differs)}; change the config, or "
            "choose another source"
        )


def _check_values(where: str, value: object, key: str = "", name: str = "") -> None:
    """Refuses numbers and lists that no model has, at any depth."""
    if isinstance(value, dict):
        for child, inside in value.items():
            _check_values(where, inside, str(child), f"{name}.{child}" if name else str(child))
        return
    most = MAX_LAYERS if key.endswith("_layers") else _BOUNDS.get(key, MAX_SIZE)
    large = isinstance(value, int | float) and not abs(value) <= most  # this refuses NaN too
    cells = value if isinstance(value, list | tuple) else ()
    if large or len(cells) > MAX_LAYERS:
        raise ValueError(f"{where} says {name}: {str(value)[:80]}; no model has such a value")
    for cell in cells:
        _check_values(where, cell, key, name)


def _check_weights(folder: Path, config) -> None:
    """Refuses a model that the folder's weights cannot fill, while it still takes no memory."""
    files = [path for pattern in WEIGHT_FILES for path in folder.glob(pattern)]
    for path in files:
        refuse_packed(path)
    with torch.device("meta"):
        count = sum(value.numel() for value in build_model(config).parameters())
    most = sum(path.stat().st_size for path in files)  # a parameter takes at least one byte
    if count > most:
        raise ValueError(
            f"{folder}: its config.json describes a model of {count:,} parameters, which do not "
            f"fit its weights of {most:,} bytes"
        )


def load_extractor(source: str, sample_rate: int):
    """Loads the model's preprocessor; returns None if the folder has none.

    Raises
    ------
    ValueError
        If the model was trained on another sample rate.
    """
    try:
        extractor = AutoFeatureExtractor.from_pretrained(source, trust_remote_code=False)
    except OSError:
        # The file is there but broken.
        if (Path(source).expanduser() / "preprocessor_config.json").is_file():
            raise
        return None
    if extractor.sampling_rate != sample_rate:
        raise ValueError(
            f"{source}: was trained on {extractor.sampling_rate} Hz, but sample_rate is "
            f"{sample_rate}: resample the corpus, or choose another model"
        )
    return extractor


def normalizes(extractor, config) -> bool:
    """Returns whether waveforms are normalised before the model, as its preprocessor says.

    Raises
    ------
    ValueError
        If a Whisper's preprocessor computes other features than WhisperLogMel.
    """
    if config.model_type == "whisper" and extractor is not None:
        said = [getattr(extractor, k, None) for k in ("feature_size", "hop_length", "n_fft")]
        if said != [config.num_mel_bins, HOP, N_FFT] or getattr(extractor, "dither", 0.0):
            raise ValueError(
                f"its preprocessor_config.json says {said} (feature_size, hop_length, n_fft), "
                f"but the model needs {[config.num_mel_bins, HOP, N_FFT]}, without dither"
            )
    group_norm = getattr(config, "feat_extract_norm", None) == "group"
    return bool(getattr(extractor, "do_normalize", not group_norm))


def load_model(
    source: str, config, pretraining_head: bool = False
) -> tuple[nn.Module, nn.Module | None]:
    """Loads an encoder, and its pretraining head if the checkpoint has a complete one.

    With `pretraining_head` there is always a head: parts that the checkpoint lacks are drawn.
    Weights are float32, whatever the precision of the checkpoint, because half precision cannot be
    trained on. No code of the checkpoint runs: weights come from safetensors, or from a pickle that
    torch reads with weights_only.
    """
    if pretraining_head:
        _check_head(config)
    model, head = _load_pair(source, config, pretraining_head)
    if config.model_type == "whisper":
        model = WhisperBody(model.encoder)
    return model, head


def _load_pair(source: str, config, wanted: bool) -> tuple[nn.Module, nn.Module | None]:
    """Loads the model as it is published, and its pretraining head."""
    options = {"config": config, "weights_only": True, "dtype": torch.float32}
    named = "Wav2Vec2ForPreTraining" in (config.architectures or ())
    if not wanted and not named:
        return AutoModel.from_pretrained(source, trust_remote_code=False, **options), None
    model, info = AutoModelForPreTraining.from_pretrained(
        source, trust_remote_code=False, output_loading_info=True, **options
    )
    missing = [key for key in info["missing_keys"] if not key.startswith("wav2vec2.")]
    encoder, head = _without_encoder(model)
    if not missing:
        return encoder, head
    if wanted:
        logger.warning(f"{source}: its pretraining head lacks {missing}: they are drawn at random")
        return encoder, head
    logger.warning(f"{source}: its pretraining head lacks {missing}: the head is not used")
    return encoder, None


def load_decoder(source: str) -> nn.Module:
    """Loads the whole Whisper of a source, for the decoder that belongs to its encoder."""
    return WhisperForConditionalGeneration.from_pretrained(
        source, weights_only=True, trust_remote_code=False, dtype=torch.float32
    )


def load_tokenizer(source: str):
    """Loads the source's tokenizer; returns None, and warns, if it has none."""
    folder = Path(source).expanduser()
    with suppress(OSError, ValueError, TypeError):
        # For a folder without one, transformers would make an empty tokenizer.
        if not folder.is_dir() or any((folder / name).is_file() for name in TOKENIZER_FILES):
            return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    logger.warning(f"{source}: has no tokenizer, so that the exported folder has none either")
    return None
