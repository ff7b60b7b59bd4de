"""Builds encoders from descriptions that anyone may have written.

HyperPyYAML calls whatever a YAML names. Here every tag is looked up whole in a table, and its
arguments are plain values and other entries of the table: nothing else is imported or called.
Descriptions that are saved for others hold only checked values, because `write` does not see the
text that was read.
"""

import importlib
import json
import math
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

#: Class -> its module. The classes' constructors use nothing but their arguments.
_CLASSES = {
    "LogMel": "conformer",
    "ConvFrontEnd": "conformer",
    "SpeechEncoder": "conformer",
    "Waveform": "waveform",
    "LatentFrontEnd": "waveform",
    "HuggingFaceEncoder": "huggingface",
}

#: Name in YAMLs -> module and class. Names are those of the classes, those that the package
#: re-exports, and those of version 0.1.
BUILDERS = {
    **{f"masr_modules.encoders.{m}.{name}": (m, name) for name, m in _CLASSES.items()},
    **{f"masr_modules.encoders.{name}": (m, name) for name, m in _CLASSES.items()},
    **{f"masr_modules.{m}.{n}": (m, n) for n, m in _CLASSES.items() if m != "conformer"},
    "masr_modules.encoders.MASREncoder": ("conformer", "SpeechEncoder"),
}

#: Bounds of a description. Published encoders are far below them: w2v-BERT 2.0 has 24 layers.
MAX_CHARACTERS, MAX_DEPTH, MAX_NODES, MAX_TEXT = 1_000_000, 8, 500, 1000
MAX_SIZE, MAX_LAYERS, MAX_SAMPLE_RATE = 2**16, 500, 2**20
#: Key that holds a configuration of transformers, in which numbers of tokens are larger.
_CONFIG, MAX_CONFIG_SIZE = "config", 2**24

