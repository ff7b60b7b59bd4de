"""Pretrained encoders: they are found in a folder or on a hub, built, and saved for others.

A `hyperparams.yaml` can name any function of any Python package, and HyperPyYAML calls
it. Here `registry`, which knows the encoders of this library and nothing else, builds an encoder
from the part of the file that describes it; weights are read with `weights_only=True` or from
safetensors. Loading an untrusted folder thus executes no code.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from ruamel.yaml.nodes import MappingNode
from speechbrain.utils.checkpoints import Checkpointer
from torch import nn

from masr_modules.config.extras import MissingExtraError
from masr_modules.config.files import write_atomic
from masr_modules.encoders import registry
from masr_modules.encoders.weights import read_state

#: Files of an exported encoder.
DESCRIPTION, WEIGHTS, FACTS = "hyperparams.yaml", "encoder.ckpt", "pretraining.json"
#: File of an exported encoder that makes utterance embeddings, if a head was trained with it.
SPACES = "spaces.ckpt"
#: File of a folder that transformers loads, as which models of transformers are exported.
CONFIG = "config.json"
#: The class that wraps a model of transformers.
_HUGGING_FACE = "masr_modules.encoders.huggingface.HuggingFaceEncoder"
#: Largest number of parameters of an encoder that is built without weights: four times that of
#: the largest published encoders.
MAX_PARAMETERS = 4 * 10**9


@dataclass
class PretrainedEncoder:
    """An encoder, with the description from which it can be built again.

    Arguments
    ---------
    encoder : nn.Module
        (wavs (B, T), wav_lens (B,)) -> (list of (B, F, D) frames, (B,) frame_lens); `d_model` is D.
    description : str
        YAML with the keys `encoder` and `sample_rate`.
    sample_rate : int
        The sample rate of the waveforms in Hz.
    facts : dict
        Facts about its pretraining, such as `method`, `hours`, `languages`, `identities` and
        `sources`; empty if none are known.
    spaces : dict
        State of masr_modules.heads.spaces.Spaces; empty if no head was trained with the encoder.
    """

    encoder: nn.Module
    description: str
    sample_rate: int
    facts: dict = field(default_factory=dict)
    spaces: dict = field(default_factory=dict)

    @property
    def d_model(self) -> int:
        """D, the width of the frames."""
        return self.encoder.d_model

    @torch.no_grad()
    def count_layers(self) -> int:
        """Counts the layers that the encoder gives, with the front end, by encoding one second."""
        training = self.encoder.training
        layers, _ = self.encoder.eval()(torch.zeros(1, self.sample_rate), torch.ones(1))
        self.encoder.train(training)
        return len(layers)


def load_encoder(source: str | Path, random_init: bool = False) -> PretrainedEncoder:
    """Builds an encoder and loads its weights; no code of the source runs.

    Arguments
    ---------
    source : str or Path
        The folder or hub name of an exported encoder or of a speech model of `transformers`, or a
        folder that pretraining wrote, of which the last checkpoint is loaded.
    random_init : bool
        Whether the weights are drawn and not loaded, which gives the untrained encoder.

    Returns
    -------
    PretrainedEncoder
        The encoder, with its description and facts.

    Raises
    ------
    FileNotFoundError
        If there is nothing to load; the message says what was expected.
    ValueError
        If the description would build anything but an encoder of this library, or the weights do
        not fit the encoder.
    """
    folder = _find_folder(str(source))
    loaded = _load_encoder(folder, random_init)
    if not random_init and isinstance(folder, Path) and (folder / SPACES).is_file():
        loaded.spaces = read_state(folder / SPACES)
    return loaded


def _load_encoder(folder: Path | str, random_init: bool) -> PretrainedEncoder:
    if not isinstance(folder, Path) or not (folder / DESCRIPTION).is_file():
        return _from_transformers(folder, random_init)
    path = folder / DESCRIPTION
    description = describe_encoder(_read_text(path), str(path))
    weights = None if random_init else _find_weights(folder)
    state = {} if weights is None else read_state(weights)
    built = build_encoder(description, weights)
    loaded = PretrainedEncoder(built["encoder"], description, built["sample_rate"], _facts(folder))
    if weights is not None:
        load_weights(loaded.encoder, state, weights, path)
    if hasattr(loaded.encoder, "described"):
        loaded = _plain_transformers(loaded.encoder, loaded.facts)
    return loaded


def describe_encoder(text: str, name: str = DESCRIPTION) -> str:
    """Extracts the part of a resolved experiment's YAML that builds its encoder.

    Arguments
    ---------
    text : str
        YAML without references to other keys, as a run saves it, with `sample_rate`, and with
        `encoder` at the top or in `ssl`.
    name : str
        The name of the file, for errors.

    Returns
    -------
    str
        YAML with the keys `sample_rate` and `encoder`.

    Raises
    ------
    ValueError
        If the YAML has no encoder, or the encoder has parts that are not of this library.

    Example
    -------
    >>> mels = "!new:masr_modules.encoders.conformer.LogMel"
    >>> print(describe_encoder(f"sample_rate: 8\\nssl:\\n  encoder: {mels}\\nother: 1\\n"))
    sample_rate: 8
    encoder: !new:masr_modules.encoders.conformer.LogMel {}
    <BLANKLINE>
    >>> describe_encoder("sample_rate: 8\\nencoder: !apply:os.system [ls]")
    Traceback (most recent call last):
    ...
    ValueError: hyperparams.yaml: the encoder holds '!apply:os.system', which could run any code; \
