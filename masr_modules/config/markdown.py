"""Labels, names and paths from users, written so that Markdown and YAML show them as they are."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Characters that Markdown, its tables and GitHub's formulas would interpret.
_MARKS = re.compile(r"([|<$`])")


def one_line(text: object) -> str:
    """Returns a text as one line of Markdown, or a table's cell, that shows it as it is.

    Example
    -------
    >>> one_line("a|b <i>\\n$1"), one_line("MASR, knowledge 0.6")
    ('a\\\\|b \\\\<i> \\\\$1', 'MASR, knowledge 0.6')
    """
    return _MARKS.sub(r"\\\1", " ".join(str(text).split()))


def yaml_text(text: object) -> str:
    """Returns a text as a YAML scalar, in quotes unless it is a plain word of 3 characters or more.

    Example
    -------
    >>> yaml_text("fra"), yaml_text("no"), yaml_text("a: b")
    ('fra', '"no"', '"a: b"')
    """
    plain = re.fullmatch(r"[A-Za-z][\w-]{2,}", str(text), flags=re.ASCII)
    words = {"yes", "off", "true", "null", "false"}
    return str(text) if plain and str(text).lower() not in words else json.dumps(str(text))


def portable_sources(source: str | Path | Sequence[Mapping]) -> str:
    """Returns the CSV of an experiment, or those of several corpora, by `portable` paths.

    Example
    -------
    >>> portable_sources([{"csv": "/home/me/a/train.csv"}, {"csv": "b/train.csv"}])
    'a/train.csv, b/train.csv'
    """
    if isinstance(source, str | Path):
        return portable(source)
    return ", ".join(portable(corpus["csv"]) for corpus in source)


def portable(path: str | Path) -> str:
    """Returns a path or hub name for others to read: the last two parts of an absolute path.

    Example
    -------
    >>> portable("/home/me/results/masr/1234"), portable("facebook/wav2vec2-xls-r-300m")
    ('masr/1234', 'facebook/wav2vec2-xls-r-300m')
    """
    path = Path(path)
    return "/".join(path.parts[-2:]) if path.is_absolute() else str(path)
