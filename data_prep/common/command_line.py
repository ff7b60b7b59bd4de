"""The command line of a preparation, built from its function.

It uses argparse because jsonargparse and tyro refuse `KEY=VALUE` mappings and lists without
brackets, which these commands take.
"""

import argparse
import inspect
import logging
import os
import re
import sys
import types
import typing
from collections.abc import Callable

from data_prep.common.audio import find_undecodable


def build_parser(prepare: Callable) -> argparse.ArgumentParser:
    """Builds a parser with an option for each argument of a function.

    The type hints give the options' types, and the docstring gives their help.

    Arguments
    ---------
    prepare : callable
        A function `prepare_NAME(data_folder, save_folder, ...)` whose docstring has
        a section `Arguments`.

    Returns
    -------
    argparse.ArgumentParser
        The parser; lists take several values, mappings take `KEY=VALUE`.

    Example
    -------
    >>> def prepare_x(data_folder: str, save_folder: str, limit: float = 0.5):
    ...     '''Prepares X.'''
    >>> vars(build_parser(prepare_x).parse_args(["--data_folder", "a", "--save_folder", "b"]))
    {'data_folder': 'a', 'save_folder': 'b', 'limit': 0.5, 'check': None}
    """
    text = inspect.getdoc(prepare) or ""
    helps = _argument_helps(text)
    hints = typing.get_type_hints(prepare)
    parser = argparse.ArgumentParser(description=text.split("\n\n")[0])
    for name, parameter in inspect.signature(prepare).parameters.items():
        required = parameter.default is inspect.Parameter.empty
        options = {} if required else {"default": parameter.default}
        parser.add_argument(
            f"--{name}",
            required=required,
            help=helps.get(name, "").replace("%", "%%"),
            **options,
            **_type_options(hints.get(name, str)),
        )
    parser.add_argument(
        "--check",
        type=lambda value: value if value == "all" else int(value),
        metavar="N|all",
        help="afterwards decode N audio files of each CSV, or all, and list those that are broken",
    )
    return parser


def _argument_helps(docstring: str) -> dict[str, str]:
    section = re.search(r"^Arguments\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", docstring, re.M | re.S)
    if section is None:
        return {}
    entries = re.findall(r"^(\w+) : .*\n((?:[ \t]+.*\n?|\n)*)", section[1], re.M)
    return {name: " ".join(text.split()) for name, text in entries}


def _type_options(hint: object) -> dict:
    if isinstance(hint, types.UnionType):  # `X | None`
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is typing.Literal:
        return {"choices": inner}
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if isinstance(kind, type) and issubclass(kind, dict):
        return {"action": _Mapping, "nargs": "+", "metavar": "KEY=VALUE"}
    if kind in (list, tuple) or getattr(kind, "__name__", "") == "Sequence":
        return {"nargs": "+", "type": inner[0] if inner else str}
    return {"type": kind}


class _Mapping(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        if not all("=" in value for value in values):
            parser.error(f"{option_string} takes KEY=VALUE ...")
        setattr(namespace, self.dest, dict(value.split("=", 1) for value in values))


def run(prepare: Callable, arguments: list[str] | None = None) -> None:
    """Runs a preparation from the command line, then decodes audio if `--check` is given.

    Arguments
    ---------
    prepare : callable
        Function as for `build_parser`.
    arguments : list of str, optional
        Command line; by default, the program's own.

    Raises
    ------
    SystemExit
        With the error's message and without a traceback, where the corpus or an option is at
        fault; with the number of broken files where the check finds any.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = vars(build_parser(prepare).parse_args(arguments))
    check = settings.pop("check")
    try:
        prepare(**settings)
    except (ValueError, OSError, AssertionError) as error:
        sys.exit(f"error: {error}")
    if check is not None:
        check_decoding(settings["data_folder"], settings["save_folder"], check)


def check_decoding(data_folder: str, save_folder: str, count: int | str) -> None:
    """Decodes the audio of all CSVs of a folder and prints the files that are broken.

    Arguments
    ---------
    data_folder : str
        Folder that `$data_root` stands for.
    save_folder : str
        Folder of the CSVs, or of folders that hold them.
    count : int or "all"
        Number of files of each CSV to decode.

    Raises
    ------
    SystemExit
        If a file is broken.
    """
    paths = [
        os.path.join(folder, name)
        for folder, _, names in sorted(os.walk(save_folder))
        for name in sorted(names)
        if name.endswith(".csv")
    ]
    broken = []
    for path in paths:
        broken += find_undecodable(path, data_folder, None if count == "all" else count)
    for path, problem in broken:
        print(f"{path}: {problem}")
    if broken:
        sys.exit(f"{len(broken)} files are broken")
    print("all that was decoded is sound")
