"""How the folders lie: imports run one way, and no file outgrows its name."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("masr_modules", "data_prep", "recipes")
LIBRARY = sorted((ROOT / "masr_modules").rglob("*.py"))

#: From the ground up: a room may use itself and those before it.
ROOMS = (
    "config",
    "data",
    "distributed",
    "knowledge",
    "encoders",
    "objectives",
    "metrics",
    "pairwise",
    "heads",
    "training",
    "inference",
    "reporting",
    "downstream",
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


def test_no_module_lies_loose():
    loose = {path.name for path in (ROOT / "masr_modules").glob("*.py")}
    assert loose == {"__init__.py", "inference.py", "distributed.py"}
    folders = {path.name for path in (ROOT / "masr_modules").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == set(ROOMS) - {"inference", "distributed"}


def test_messages_go_through_the_standard_librarys_logging():
    for path in (path for top in CODE for path in (ROOT / top).rglob("*.py")):
        assert "speechbrain.utils.logger" not in imported(path), path
