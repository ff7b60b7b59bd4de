"""What the documents say about the repository holds."""

import doctest
import importlib
import re
import runpy
from pathlib import Path

import pytest

from masr_modules.reporting.results_index import ResultsIndex

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    path
    for folder in (".", "docs", "data_prep", "recipes")
    for path in sorted((ROOT / folder).glob("*.md" if folder == "." else "**/*.md"))
]
TOP = ("masr_modules", "data_prep", "recipes", "hparams", "tests", "docs", "benchmarks", "examples")
each_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def prose(path):
    """The text without the fenced blocks, which may add files."""
    return re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)


def headings(path):
    """Anchors as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", prose(path), re.M)
    return {re.sub(r"[^\w\- ]", "", line).lower().replace(" ", "-") for line in found}


@each_document
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", prose(path)):
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        assert not anchor or anchor in headings(there), target


@each_document
def test_named_files_are_there(path):
    for name in re.findall(r"[\w./]+/[\w./]*", prose(path)):
        name = name.strip(".")
        if name.startswith(TOP) and not re.search(r"[A-Z]{3}", name):
            assert (ROOT / name).exists() or (path.parent / name).exists(), name


def leads_somewhere(dotted):
    """Whether there is a module, or what a module holds, of that name."""
    parts = dotted.split(".")
    found = importlib.import_module(parts[0])
    for end, part in enumerate(parts[1:], start=2):
        if not hasattr(found, part):
            try:
                importlib.import_module(".".join(parts[:end]))
            except ModuleNotFoundError:
                return False
        found = getattr(found, part)
    return True


@each_document
def test_dotted_names_are_there(path):
    names = set(re.findall(r"\b(?:masr_modules|data_prep)(?:\.\w+)+", prose(path)))
    names = {name for name in names if not name.endswith((".py", ".md"))}
    assert not [name for name in names if not leads_somewhere(name)]


def test_a_dotted_name_that_is_gone_is_seen():
    assert leads_somewhere("masr_modules.pairwise.losses.MASRLoss")
    assert leads_somewhere("masr_modules.knowledge.LanguageDistance.pairs")
    assert not leads_somewhere("masr_modules.pairwise.smooth")
    assert not leads_somewhere("masr_modules.pairwise.losses.HardLoss")


@each_document
def test_make_targets_are_there(path):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"(?:^    |`)make ([\w-]+)", prose(path), re.M)) <= set(targets)


@pytest.mark.parametrize(
    "folder",
    ["analysis", "asr", "downstream", "emotion", "language_id", "pretrain", "speaker", "study"],
)
def test_a_recipes_page_lists_its_files_and_says_how_to_run_it(folder):
    text = (ROOT / "recipes" / folder / "README.md").read_text(encoding="utf-8")
    parts = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    assert {"Files", "Run", "Time", "Outputs"} <= parts.keys()
    scripts = {path.name for path in (ROOT / "recipes" / folder).glob("*.py")}
    assert scripts <= set(re.findall(r"`([\w.]+)`", parts["Files"]))
    assert f"    python recipes/{folder}/" in parts["Run"]
    assert len(text.splitlines()) <= 80


def test_every_experiment_has_a_row_in_the_index_of_results():
    index = ResultsIndex(ROOT / "recipes/study/results.yaml")
    yamls = {path.name for path in (ROOT / "hparams").glob("*.yaml")}
    assert {experiment.yaml for experiment in index.experiments} == yamls
    released = re.findall(r"^## ([\d.]+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert index.release in released


CORPORA = sorted((ROOT / "docs/corpora").glob("[a-z]*.md"))


@pytest.mark.parametrize("path", CORPORA, ids=lambda path: path.stem)
def test_a_page_of_a_corpus_has_its_parts_and_is_in_the_index(path):
    assert f"]({path.name})" in (path.parent / "README.md").read_text(encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    parts = dict(re.findall(r"^## ([\w ]+)\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    assert {"Run", "Protocol"} <= parts.keys()
    assert re.search(r"disjoint by", parts["Protocol"], re.I)
    if path.stem != "own_table":
        assert any(name.startswith("Download") for name in parts) and "Published" in parts
        assert re.search(r"not run|\]\(", parts["Result here"], re.I)


def test_the_picture_is_what_the_script_draws():
    draw = runpy.run_path(str(ROOT / "docs/draw_method.py"))["draw"]
    assert draw() == (ROOT / "docs/method.svg").read_text(encoding="utf-8")


def test_blocks_that_a_script_writes_are_whole():
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        opened = re.findall(r"<!-- ([\w-]+) -->", text)
        assert opened == re.findall(r"<!-- /([\w-]+) -->", text), path
        assert len(opened) == len(set(opened)), path


def test_the_example_of_the_faq_prints_what_it_says():
    done = doctest.testfile(str(ROOT / "docs/faq.md"), module_relative=False)
    assert done.attempted > 5 and not done.failed


@pytest.mark.parametrize(
    "said, file",
    [
        ("was begun with", "config/provenance.py"),
        ("give another", "config/provenance.py"),
        ("remove this one, or give what it was begun with", "config/provenance.py"),
        ("in the YAML, is not in the CSV", "data/metadata.py"),
        ("could run any code; only encoders of masr_modules", "encoders/registry.py"),
        ("cannot be decoded", "data/dataio.py"),
        ("BUILDERS", "encoders/registry.py"),
        ("license: other", "encoders/model_card.py"),
    ],
)
def test_the_faq_quotes_what_the_code_says(said, file):
    def joined(path):  # texts of the code go over several lines
        return re.sub(r"[\s\"']+f?", "", path.read_text(encoding="utf-8"))

    wanted = re.sub(r"\s+", "", said)
    assert wanted in joined(ROOT / "docs/faq.md") and wanted in joined(ROOT / "masr_modules" / file)


@pytest.mark.parametrize("corpus", ["fleurs", "voxlingua107", "commonvoice", "iemocap", "voxceleb"])
def test_yamls_of_real_corpora_say_what_was_published(corpus):
    paths = sorted((ROOT / "hparams").glob(f"*{corpus}*.yaml"))
    assert paths
    for path in paths:
        header = path.read_text(encoding="utf-8").split("base:")[0].lower()
        assert "published" in header, path.name
