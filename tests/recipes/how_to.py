"""The examples of docs/extend.md and README: files to write, lines to add and commands."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT

TEXT = (ROOT / "docs/extend.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block under a heading."""

    section: str
    kind: str
    title: str
    after: str
    body: str


def blocks(text=TEXT):
    """All blocks of a document, in order."""
    info = r"(\w+)(?: title=(\S+))?(?: after=([\"'])([^\n]*)\3)?"
    fence = re.compile(rf"^```{info}\n(.*?)^```$", re.M | re.S)
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        for found in fence.findall(section):
            kind, title, _, after, body = found
            yield Block(section.split("\n")[0], kind, title, after, body)


def paste(root, section, text=TEXT):
    """Writes a section's files under a folder, and adds its lines to files there."""
    for block in blocks(text):
        if block.section != section or not block.title:
            continue
        path = Path(root, block.title)
        if block.after:
            before = path.read_text(encoding="utf-8")
            assert before.count(f"\n{block.after}\n") == 1, block.after
            after = before.replace(f"{block.after}\n", f"{block.after}\n{block.body}")
            path.write_text(after, encoding="utf-8")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")


def file_of(title):
    """What the text of one file is."""
    return next(block.body for block in blocks() if block.title == title)


def commands(section, text=TEXT):
    """A section's commands, as lists of words."""
    lines = [b.body.splitlines() for b in blocks(text) if b.section == section and b.kind == "sh"]
    return [shlex.split(line) for body in lines for line in body]
