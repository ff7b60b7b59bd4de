"""docs/losses: tables of parameters are the classes', every YAML and swap builds a head."""

import importlib
import inspect
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from masr_modules.config.command_line import parse_arguments
from masr_modules.config.settings import load_settings
from masr_modules.data.metadata import MetadataTable

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/losses"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in PAGES}
YAMLS = [
    pytest.param(text, id=f"{name}-{number}")
    for name, page in TEXTS.items()
    for number, text in enumerate(re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S))
]
README = (FOLDER / "README.md").read_text(encoding="utf-8")
SWAP = README.split("## How to swap")[1].split("\n## ")[0]
SWAPS = [
    swap for row in re.findall(r"^\|.*", SWAP, re.M) for swap in re.findall("`(--[^`]+)`", row)
]
REQUIRED = inspect.Parameter.empty


def tables():
    """Dotted name of a class, and parameter -> default as the page's table has them."""
    for name, page in TEXTS.items():
        for dotted, table in re.findall(r"^Of `([\w.]+)`[^\n]*:\n\n((?:\|.*\n)+)", page, re.M):
            cells = [line.split("|")[1:3] for line in table.splitlines()]
            header, _, *rows = [[cell.strip(" `") for cell in line] for line in cells]
            assert header == ["parameter", "default"]
            yield pytest.param(dotted, dict(rows), id=f"{name}-{dotted}")


def plain(value):
    """As YAML has it."""
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("dotted, said", tables())
def test_the_table_is_the_signature(dotted, said):
    module, _, name = dotted.rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    safe = YAML(typ="safe").load
    read = {name: REQUIRED if text == "required" else safe(text) for name, text in said.items()}
    assert read == {name: plain(found.default) for name, found in parameters.items()}
    assert list(read) == list(parameters)


@pytest.mark.parametrize("name", TEXTS)
def test_a_page_has_all_its_parts(name):
    parts = re.findall(r"^## (.*)$", TEXTS[name], re.M)
    assert parts == ["Equation", "Parameters", "When to use it", "Cost", "Source", "YAML"]
    assert f"]({name}.md" in README


def corpus():
    """36 utterances of 12 speakers; of a third the language is not known."""
    languages = [("fra", "Indo-European", "FR"), ("spa", "Indo-European", "ES")]
    languages += [("tam", "Dravidian", "IN"), ("fin", "Uralic", "FI")]
    rows = {}
    for i in range(36):
        language, family, region = languages[i % 4]
        row = {"language": language if i % 3 else "", "family": family, "region": region}
        row |= {
            "speaker": f"s{i % 12}",
            "gender": ("female", "male")[i % 2],
            "age": str(20 + 2 * i),
        }
        rows[f"u{i}"] = {"ID": f"u{i}", "emotion": ("sad", "happy", "angry")[i % 3], **row}
    return MetadataTable(rows)


def loss_and_gradients(path, overrides):
    """Of the head of an experiment, on random frames of three layers; how large gradients are."""
    settings = load_settings(path, overrides, only=["head", "d_model"])
    torch.manual_seed(0)
    table = corpus()
    head = settings["head"](metadata=table)
    pooled = torch.randn(36, 3, 2 * settings["d_model"])
    loss = head(pooled, table([f"u{i}" for i in range(36)])).loss
    loss.backward()
    read = [parameter.grad.norm().item() for parameter in head.parameters()]
    return loss.item(), read


@pytest.mark.parametrize("text", YAMLS)
def test_the_yaml_of_a_page_trains_a_head(text, tmp_path):
    for base in ("masr.yaml", "masr_published.yaml"):
        shutil.copy(ROOT / "hparams" / base, tmp_path)
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    loss, gradients = loss_and_gradients(tmp_path / "mine.yaml", {})
    assert 0 < loss < 100 and min(gradients) > 0


@pytest.mark.parametrize("swap", SWAPS)
def test_a_swap_on_the_command_line_trains_a_head(swap):
    path = str(ROOT / "hparams/masr.yaml")
    _, _, overrides = parse_arguments([path, *shlex.split(swap)])
    assert set(overrides) == {word.removeprefix("--") for word in swap.split() if "--" in word}
    loss, gradients = loss_and_gradients(path, overrides)
    assert 0 < loss < 100 and min(gradients) > 0
