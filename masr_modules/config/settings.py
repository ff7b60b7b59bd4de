"""An experiment's YAML, on top of its bases and below the overrides of the command line.

    base: masr.yaml          # path from this file's folder; a base may have a base itself
    without: [codebook_size] # keys of the base to leave out
    lr: 0.0005               # any other key replaces the base's key of that name as a whole

If there are several bases, `[masr.yaml, data/people.yaml]`, the keys of a later one replace those
of the earlier ones.

A `!new:` block takes nothing from the block that it replaces. Overrides on the command line
replace keys in the same way. HyperPyYAML reads everything else.
"""

import copy
import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from io import StringIO
from pathlib import Path

from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from masr_modules.config import renamed

#: Least similarity, by difflib's ratio, at which one key counts as a misspelling of another.
SPELLED_ALIKE = 0.8


def resolve_settings(path: str | Path, overrides: str | Mapping | None = None) -> str:
    """Returns an experiment's YAML with bases, overrides and references resolved; builds nothing.

    Arguments
    ---------
    path : str or Path
        Path of the YAML.
    overrides : str or Mapping, optional
        Values that replace those of top-level keys, as YAML text or as the mapping that
        `masr_modules.config.command_line.parse_arguments` returns.

    Returns
    -------
    str
        YAML text without references.

    Raises
    ------
    FileNotFoundError
        If the YAML or a base does not exist.
    ValueError
        If `without` names a key that the base lacks, the bases of a file lead back to it, the
        YAML uses a former name, or a `!PLACEHOLDER` is left.
    KeyError
        If an override names no key, or a key of a file is a misspelling of a key of its base.
        The message names similar keys.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "a.yaml").write_text("lr: 1\\nwidth: 8\\nnet: {lr: !ref <lr>, depth: 2}\\n")
    >>> _ = (folder / "b.yaml").write_text("base: a.yaml\\nwithout: [width]\\nlr: 2\\n")
    >>> print(resolve_settings(folder / "b.yaml", "net: {rate: !ref <lr>}"), end="")
    lr: 2
    net: {rate: 2}
    """
    tree = override(merge_bases(Path(path)), overrides, path)
    make_plain(tree)
    return resolve_references(dump(tree)).getvalue()


def override(tree: CommentedMap, overrides: str | Mapping | None, path: str | Path) -> CommentedMap:
    """Replaces the values of top-level keys in a tree, and returns the tree.

    Raises
    ------
    KeyError
        As `check_key` does.
    ValueError
        As `masr_modules.config.renamed.check` does.
    """
    changes = YAML().load(overrides) if isinstance(overrides, str) else overrides
    for key, value in (changes or {}).items():
        check_key(key, tree, path)
        tree[key] = value
    renamed.check(tree, path)
    return tree


def check_key(key: str, tree: Mapping, path: str | Path) -> None:
    """Raises a KeyError that names similar keys if there is no such key to override."""
    if key not in tree and key not in renamed.KEYS:
        raise KeyError(f"{path} has no key {key!r} to override{_alike(key, tree)}")


def dump(tree: Mapping) -> str:
    """Returns a tree as YAML text."""
    text = StringIO()
    YAML().dump(tree, text)
    return text.getvalue()


def merge_bases(path: str | Path, below: tuple[Path, ...] = ()) -> CommentedMap:
    """Returns the tree of a YAML on top of its bases; `below` are the files that led to it.

    Raises
    ------
    FileNotFoundError
        If the YAML or a base does not exist.
    ValueError
        If a file holds no keys, its bases lead back to it, or `without` names a key that the base
        lacks.
    KeyError
        If a key is a misspelling of a key of the base.
    """
    path = Path(path).resolve()
    if path in below:
        raise ValueError(f"{path}: its bases lead back to it")
    if not path.is_file():
        asked = f", which {below[-1]} names as its base" if below else ""
        raise FileNotFoundError(f"{path}: no such file{asked}")
    tree = copy.deepcopy(_parse(path.read_text(encoding="utf-8")))
    if not isinstance(tree, CommentedMap):
        raise ValueError(f"{path}: holds no keys; an experiment's YAML has lines `key: value`")
    if "base" not in tree:
        return tree
    bases = tree.pop("base")
    names = [bases] if isinstance(bases, str) else bases
    merged, *others = (merge_bases(path.parent / name, (*below, path)) for name in names)
    for other in others:
        _put(merged, other)
    for key in tree.pop("without", []):
        if key not in merged:
            raise ValueError(f"{path}: `without` names {key!r}, which its base does not have")
        del merged[key]
    _refuse_misspelt(tree, merged, path)
    _put(merged, tree)
    return merged


