"""What `mkdocs.yml` builds the site from: the documents where they lie, and the API reference."""

import re
from pathlib import Path

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("*.md", "docs/**/*.md", "docs/site.css", "data_prep/*.md", "recipes/**/*.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The documents, what they link to, and a generated page for each package."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)  # what stays is the theme's
    pages = {path for pattern in DOCUMENTS for path in ROOT.glob(pattern)}
    for path in sorted(pages | {target for page in pages for target in linked_files(page)}):
        place = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, place, abs_src_path=str(path)))
    for part in parts():
        text = f"---\ntitle: {part}\n---\n# masr_modules.{part}\n\n::: masr_modules.{part}\n"
        files.append(File.generated(config, f"reference/{part}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """A page as the site's renderer wants it: titles in quotes, lists indented by four."""
    if page.is_homepage:
        page.title = "Start"
    markdown = re.sub(r"^(```\w+) title=(\S+).*$", r'\1 title="\2"', markdown, flags=re.M)
    return indent_lists(markdown)


def indent_lists(markdown: str) -> str:
    """Text with what belongs to an item of a list indented by four blanks, and not by two or three.

    GitHub wants as many as the item's mark takes, the site's renderer four; and after an item of
    several blocks a blank line.

    Arguments
    ---------
    markdown : str
        A page.

    Returns
    -------
    str

    Example
    -------
    >>> print(indent_lists("1. As a table:\\n\\n   | a | b |\\n\\nA text.\\n"))
    1. As a table:
    <BLANKLINE>
        | a | b |
    <BLANKLINE>
    A text.
    <BLANKLINE>
    """
    lines, width, fenced, blocks = [""], 0, False, False
    for line in markdown.split("\n"):
        fenced ^= line.startswith("```")
        if mark := re.match(r"(?:-|\d+\.) +", line):
            if blocks and lines[-1]:
                lines.append("")
            width, blocks = len(mark[0]), False
        elif line and not line.startswith(" "):
            width = 0
        elif width and not fenced and line.startswith(" " * width):
            line = " " * 4 + line[width:]
            blocks |= not lines[-1]
        lines.append(line)
    return "\n".join(lines[1:])


def parts() -> list[str]:
    """Packages and modules that lie in masr_modules, by name."""
    found = (ROOT / "masr_modules").glob("[!_]*")
    return sorted(path.stem for path in found if path.is_dir() or path.suffix == ".py")


def linked_files(page: Path) -> set[Path]:
    """Files of the repository that a page links to or shows, anchors cut off."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    return {path for target in targets if (path := (page.parent / target).resolve()).is_file()}


class SpeechBrainDocstrings(griffe.Extension):
    """Docstrings in SpeechBrain's form, read as numpy's."""

    def on_instance(self, *, obj: griffe.Object, **_: object) -> None:
        """Renames the headings of an object's docstring."""
        if obj.docstring:
            fields = isinstance(obj, griffe.Class) and "NamedTuple" in map(str, obj.bases)
            obj.docstring.value = as_numpy(obj.docstring.value, fields)


def as_numpy(docstring: str, fields: bool = False) -> str:
    """A docstring with the headings that numpy's parser knows.

    Arguments
    ---------
    docstring : str
        In SpeechBrain's form.
    fields : bool
        Whether its Arguments are the fields of a NamedTuple, which has no signature.

    Returns
    -------
    str

    Example
    -------
    >>> print(as_numpy("Adds.\\n\\nArguments\\n---------\\na : int"))
    Adds.
    <BLANKLINE>
    Parameters
    ----------
    a : int
    """
    names = {"Arguments": "Attributes" if fields else "Parameters", "Example": "Examples"}
    for ours, theirs in names.items():
        heading = f"{theirs}\n{'-' * len(theirs)}"
        docstring = re.sub(rf"^{ours}\n-+$", heading, docstring, flags=re.M)
    return docstring
