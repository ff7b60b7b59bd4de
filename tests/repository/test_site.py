"""What `make docs` builds: pages where links find them, docstrings that its parser reads."""

import runpy
from pathlib import Path

import griffe
import pytest
from mkdocs.config import load_config
from mkdocs.structure.files import get_files

ROOT = Path(__file__).parents[2]
HOOKS = runpy.run_path(str(ROOT / "docs/site_hooks.py"))


@pytest.fixture(scope="module")
def files():
    """The files of the site, by the place of their source."""
    config = load_config(str(ROOT / "mkdocs.yml"))
    found = config.plugins.on_files(get_files(config), config=config)
    return {file.src_uri: file for file in found}


def test_pages_lie_as_in_the_repository(files):
    assert files["README.md"].dest_uri == "index.html"
    assert files["docs/losses/masr_loss.md"].dest_uri == "docs/losses/masr_loss.html"
    assert {"recipes/asr/README.md", "data_prep/README.md", "docs/method.svg"} <= files.keys()
    assert "hparams/masr_published.yaml" in files, "a page links to it"
    assert "losses/masr_loss.md" not in files


def test_each_room_has_a_page_of_reference(files):
    pages = {uri for uri in files if uri.startswith("reference/")}
    rooms = {path.parent.name for path in (ROOT / "masr_modules").glob("*/__init__.py")}
    assert pages == {f"reference/{room}.md" for room in rooms | {"inference", "distributed"}}
    assert "::: masr_modules.pairwise" in files["reference/pairwise.md"].content_string


def sections(module, name):
    """Kind of section -> its contents, of a docstring of the package."""
    extensions = griffe.load_extensions(HOOKS["SpeechBrainDocstrings"])
    path = ROOT / f"masr_modules/pairwise/{module}.py"
    text = path.read_text(encoding="utf-8")
    found = griffe.visit(module, path, text, extensions=extensions)
    return {part.kind.value: part.value for part in found[name].docstring.parse("numpy")}


def test_docstrings_in_speechbrains_form_are_read():
    found = sections("losses", "MASRLoss")
    assert found.keys() == {"text", "parameters", "raises", "examples"}
    assert [p.name for p in found["parameters"]][:2] == ["mining", "knowledge_weight"]
    assert found["parameters"][1].default == "0.5"


def test_arguments_of_a_named_tuple_are_its_fields():
    found = sections("prototypes", "Candidates")
    assert [a.name for a in found["attributes"]] == ["embeddings", "metadata", "log_counts", "own"]


def test_what_belongs_to_an_item_is_indented_by_four():
    text = "- a\n  b\n- c\n\n  | d |\n- e\n\n```\n  - f\n```\n\n1. g\n\n       h\n\ni\n    j\n"
    assert HOOKS["indent_lists"](text) == (
        "- a\n    b\n- c\n\n    | d |\n\n- e\n\n```\n  - f\n```\n\n1. g\n\n        h\n\ni\n    j\n"
    )
