"""Checkpoints of the `transformers` library: what is checked before and while they are loaded."""

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
    """What models of a `model_type` have in common.

    Arguments
    ---------
    lora_targets : tuple of str
        The linear maps that LoRA adapts.
    input_kind : str
        "samples", "kaldi" (features of w2v-BERT 2.0) or "whisper" (log-mel features).
    mixes_padding : bool
        Whether its convolutions carry padding into frames of the utterance.
    conformer : bool
        Whether positions are the layers' own: no convolution and no norm comes before them.
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
#: `model_type` -> why it is not taken.
REFUSED = {
    kind: "its layers run on frames that are squeezed together and spread again at the end, so "
    "that they cannot be mixed with each other"
    for kind in ("sew", "sew-d")
}
#: Largest numbers, most layers and longest lists in a config.json: more takes a machine's memory.
MAX_SIZE, MAX_LAYERS = 2**24, 1000
#: Keys of which a large number alone, without weights of that size, takes memory or time.
_BOUNDS = {"num_conv_pos_embeddings": MAX_LAYERS, "num_labels": 2**16}
#: What a configuration says of the network; all else of it is how that is trained.
_NETWORK = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads")
_NETWORK = (*_NETWORK, "intermediate_size", "hidden_act", "layer_norm_eps", "do_stable_layer_norm")
_NETWORK = (*_NETWORK, "feat_extract_norm", "feat_extract_activation", "conv_dim", "conv_kernel")
_NETWORK = (*_NETWORK, "conv_stride", "conv_bias", "conv_pos_kernel_size", "conv_pos_batch_norm")
_NETWORK = (*_NETWORK, "num_conv_pos_embeddings", "num_conv_pos_embedding_groups")
TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
WEIGHT_FILES = ("model*.safetensors", "pytorch_model*.bin")
#: What is raised on files whose values are of a wrong kind or size.
UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError)
UNFIT = (*UNFIT, RuntimeError, SafetensorError, StrictDataclassError, TypeError, ValueError)


@contextmanager
def named_errors(source: str) -> Iterator[None]:
    """Names the source in whatever goes wrong with its files, as a ValueError.

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
    except pickle.UnpicklingError as error:  # whose advice is to read it all the same
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
            raise FileNotFoundError(f"{source}: no such folder, and no hub name (owner/name)")
        return
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{source}: has no config.json: is it a transformers model?")
    if not any(any(folder.glob(pattern)) for pattern in WEIGHT_FILES):
        raise FileNotFoundError(f"{source}: has no weights ({' or '.join(WEIGHT_FILES)})")


def load_config(source: str) -> tuple:
    """The model's configuration, with masks and layers left to us, and what it said of them.

    Raises
    ------
    ValueError
        If the checkpoint is of no known family, says sizes that no model has, or describes a model
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
    """Leaves masks and layers of a configuration to us; refuses what is no encoder of ours.

    Returns key -> what it said.
    """
    _check_family(source, config.model_type)
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError(f"{source}: its weights are quantised, which cannot be trained on")
    # A name of the hub here would be that of code to fetch.
    if config._attn_implementation not in (None, "eager", "sdpa"):
        raise ValueError(f"{source}: asks for the attention {config._attn_implementation!r}")
    ours = {
        # Every parameter gets a gradient at every step.
        "encoder_layerdrop" if config.model_type == "whisper" else "layerdrop": 0.0,
        "apply_spec_augment": True,  # with our masks, and none of its own
        "mask_feature_prob": 0.0,
        "mask_time_prob": 0.05,  # else there is no mask embedding
    }
    published = {key: getattr(config, key) for key in ours if hasattr(config, key)}
    for key, value in ours.items():
        setattr(config, key, value)
    if getattr(config, "add_adapter", False):
        logger.warning(
            f"{source}: the adapter behind its encoder, which shortens frames for a decoder, is "
            "left out: frames are the encoder's"
        )
        config.add_adapter = config.use_intermediate_ffn_before_adapter = False
    config.return_dict = True
    return published


def config_of(described: dict):
    """A configuration that stands in an encoder's description; no code that it names runs.

    Arguments
    ---------
    described : dict
        HuggingFaceEncoder.described.

    Returns
    -------
    config : transformers.PreTrainedConfig
    normalize : bool
        Whether waveforms are normalised.
    published : dict
        What it said of masks and layers, which are left to us.

    Raises
    ------
    ValueError
        If it is of no known family, or says sizes that no model has.
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
    """An encoder with drawn weights, without a pretraining head."""
    if config.model_type == "whisper":
        return WhisperBody(WhisperEncoder(config))
    return AutoModel.from_config(config)