only encoders of masr_modules are built
    """
    tree = registry.parse(text, name)
    holder = tree
    if "encoder" not in tree and isinstance(tree.get("ssl"), MappingNode):
        holder = {key.value: value for key, value in tree["ssl"].value}
    if "encoder" not in holder or "sample_rate" not in tree:
        raise ValueError(f"{name}: has no sample_rate, or no encoder at its top or in `ssl`")
    encoder = registry.read(holder["encoder"], name)
    sample_rate = registry.read(tree["sample_rate"], name, "sample_rate")
    if type(sample_rate) is not int or sample_rate < 1:
        raise ValueError(f"{name}: sample_rate is {sample_rate!r}, not a number of Hz")
    return f"sample_rate: {sample_rate}\nencoder: {registry.write(encoder)}\n"


def build_encoder(description: str, weights: Path | None = None) -> dict:
    """Builds `encoder` and `sample_rate` of a description that `describe_encoder` gave.

    Arguments
    ---------
    description : str
        The YAML.
    weights : Path, optional
        The file of its weights; an encoder that would not fit in it is not built.

    Raises
    ------
    ValueError
        If the YAML does not describe an encoder, or one with more parameters than the file can
        hold or, without a file, than MAX_PARAMETERS.
    """
    tree = registry.parse(description, DESCRIPTION)
    part = registry.read(tree["encoder"], DESCRIPTION)
    if not registry.reads_files(part):  # else the files that it reads bound its size
        with torch.device("meta"):
            sizes = registry.build(part, DESCRIPTION)
        _check_size(sizes, weights)
    encoder = registry.build(part, DESCRIPTION)
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"{DESCRIPTION}: `encoder` describes {encoder!r}, which is not an encoder")
    return {"encoder": encoder, "sample_rate": int(tree["sample_rate"].value)}


def _check_size(encoder: object, weights: Path | None) -> None:
    """Refuses an encoder that its file cannot fill, while it still takes no memory."""
    if not isinstance(encoder, nn.Module):
        return
    count = sum(parameter.numel() for parameter in encoder.parameters())
    # A parameter takes at least one byte of the file.
    most = MAX_PARAMETERS if weights is None else weights.stat().st_size
    if count > most:
        raise ValueError(
            f"{DESCRIPTION}: describes an encoder of {count:,} parameters, which do not fit "
            + ("into memory" if weights is None else f"{weights}, a file of {most:,} bytes")
        )


def load_weights(encoder: nn.Module, state: dict, path: Path, description: str | Path) -> None:
    """Loads an encoder's weights from its own state, or from that of its pretraining.

    Raises
    ------
    ValueError
        If the weights of the file at `path` do not fit the encoder that `description` describes.
    """
    prefix = "encoder." if path.name != WEIGHTS else ""
    state = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"{path}: its weights do not fit the encoder that {description} describes: {error}"
        ) from None


def check_encoder(run_folder: str | Path) -> None:
    """Refuses a run, before it trains, whose encoder could not be loaded afterwards.

    Raises
    ------
    ValueError
        If the run's YAML builds its encoder from parts that are not in `registry.BUILDERS`.
    """
    path = Path(run_folder) / DESCRIPTION
    describe_encoder(_read_text(path), str(path))


def export_encoder(
    run_folder: str | Path,
    facts: Mapping,
    card: str,
    merge_adapters: bool = True,
    spaces: Mapping[str, torch.Tensor] | None = None,
) -> Path:
    """Saves the encoder of a pretraining as a folder that is ready to share.

    A model of transformers is saved so that `AutoModel.from_pretrained` loads the folder.

    Arguments
    ---------
    run_folder : str or Path
        Output folder of the pretraining; the encoder is saved in `encoder/` in it.
    facts : Mapping
        The facts that PretrainedEncoder.facts will hold.
    card : str
        The text of its README.md.
    merge_adapters : bool
        For a model of transformers, see `transformers_export.save_transformers`.
    spaces : mapping, optional
        The state that PretrainedEncoder.spaces will hold.

    Returns
    -------
    Path
        The folder. An older one is replaced only when all files are written.
    """
    run_folder = Path(run_folder)
    folder, partial = run_folder / "encoder", run_folder / ".encoder"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    path = run_folder / DESCRIPTION
    description = describe_encoder(_read_text(path), str(path))
    weights = _find_weights(run_folder)
    state = read_state(weights)
    encoder = build_encoder(description)["encoder"]
    load_weights(encoder, state, weights, path)
    if hasattr(encoder, "described"):
        from masr_modules.encoders.transformers_export import save_transformers

        save_transformers(encoder, partial, merge_adapters)
    else:
        torch.save(encoder.state_dict(), partial / WEIGHTS)
        write_atomic(partial / DESCRIPTION, description)
    if spaces:
        torch.save(dict(spaces), partial / SPACES)
    write_atomic(partial / FACTS, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    write_atomic(partial / "README.md", card)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return folder


def _find_folder(source: str) -> Path | str:
    """Finds the folder of an encoder, or returns the hub name of a model of transformers."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        exported = folder / "encoder"
        if (exported / WEIGHTS).is_file() or (exported / CONFIG).is_file():
            return exported
        if (folder / DESCRIPTION).is_file() or (folder / CONFIG).is_file():
            return folder
        raise FileNotFoundError(
            f"{source}: holds no encoder. Expected the output folder of a pretraining "
            f"({DESCRIPTION} and save/), an exported encoder ({DESCRIPTION} and {WEIGHTS}) "
            f"or a transformers model ({CONFIG})"
        )
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise FileNotFoundError(f"{source}: no such folder, and not a hub name (owner/name)")
    try:
        files = [DESCRIPTION, WEIGHTS, FACTS, SPACES, "adapter/*"]
        folder = Path(snapshot_download(source, allow_patterns=files))
        # This library exported it, from a model of transformers.
        if (folder / FACTS).is_file() and not (folder / WEIGHTS).is_file():
            folder = Path(snapshot_download(source))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise FileNotFoundError(f"{source}: no such folder, nor on the hub: {error}") from error
    return folder if (folder / FACTS).is_file() or (folder / WEIGHTS).is_file() else source


