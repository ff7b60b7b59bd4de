"""How the folders lie: imports run one way, tests mirror the package; every test asserts."""

import ast
from functools import cache
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
    "commands",
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


def test_tests_mirror_the_package():
    """A file of tests is named after a module of its room, or after the room: what all share."""
    for room in ROOMS:
        modules = {path.stem for path in (ROOT / "masr_modules" / room).glob("*.py")}
        for path in (ROOT / "tests" / room).glob("test_*.py"):
            assert path.stem.removeprefix("test_") in modules | {room}, path
    loose = {path.name for path in (ROOT / "tests").glob("test_*.py")}
    assert loose <= {"test_inference.py", "test_distributed.py"}
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders <= {*ROOMS, "data_prep", "recipes", "repository", "support"}


TESTS = sorted((ROOT / "tests").rglob("*.py"))
RAISES = {"pytest.raises", "pytest.warns", "pytest.fail"}


@cache
def functions(path):
    """Functions of a file, those of its classes with them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def called(function):
    return {ast.unparse(n.func) for n in ast.walk(function) if isinstance(n, ast.Call)}


def asserts(function, helpers=frozenset()):
    """Whether a function states something, itself or by a function that does."""
    calls = called(function)
    return (
        any(isinstance(node, ast.Assert) for node in ast.walk(function))
        or bool(calls & (RAISES | helpers))
        or any("assert_" in name for name in calls)  # of torch.testing, numpy.testing, mocks
    )


def without_assertion(paths, shared=()):
    """Tests that would pass whatever the code does; those of `shared` may state it for them."""
    found = []
    common = {f.name for path in shared for f in functions(path) if asserts(f)}
    for path in paths:
        own = {f.name for f in functions(path) if asserts(f) and not f.name.startswith("test")}
        tests = [f for f in functions(path) if f.name.startswith("test")]
        found += [f"{path.name}::{f.name}" for f in tests if not asserts(f, own | common)]
    return found


def test_every_test_asserts_something():
    helpers = [path for path in TESTS if not path.name.startswith("test_")]
    assert not without_assertion([path for path in TESTS if path not in helpers], helpers)


def test_a_test_without_an_assertion_is_seen(tmp_path):
    (tmp_path / "test_a.py").write_text(
        "def check(x):\n    assert x\n\ndef prepare():\n    return 1\n\n"
        "def test_a():\n    prepare()\n\ndef test_b():\n    check(prepare())\n\n"
        "def test_c():\n    with pytest.raises(OSError):\n        prepare()\n"
    )
    assert without_assertion([tmp_path / "test_a.py"]) == ["test_a.py::test_a"]
