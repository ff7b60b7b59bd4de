"""pyproject.toml declares what the code imports, and requirements.txt pins it."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import find_packages

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OWN = {"masr_modules", "data_prep", "recipes", "tests", "benchmarks", "docs", "encoder_analysis"}
#: Declared and not imported, and the text by which it is used.
THROUGH = {
    "tensorboard": ("hparams/masr.yaml", "TensorboardLogger"),
    "tzdata": ("masr_modules/knowledge/territories.py", 'files("tzdata")'),
    "urielplus": ("masr_modules/knowledge/languages.py", 'files("urielplus")'),
    "pytest-xdist": ("Makefile", "-n 2"),
    "ruff": ("Makefile", "ruff check"),
}


def requirements(lines):
    """Canonical name -> requirement."""
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def pins(path):
    lines = [line.partition("#")[0].strip() for line in (ROOT / path).read_text().splitlines()]
    return requirements(line for line in lines if line and not line.startswith("-"))


CORE = requirements(PROJECT["project"]["dependencies"])
EXTRAS = {
    name: requirements(lines) for name, lines in PROJECT["project"]["optional-dependencies"].items()
}


def imported(*folders):
    """Distributions that the code of some folders imports -> a file that does."""
    own = OWN | {path.stem for folder in folders for path in (ROOT / folder).rglob("*.py")}
    known, found = packages_distributions(), {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            for name in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names):
                if name not in own:
                    found[canonicalize_name(known.get(name, [name])[0])] = path
    return found


def test_what_is_imported_is_declared():
    declared = CORE.keys() | EXTRAS["hub"].keys()
    used = imported("masr_modules", "data_prep", "recipes", "docs")
    assert not {name: path for name, path in used.items() if name not in declared}
    used = imported("benchmarks").keys() - pins("benchmarks/requirements.txt").keys()
    assert used <= declared
    assert imported("tests").keys() <= declared | EXTRAS["test"].keys()


def test_what_is_declared_is_used():
    used = imported("masr_modules", "data_prep", "recipes").keys()
    for name in (CORE | EXTRAS["hub"] | EXTRAS["test"]).keys() - used - imported("tests").keys():
        file, text = THROUGH[name]
        assert text in (ROOT / file).read_text(encoding="utf-8"), name


def test_every_pin_lies_in_its_range():
    pinned, declared = pins("requirements.txt"), CORE | EXTRAS["hub"] | EXTRAS["test"]
    assert pinned.keys() == declared.keys()
    for name, pin in pinned.items():
        (exact,) = pin.specifier
        assert exact.operator == "==" and exact.version in declared[name].specifier, name
        assert len(declared[name].specifier) >= 1, f"{name} has no range"


def test_all_folders_of_code_are_packaged():
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    packaged = set(find_packages(str(ROOT), include=include))
    for top in ("masr_modules", "data_prep"):
        folders = {path.parent.relative_to(ROOT) for path in (ROOT / top).rglob("*.py")}
        assert {".".join(folder.parts) for folder in folders} <= packaged
        others = [p for p in (ROOT / top).rglob("*") if p.suffix not in ("", ".py", ".pyc", ".md")]
        assert not others, f"{others} would not be installed: declare package-data"


@pytest.fixture
def without_hub(tmp_path):
    """Runs code as where only the core is installed."""

    def run(code):
        blocked = "import sys; sys.modules.update(transformers=None, peft=None); "
        command = [sys.executable, "-c", blocked + code]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    return run


@pytest.mark.slow
def test_the_core_alone_is_enough_for_inference(without_hub):
    done = without_hub("from masr_modules.inference import MASREncoder")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_without_transformers_its_models_name_the_extra(without_hub, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    done = without_hub(
        "from masr_modules.encoders.pretrained import load_encoder; "
        f"load_encoder({str(tmp_path)!r})"
    )
    assert re.search(r"ImportError: .*pip install 'masr\[hub\]'", done.stderr), done.stderr
