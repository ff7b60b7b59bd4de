"""How the folders lie: imports run one way, and no file outgrows its name."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "masr_modules").rglob("*.py"))

#: From the ground up: a room may use itself and those before it.
ROOMS = (
    "files",
    "results",
    "plots",
    "settings",
    "provenance",
    "data",
    "distributed",
    "random_state",
    "checkpoints",
    "loading",
    "trainer",
    "knowledge",
    "pairwise",
    "encoders",
    "objectives",
    "metrics",
    "runs",
    "study",
    "experiment",
    "inference",
    "model_card",
    "pretrain_report",
    "downstream",
    "analysis",
)


def imported(path):
    """Dotted names that a module imports, at its top or inside."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room_of(dotted):
    return dotted.removeprefix("masr_modules.").split(".")[0]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "masr_modules").rglob("*.py")), ids=lambda path: path.stem
)
def test_no_room_uses_one_above_it(path):
    own = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if own == "__init__":
        return
    used = {room_of(name) for name in imported(path) if name.startswith("masr_modules.")}
    above = [room for room in used if ROOMS.index(room) > ROOMS.index(own)]
    assert not above, f"{own} uses {above}, which are above it"


def test_the_library_uses_no_recipe_and_no_preparation():
    for path in LIBRARY:
        assert not {n for n in imported(path) if n.startswith(("data_prep", "recipes"))}, path
    for path in (ROOT / "data_prep").rglob("*.py"):
        assert not {n for n in imported(path) if n.startswith("recipes")}, path


@pytest.mark.parametrize("folder", ["masr_modules", "data_prep", "recipes", "benchmarks", "docs"])
def test_no_module_outgrows_a_look(folder):
    for path in (ROOT / folder).rglob("*.py"):
        limit = 200 if path.name == "train.py" else 350
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= limit, f"{path.relative_to(ROOT)}: {lines} lines; something wants a name"


def test_a_yaml_says_what_differs():
    lengths = [
        len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "hparams").rglob("*.yaml")
    ]
    assert sum(lengths) <= 1750
