"""Commands that docs/corpora and README print, and the YAMLs that a page says to write."""

import re
import shlex

from conftest import ROOT
from how_to import blocks

FOLDER = ROOT / "docs/corpora"
PAGES = sorted(path.stem for path in FOLDER.glob("*.md"))
#: The README of the repository, as a page.
TOP = "README of the repository"


def _text(page):
    if page == TOP:
        return (ROOT / "README.md").read_text(encoding="utf-8")
    return (FOLDER / f"{page}.md").read_text(encoding="utf-8")


def commands(page):
    """A page's commands in their order, as lists of words.

    They stand in indented blocks, and in fenced ones that are of no other language.
    """
    text = re.sub(r"^```(?!sh$)\w.*?^```$", "", _text(page), flags=re.M | re.S)
    lines, fenced = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            lines.append(line.strip())
    joined = "\n".join(lines).replace("\\\n", "")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def files(page):
    """Path -> text of the files that a page says to write."""
    return {block.title: block.body for block in blocks(_text(page)) if block.title}
