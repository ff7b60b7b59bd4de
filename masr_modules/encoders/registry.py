"""Builds encoders from descriptions that anyone may have written.

HyperPyYAML calls whatever a YAML names. Here a tag is looked up in a table, whole, and what it
is given are plain values and other entries of the table: nothing else is imported or called.
"""

import importlib
from collections.abc import Mapping

#: Class -> module that has it. Their constructors read nothing but their arguments.
_CLASSES = {
    "LogMel": "conformer",
    "ConvFrontEnd": "conformer",
    "SpeechEncoder": "conformer",
    "Waveform": "waveform",
    "LatentFrontEnd": "waveform",
    "HuggingFaceEncoder": "huggingface",
}

#: Names that YAMLs use: where the class is, what the room re-exports, and those of version 0.1.
BUILDERS = {
    **{f"masr_modules.encoders.{m}.{name}": (m, name) for name, m in _CLASSES.items()},
    **{f"masr_modules.encoders.{name}": (m, name) for name, m in _CLASSES.items()},
    **{f"masr_modules.{m}.{n}": (m, n) for n, m in _CLASSES.items() if m != "conformer"},
    "masr_modules.encoders.MASREncoder": ("conformer", "SpeechEncoder"),
}

_PLAIN = (str, int, float, bool, type(None))


def check(node: object, where: str) -> None:
    """Refuses what `build` would not build, before anything is called.

    Arguments
    ---------
    node : object
        A tree of ruamel.yaml's round-trip loader.
    where : str
        The file, for errors.

    Raises
    ------
    ValueError
        If a tag is not in the registry, or a value is no plain one: names it.
    """
    _walk(node, where, {}, dry=True)


def build(node: object, where: str) -> object:
    """Builds the tree that `check` lets pass; one that comes twice is built once.

    Example
    -------
    >>> from ruamel.yaml import YAML
    >>> tree = YAML().load("!new:masr_modules.encoders.LogMel {n_mels: 8}")
    >>> build(tree, "a.yaml").n_mels
    8
    >>> check(YAML().load("!new:os.system [ls]"), "a.yaml")
    Traceback (most recent call last):
    ...
    ValueError: a.yaml: the encoder holds '!new:os.system', which could run any code; only \
encoders of masr_modules are built
    """
    check(node, where)
    return _walk(node, where, {}, dry=False)


def _walk(node: object, where: str, built: dict[int, object], dry: bool) -> object:
    if id(node) in built:
        if built[id(node)] is ...:
            raise ValueError(f"{where}: the encoder's description holds itself")
        return built[id(node)]
    tag = getattr(getattr(node, "tag", None), "value", None)
    if tag and _builder(tag) is None:
        raise ValueError(
            f"{where}: the encoder holds {tag!r}, which could run any code; only encoders of "
            "masr_modules are built"
        )
    if not isinstance(node, Mapping | list) and not (tag and not node.value):
        return _plain(node, tag, where)
    built[id(node)] = ...
    if not isinstance(node, Mapping | list):
        parts = {}  # a tag alone: no arguments
    elif isinstance(node, Mapping):
        for key in node:
            _plain(key, None, where)
        parts = {str(key): _walk(part, where, built, dry) for key, part in node.items()}
    else:
        parts = [_walk(part, where, built, dry) for part in node]
    built[id(node)] = parts
    if tag and not dry:
        module, name = _builder(tag)
        make = getattr(importlib.import_module(f"{__package__}.{module}"), name)
        try:
            made = make(**parts) if isinstance(parts, dict) else make(*parts)
        except TypeError as error:
            raise ValueError(f"{where}: {tag} cannot be built: {error}") from None
        built[id(node)] = made
    return built[id(node)]


def _builder(tag: str) -> tuple[str, str] | None:
    kind, _, name = str(tag).partition(":")
    return BUILDERS.get(name) if kind == "!new" else None


def _plain(value: object, tag: str | None, where: str) -> object:
    """A value of Python's own types; a tagged scalar is neither."""
    for kind in _PLAIN:
        if tag is None and isinstance(value, kind):
            return None if value is None else kind(value)
    raise ValueError(f"{where}: the encoder holds {value!r}, which is no plain value")
