"""Texts of others in Markdown."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

#: What Markdown, its tables and GitHub's formulas would read as something else.
_MARKS = re.compile(r"([|<$`])")


def one_line(text: object) -> str:
    """A text in one line of Markdown, or in a cell of a table, that shows as it is.

    Example
    -------
    >>> one_line("a|b <i>\\n$1"), one_line("MASR, knowledge 0.6")
    ('a\\\\|b \\\\<i> \\\\$1', 'MASR, knowledge 0.6')
    """
    return _MARKS.sub(r"\\\1", " ".join(str(text).split()))


def yaml_text(text: object) -> str:
    """A text as a YAML scalar: quoted, where it is not plainly a word of three letters or more.

    Example
    -------
    >>> yaml_text("fra"), yaml_text("no"), yaml_text("a: b")
    ('fra', '"no"', '"a: b"')
    """
    plain = re.fullmatch(r"[A-Za-z][\w-]{2,}", str(text), flags=re.ASCII)
    words = {"yes", "off", "true", "null", "false"}
    return str(text) if plain and str(text).lower() not in words else json.dumps(str(text))


def portable_sources(source: str | Path | Sequence[Mapping]) -> str:
    """The CSV of an experiment, or those of several corpora, for others to read.

    Example
    -------
    >>> portable_sources([{"csv": "/home/me/a/train.csv"}, {"csv": "b/train.csv"}])
    'a/train.csv, b/train.csv'
    """
    if isinstance(source, str | Path):
        return portable(source)
    return ", ".join(portable(corpus["csv"]) for corpus in source)


def portable(path: str | Path) -> str:
    """A path or hub name for others to read: of an absolute one, which is this machine's, the end.

    Example
    -------
    >>> portable("/home/me/results/masr/1234"), portable("facebook/wav2vec2-xls-r-300m")
    ('masr/1234', 'facebook/wav2vec2-xls-r-300m')
    """
    path = Path(path)
    return "/".join(path.parts[-2:]) if path.is_absolute() else str(path)