_BOUNDS = {"num_layers": MAX_LAYERS, "sample_rate": MAX_SAMPLE_RATE, "n_mels": 4096}
_PLAIN = [f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str")]
_YAML = "tag:yaml.org,2002:"
#: Errors that constructors raise on arguments of a wrong kind or size.
_UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError)
_UNFIT = (*_UNFIT, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Part:
    """An entry of the registry with its arguments.

    Arguments
    ---------
    name : str
        A key of BUILDERS.
    arguments : dict
        Name -> plain value, list or dict of them, or another part.
    """

    name: str
    arguments: dict


def parse(text: str, where: str) -> dict[str, Node]:
    """Parses a YAML to top-level key -> node, and constructs nothing of it.

    Raises
    ------
    ValueError
        If the text is not valid YAML, is too large or too deep, has no keys, or has a key twice.

    Example
    -------
    >>> sorted(parse("a: 1\\nb: !apply:os.system [ls]", "a.yaml"))
    ['a', 'b']
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{where}: has more than {MAX_CHARACTERS} characters")
    try:
        tree = YAML(typ="safe", pure=True).compose(text)
    except YAMLError as error:
        raise ValueError(f"{where}: is not valid YAML: {error}") from None
    except RecursionError:
        raise ValueError(f"{where}: is nested too deeply") from None
    if not isinstance(tree, MappingNode):
        raise ValueError(f"{where}: is not a mapping of keys to values")
    return _keys(tree, where)


def read(node: Node, where: str, key: str = "encoder") -> object:
    """Reads plain values and parts from a node of `parse`; refuses all else, and calls nothing.

    Arguments
    ---------
    node : ruamel.yaml.nodes.Node
        The node that describes an encoder.
    where : str
        The file, for errors.
    key : str
        The node's key.

    Raises
    ------
    ValueError
        If a tag is not in the registry, a value is not plain or out of bounds, a node comes twice
        (a YAML alias), or a key merges others in; the message names it.

    Example
    -------
    >>> read(parse("a: !new:masr_modules.encoders.LogMel {n_mels: 8}", "a.yaml")["a"], "a.yaml")
    Part(name='masr_modules.encoders.LogMel', arguments={'n_mels': 8})
    >>> read(parse("a: !new:os.system [ls]", "a.yaml")["a"], "a.yaml")
    Traceback (most recent call last):
    ...
    ValueError: a.yaml: the encoder holds '!new:os.system', which could run any code; only \
encoders of masr_modules are built
    """
    return _read(node, where, key, set(), 0)


def _read(
    node: Node, where: str, key: str, seen: set[int], depth: int, most: int = MAX_SIZE
) -> object:
    if id(node) in seen:
        raise ValueError(
            f"{where}: the encoder's description holds one node twice (a YAML alias): write it out"
        )
    seen.add(id(node))
    if depth > MAX_DEPTH or len(seen) > MAX_NODES:
        raise ValueError(
            f"{where}: the encoder's description is deeper than {MAX_DEPTH} or has more than "
            f"{MAX_NODES} nodes"
        )
    tag = str(node.tag)
    part = None if tag.startswith(_YAML) else tag.removeprefix("!new:")
    if part is not None and (part == tag or part not in BUILDERS):
        raise ValueError(
            f"{where}: the encoder holds {tag!r}, which could run any code; only encoders of "
            "masr_modules are built"
        )
    most = MAX_CONFIG_SIZE if key == _CONFIG else most
    if isinstance(node, MappingNode) and (part or tag == f"{_YAML}map"):
        found = {
            name: _read(child, where, name, seen, depth + 1, most)
            for name, child in _keys(node, where).items()
        }
    elif isinstance(node, SequenceNode) and tag == f"{_YAML}seq":
        found = [_read(child, where, key, seen, depth + 1, most) for child in node.value]
    elif part and not node.value:
        found = {}  # a tag alone has no arguments
    elif part:
        raise ValueError(f"{where}: {tag} needs its arguments by name")
    else:
        return _plain(node, where, key, most)
    if part:
        return Part(part, found)
    if any(isinstance(child, Part) for child in (found.values() if tag[-3:] == "map" else found)):
        raise ValueError(f"{where}: {key} holds an encoder's part within a list or mapping")
    return found


def _keys(node: MappingNode, where: str) -> dict[str, Node]:
    """Returns the node's keys, which must be names, and their nodes; refuses a merge key."""
    found: dict[str, Node] = {}
    for key, value in node.value:
        if str(key.tag) != f"{_YAML}str" or not isinstance(key, ScalarNode):
            raise ValueError(f"{where}: a key is {_shown(key)}, which is not a name")
        if key.value in found:
            raise ValueError(f"{where}: the key {key.value!r} comes twice")
        found[key.value] = value
    return found


def _plain(node: Node, where: str, key: str, most: int) -> Hashable:
    """Reads a value of one of Python's own types, within bounds."""
    value: object = ...
    if str(node.tag) in _PLAIN and isinstance(node, ScalarNode) and len(node.value) <= MAX_TEXT:
        with suppress(ValueError, KeyError, YAMLError):
            value = YAML(typ="safe", pure=True).constructor.construct_object(node)
    if value is ... or (isinstance(value, str) and not value.isprintable()):
        raise ValueError(f"{where}: the encoder holds {_shown(node)}, which is not a plain value")
    most = _BOUNDS.get(key, most)
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= most):
        raise ValueError(f"{where}: {key} is {value}: it cannot be more than {most} in size")
    return value


def reads_files(tree: object) -> bool:
    """Returns whether building reads weights from a source, which must have the same network."""
    return isinstance(tree, Part) and (
        tree.arguments.get("source") is not None or any(map(reads_files, tree.arguments.values()))
    )


def _shown(node: Node) -> str:
    return repr(node.value)[:80] if isinstance(node, ScalarNode) else "a list or mapping"


def write(tree: object, indent: str = "") -> str:
    """Writes the result of `read` as YAML, from its values alone; HyperPyYAML reads the same.

    Example
    -------
    >>> print(write(Part("masr_modules.encoders.LogMel", {"n_mels": 8})))
    !new:masr_modules.encoders.LogMel
        n_mels: 8
    """
    if not isinstance(tree, Part):
        return json.dumps(tree, ensure_ascii=False, allow_nan=False)
    indent += "    "
    parts = (f"\n{indent}{key}: {write(part, indent)}" for key, part in tree.arguments.items())
    return f"!new:{tree.name}" + ("".join(parts) or " {}")


def build(tree: object, where: str) -> object:
    """Builds the result of `read`.

    Raises
    ------
    ValueError
        If a part does not take its arguments; the message names it.

    Example
    -------
    >>> build(Part("masr_modules.encoders.LogMel", {"n_mels": 8}), "a.yaml").n_mels
    8
    """
    if not isinstance(tree, Part):
        return tree
    module, name = BUILDERS[tree.name]
    make = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    given = {key: build(part, where) for key, part in tree.arguments.items()}
    try:
        return make(**given)
    except _UNFIT as error:
        raise ValueError(f"{where}: !new:{tree.name} cannot be built: {error}") from None