@lru_cache(maxsize=64)
def _parse(text: str) -> object:
    """Parses a text once: to copy the tree takes a sixth of the time, and studies need hundreds."""
    return YAML().load(text)


def _refuse_misspelt(tree: CommentedMap, merged: CommentedMap, path: Path) -> None:
    """Raises a KeyError for a new key that resembles one of the base and that nothing refers to.

    Such a misspelt key would have no effect, and the key that was meant would keep its value.
    """
    referred = set(re.findall(r"<(\w+)", dump(tree)))
    for key in [key for key in tree if key not in merged and key not in referred]:
        if close := difflib.get_close_matches(str(key), list(merged), n=3, cutoff=SPELLED_ALIKE):
            raise KeyError(
                f"{path}: {key!r} is no key of its base, and nothing refers to it; did you mean "
                f"{' or '.join(close)}?"
            )


def _put(merged: CommentedMap, tree: CommentedMap) -> None:
    """Puts a file's keys on top of those of its bases, new ones after the key before them.

    The order matters, for HyperPyYAML resolves some references only if they follow their key.
    """
    place = 0
    for key, value in tree.items():
        if key in merged:
            merged[key] = value
            place = list(merged).index(key) + 1
        else:
            merged.insert(place, key, value)
            place += 1


def make_plain(node: object) -> bool:
    """Removes a tree's comments, and writes what holds a block (`!new:`) with one entry per line.

    The comments of a base may describe values that have been replaced. On one line, ruamel.yaml
    would write `[!new:a.B {c: 1}]` as `[!new:a.B c: 1]`, which has another meaning.

    Returns
    -------
    bool
        Whether the tree is or holds a block.
    """
    if not isinstance(node, CommentedMap | CommentedSeq):
        return False
    node.ca.items.clear()
    node.ca.comment = None
    parts = node.values() if isinstance(node, CommentedMap) else node
    holds = any([make_plain(part) for part in parts])
    if holds:
        node.fa.set_block_style()
    return holds or bool(node.tag.value)


def _alike(key: str, keys: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(keys), n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "; --print_yaml shows its keys"


def load_settings(
    path: str | Path, overrides: str | Mapping | None = None, only: Iterable[str] | None = None
) -> dict:
    """Builds the objects that an experiment's YAML describes.

    Arguments
    ---------
    path, overrides
        The arguments of `resolve_settings`, whose errors this function raises too.
    only : iterable of str, optional
        The top-level keys to build; all by default.

    Returns
    -------
    dict
        Key -> value or object.

    Raises
    ------
    ValueError
        If the YAML lacks a key of `only`. The message names the key.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.yaml"
    >>> _ = path.write_text("lr: 1\\ncounts: !new:collections.Counter {a: !ref <lr>}\\n")
    >>> load_settings(path, {"lr": 3}), load_settings(path, only=["lr"])
    ({'lr': 3, 'counts': Counter({'a': 3})}, {'lr': 1})
    """
    text = resolve_settings(path, overrides)
    if only is None:
        return load_hyperpyyaml(text)
    tree = YAML().load(text)
    if missing := [key for key in only if key not in tree]:
        raise ValueError(f"{path}: no top-level key {', '.join(missing)}")
    return load_hyperpyyaml(dump({key: tree[key] for key in only}))