def _find_weights(folder: Path) -> Path:
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    save = folder / "save"
    last = Checkpointer(save).find_checkpoint() if save.is_dir() else None
    if last is None or not (last.path / "ssl.ckpt").is_file():
        raise FileNotFoundError(
            f"{folder}: has neither {WEIGHTS} nor a checkpoint with ssl.ckpt in save/: "
            "resume the pretraining, which may have been interrupted before its first checkpoint"
        )
    return last.path / "ssl.ckpt"


def _read_text(path: Path) -> str:
    """Reads a text file of limited size, since others may have written it."""
    if path.stat().st_size > registry.MAX_CHARACTERS:
        raise ValueError(
            f"{path}: has more than {registry.MAX_CHARACTERS} bytes, and is not read: descriptions "
            "of encoders are smaller"
        )
    return path.read_text(encoding="utf-8")


def _facts(folder: Path) -> dict:
    path = folder / FACTS
    try:
        facts = json.loads(_read_text(path)) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if not isinstance(facts, dict):
        raise ValueError(f"{path}: is not a mapping of keys to values")
    return facts


def _from_transformers(source: Path | str, random_init: bool) -> PretrainedEncoder:
    try:
        from masr_modules.encoders.huggingface import HuggingFaceEncoder
    except MissingExtraError as error:
        raise MissingExtraError(
            f"{source} is a model of the transformers library: {error}"
        ) from error
    encoder = HuggingFaceEncoder(str(source))
    if random_init:
        encoder = HuggingFaceEncoder(config=encoder.described)
    return _plain_transformers(encoder, _facts(source) if isinstance(source, Path) else {})


def _plain_transformers(encoder: nn.Module, facts: dict) -> PretrainedEncoder:
    """Wraps a model of transformers without adapters, pretraining head and name of its source."""
    encoder.remove_adapters()
    encoder.head = None
    part = registry.Part(_HUGGING_FACE, {"config": encoder.described})
    description = f"sample_rate: {encoder.sample_rate}\nencoder: {registry.write(part)}\n"
    return PretrainedEncoder(encoder, description, encoder.sample_rate, facts)