def build_pretraining(config) -> tuple[nn.Module, nn.Module]:
    """wav2vec 2.0 with drawn weights: its encoder, and its pretraining head.

    Raises
    ------
    ValueError
        If transformers has no such head for the family.
    """
    _check_head(config)
    return _without_encoder(Wav2Vec2ForPreTraining(config))


def _check_head(config) -> None:
    if config.model_type != "wav2vec2":
        raise ValueError(f"a {config.model_type!r} model has no pretraining head in transformers")


def _without_encoder(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    encoder = model.wav2vec2
    del model.wav2vec2  # what is left is the head
    return encoder, model


def check_network(source: str, config) -> None:
    """Refuses a source whose network is not that of a configuration.

    Raises
    ------
    ValueError
        Names what differs.
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
        raise ValueError(f"{source}: is another network: it has {'; '.join(differs)}")


def _check_values(where: str, value: object, key: str = "", name: str = "") -> None:
    """Refuses numbers and lists that no model has, however deep they stand."""
    if isinstance(value, dict):
        for child, inside in value.items():
            _check_values(where, inside, str(child), f"{name}.{child}" if name else str(child))
        return
    most = MAX_LAYERS if key.endswith("_layers") else _BOUNDS.get(key, MAX_SIZE)
    large = isinstance(value, int | float) and not abs(value) <= most  # NaN too
    cells = value if isinstance(value, list | tuple) else ()
    if large or len(cells) > MAX_LAYERS:
        raise ValueError(f"{where} says {name}: {str(value)[:80]}; no model has")
    for cell in cells:
        _check_values(where, cell, key, name)


def _check_weights(folder: Path, config) -> None:
    """Refuses a model, of which nothing is in memory yet, that the folder's weights cannot fill."""
    files = [path for pattern in WEIGHT_FILES for path in folder.glob(pattern)]
    for path in files:
        refuse_packed(path)
    with torch.device("meta"):
        count = sum(value.numel() for value in build_model(config).parameters())
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
        if (Path(source).expanduser() / "preprocessor_config.json").is_file():  # a broken one
            raise
        return None
    if extractor.sampling_rate != sample_rate:
        raise ValueError(
            f"{source}: was trained on {extractor.sampling_rate} Hz, but sample_rate is "
            f"{sample_rate}: resample the corpus, or choose another model"
        )
    return extractor


def normalizes(extractor, config) -> bool:
    """Whether waveforms are normalised before the model, as its preprocessor says.

    Raises
    ------
    ValueError
        If a Whisper's preprocessor computes other features than ours.
    """
    if config.model_type == "whisper" and extractor is not None:
        said = [getattr(extractor, k, None) for k in ("feature_size", "hop_length", "n_fft")]
        if said != [config.num_mel_bins, HOP, N_FFT] or getattr(extractor, "dither", 0.0):
            raise ValueError(
                f"its preprocessor_config.json says {said} (feature_size, hop_length, n_fft), "
                f"where the model needs {[config.num_mel_bins, HOP, N_FFT]}, without dither"
            )
    group_norm = getattr(config, "feat_extract_norm", None) == "group"
    return bool(getattr(extractor, "do_normalize", not group_norm))


def load_model(
    source: str, config, pretraining_head: bool = False
) -> tuple[nn.Module, nn.Module | None]:
    """The encoder, and its pretraining head where the checkpoint ships a complete one.

    With `pretraining_head` there is one in any case: what the checkpoint lacks of it is drawn.
    In float32, whatever the precision of the checkpoint: half of it cannot be trained on.

    No code of the checkpoint runs: weights come from safetensors, or from a pickle that
    torch reads with weights_only.
    """
    if pretraining_head:
        _check_head(config)
    model, head = _load_pair(source, config, pretraining_head)
    if config.model_type == "whisper":
        model = WhisperBody(model.encoder)
    return model, head


def _load_pair(source: str, config, wanted: bool) -> tuple[nn.Module, nn.Module | None]:
    """The model as it comes, and its pretraining head."""
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
        logger.warning(f"{source}: its pretraining head lacks {missing}, which are drawn")
        return encoder, head
    logger.warning(f"{source}: its pretraining head lacks {missing}, and is not used")
    return encoder, None


def load_decoder(source: str) -> nn.Module:
    """The whole Whisper of a source, for the decoder that its encoder came with."""
    return WhisperForConditionalGeneration.from_pretrained(
        source, weights_only=True, trust_remote_code=False, dtype=torch.float32
    )


def load_tokenizer(source: str):
    """The source's tokenizer, or None, with a warning, where it has none."""
    folder = Path(source).expanduser()
    with suppress(OSError, ValueError, TypeError):
        # Of a folder without one, transformers makes an empty tokenizer.
        if not folder.is_dir() or any((folder / name).is_file() for name in TOKENIZER_FILES):
            return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    logger.warning(f"{source}: has no tokenizer, so that the exported folder has none either")
    return None
