"""The command line of recipes: a YAML, SpeechBrain's options, and values for the YAML's keys."""

import dataclasses
import datetime
import logging
import re
import sys
from collections.abc import Mapping

import speechbrain as sb
from ruamel.yaml import YAML, YAMLError
from speechbrain.utils.run_opts import RunOptions

from masr_modules.config.settings import check_key, merge_bases, resolve_settings

logger = logging.getLogger(__name__)

#: Options of SpeechBrain, which are no keys of the YAML.
RUN_OPTIONS = {option.name for option in dataclasses.fields(RunOptions)}
#: Decimal numbers, infinity and NaN; 007 and 1_000 are names.
NUMBER = re.compile(r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?|[-+]?\.inf|\.nan")
#: First characters of YAML's lists, mappings, quoted texts and tags (!new:, !ref).
YAML_STARTS = ("[", "{", '"', "'", "!")


def parse_arguments(arguments: list[str]) -> tuple[str, dict, dict[str, object]]:
    """Parses a recipe's command line; with `--print_yaml`, prints the resolved YAML and exits.

    If the YAML's key holds a text, the value on the command line is taken literally. A key that
    holds true or false takes these alone; one that holds a number takes them or a number. For
    every key `null` is None, and lists, mappings, quoted texts and tags are read as YAML. If an
    option is given twice, the last value counts, and a warning names both.

    Arguments
    ---------
    arguments : list[str]
        Path of the YAML, then options as `--key value` or `--key=value`.

    Returns
    -------
    path : str
        Path of the YAML.
    run_opts : dict
        SpeechBrain's options, as `sb.Brain` takes them.
    overrides : dict
        Key -> value, as `resolve_settings` takes them.

    Raises
    ------
    ValueError
        If an option has no value, or one that its key cannot have. The message names the option.
    KeyError
        If an option is no key of the YAML. The message names similar keys.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.yaml"
    >>> _ = path.write_text("lr: 1\\nname: a\\nfolder: !ref runs/<name>\\n")
    >>> parse_arguments([str(path), "--name", "run #1", "--folder=a=b", "--lr", "1e-3"])[2]
    {'name': 'run #1', 'folder': 'a=b', 'lr': 0.001}
    """
    printing = "--print_yaml" in arguments
    own, texts = _split([argument for argument in arguments if argument != "--print_yaml"])
    path, run_opts, _ = sb.parse_arguments(own)
    tree = merge_bases(path)
    for key in texts:
        check_key(key, tree, path)
    overrides = {key: _value(key, text, tree) for key, text in texts.items()}
    if printing:
        print(resolve_settings(path, overrides), end="")
        sys.exit(0)
    return path, run_opts, overrides


def _split(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Returns the arguments that SpeechBrain reads itself, and the text of each other option."""
    own: list[str] = []
    texts: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        name, assigned, text = argument.partition("=")
        if not name.startswith("--") or name[2:] in RUN_OPTIONS or name == "--help":
            own.append(argument)
            continue
        if not assigned:
            text = next(rest, "--")
            if text.startswith("--"):
                raise ValueError(f"{name} has no value: write {name} VALUE, or {name}=VALUE")
        key = name[2:]
        if key in texts and texts[key] != text:
            logger.warning("%s is given twice: %s takes the place of %s", name, text, texts[key])
        texts[key] = text
    return own, texts


def _value(key: str, text: str, tree: Mapping) -> object:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"--{key}: {text!r} is not UTF-8: rename the file") from None
    if text == "null":
        return None
    quoted = text[:1] in ("'", '"')
    if text.startswith(YAML_STARTS) and not (quoted and not text.endswith(text[0])):
        try:
            return YAML().load(text)
        except YAMLError as error:
            raise ValueError(f"--{key}: {text!r} is not valid YAML: {error}") from error
    if "  " in text:  # HyperPyYAML breaks long texts into lines, and loses spaces at their ends
        raise ValueError(f"--{key} {text!r}: two spaces in a row would be lost: use another name")
    kind = _kind(key, tree)
    if re.search("<.*>", text):  # keys that refer to this one would take it for a reference
        raise ValueError(f"--{key} {text}: <> marks a reference: write !ref, or use another name")
    if kind is str:
        return text
    known = {"true": True, "false": False}.get(text.lower())
    if kind is float and known is not None:
        raise ValueError(f"--{key} {text}: a number is needed, or null")
    if kind is bool and known is None:
        raise ValueError(f"--{key} {text}: choose true or false")
    if known is not None:
        return known
    if NUMBER.fullmatch(text):
        return YAML().load(text)
    if kind is float:
        raise ValueError(f"--{key} {text}: a number is needed, or null")
    return text


def _kind(key: str, tree: Mapping, below: tuple[str, ...] = ()) -> type:
    """Returns the type of a key's value: str, bool, float (any number), or object (any type)."""
    value = tree.get(key)
    tag = str(getattr(getattr(value, "tag", None), "value", None) or "")
    if tag == "!ref" and key not in below:
        text = str(value.value)
        kinds = {_kind(name, tree, (*below, key)) for name in re.findall(r"<(\w+)", text)}
        beside = re.sub(r"<[^>]*>|[\d.\s+*/%()-]", "", text)
        if beside or str in kinds:
            return str
        return kinds.pop() if len(kinds) == 1 else object
    if tag == "!PLACEHOLDER" or (isinstance(value, str | datetime.date) and not tag):
        return str
    if isinstance(value, bool):
        return bool
    return float if isinstance(value, int | float) else object
