"""pyproject.toml declares what the code imports, core or extra; requirements.txt pins it."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from core_only import modules_of_extras, run_with_core
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML
from setuptools import find_packages

import masr_modules

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LIBRARY = ("masr_modules", "data_prep", "recipes")
OWN = {"masr_modules", "data_prep", "recipes", "tests", "benchmarks", "docs", "encoder_analysis"}
#: Declared and not imported, and the text by which it is used.
THROUGH = {
    "tensorboard": ("hparams/masr.yaml", "TensorboardLogger"),
    "mkdocs": ("Makefile", "bin/mkdocs build"),
    "mkdocs-material": ("mkdocs.yml", "name: material"),
    "mkdocstrings-python": ("mkdocs.yml", "- mkdocstrings:"),
    "griffelib": ("docs/site_hooks.py", "griffe.Extension"),
    "tzdata": ("masr_modules/knowledge/territories.py", 'files("tzdata")'),
    "urielplus": ("masr_modules/knowledge/languages.py", 'files("urielplus")'),
    "pytest-xdist": ("Makefile", "-n 2"),
    "ruff": ("Makefile", "bin/ruff check"),
    "codespell": ("Makefile", "bin/codespell"),
    "yamllint": ("Makefile", "bin/yamllint"),
    "mypy": ("Makefile", "bin/mypy"),
    "types-tqdm": ("pyproject.toml", "[tool.mypy]"),
    "pre-commit": ("CONTRIBUTING.md", "pre-commit install"),
}
#: Folder -> the extra inside which alone another folder imports it.
WITHIN = {"data_prep/mini": "mini"}
#: What is of no use without an extra, and says so when it is imported.
NEEDS = {
    "data_prep.voxceleb_convert": "prep",
    "data_prep.whisper_wheel": "hub",
    "masr_modules.encoders.adapters": "hub",
    "masr_modules.encoders.huggingface": "hub",
    "masr_modules.encoders.transformers_export": "hub",
    "masr_modules.encoders.transformers_files": "hub",
    "masr_modules.encoders.whisper": "hub",
    "masr_modules.metrics.plots": "report",
    "masr_modules.objectives.data2vec_published": "hub",
    "masr_modules.objectives.hubert_published": "hub",
    "masr_modules.objectives.huggingface": "hub",
    "masr_modules.objectives.published": "hub",
    "masr_modules.objectives.start": "hub",
    "masr_modules.objectives.wav2vec2_published": "hub",
    "masr_modules.reporting.heat_map": "report",
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
DECLARED = CORE | {name: found for extra in EXTRAS.values() for name, found in extra.items()}


def imports(node, extra=None):
    """Module and the extra that a `with extra(NAME):` around its import names, or None."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, extra) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield node.module, extra
    elif isinstance(node, ast.With):
        calls = [item.context_expr for item in node.items]
        named = [c.args[0].value for c in calls if ast.unparse(c).startswith("extra(")]
        extra = named[0] if named else extra
    for child in ast.iter_child_nodes(node):
        yield from imports(child, extra)


def imported(*folders):
    """Distribution, extra around it and file, of each import in some folders."""
    own = OWN | {path.stem for folder in folders for path in (ROOT / folder).rglob("*.py")}
    known = packages_distributions()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        inside = WITHIN.get(path.relative_to(ROOT).parent.as_posix())
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for module, extra in imports(tree, inside):
            name = module.split(".")[0]
            if name not in own | set(sys.stdlib_module_names):
                yield canonicalize_name(known.get(name, [name])[0]), extra, path


def names(*folders):
    return {name for name, _, _ in imported(*folders)}


def test_what_is_imported_is_in_the_core_or_in_the_extra_that_the_import_names():
    for name, extra, path in imported(*LIBRARY):
        if name not in CORE:
            assert name in EXTRAS.get(extra, ()), f"{path}: {name}"
    assert names("docs") <= CORE.keys() | EXTRAS["report"].keys() | EXTRAS["docs"].keys()
    assert names("benchmarks") <= DECLARED.keys() | pins("benchmarks/requirements.txt").keys()
    assert names("tests") <= DECLARED.keys()


def test_what_is_declared_is_used_and_declared_once():
    for name in DECLARED.keys() - names(*LIBRARY, "tests"):
        file, text = THROUGH[name]
        assert text in (ROOT / file).read_text(encoding="utf-8"), name
    assert len(DECLARED) == len(CORE) + sum(map(len, EXTRAS.values()))


def test_every_pin_lies_in_its_range():
    pinned = pins("requirements.txt")
    assert pinned.keys() == DECLARED.keys()
    for name, pin in pinned.items():
        (exact,) = pin.specifier
        assert exact.operator == "==" and exact.version in DECLARED[name].specifier, name
        assert len(DECLARED[name].specifier) >= 1, f"{name} has no range"
    everything = f"-e .[{','.join(EXTRAS)}]"
    assert everything in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()


def test_all_folders_of_code_are_packaged():
    setuptools = PROJECT["tool"]["setuptools"]
    packaged = set(find_packages(str(ROOT), include=setuptools["packages"]["find"]["include"]))
    for top in ("masr_modules", "data_prep"):
        folders = {path.parent.relative_to(ROOT) for path in (ROOT / top).rglob("*.py")}
        assert {".".join(folder.parts) for folder in folders} <= packaged
        others = [p for p in (ROOT / top).rglob("*") if p.suffix not in ("", ".py", ".pyc", ".md")]
        data = {ROOT / top / name for name in setuptools["package-data"].get(top, ())}
        assert set(others) == data, f"{others} would not be installed: declare package-data"


def test_the_version_stands_in_one_place():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "masr_modules.__version__"
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[?([\d.]+)", log, re.M)[1]
    assert re.sub(r"\.dev\d+$", "", masr_modules.__version__) == newest


def test_a_commit_is_checked_by_the_parts_of_make_lint():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    parts = re.search(r"^lint: (.+)$", makefile, re.M)[1].split()
    config = YAML(typ="safe").load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert [hook["entry"] for hook in hooks] == [f"make {part}" for part in parts]
    assert "pre-commit run --all-files" in (ROOT / ".ci/run").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_core_alone_is_enough_for_all_but_what_names_its_extra():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for top in ("masr_modules", "data_prep")
        for path in sorted((ROOT / top).rglob("*.py"))
        if path.parent.relative_to(ROOT).as_posix() not in WITHIN
    ]
    assert {"masr_modules.inference", "data_prep.mini_prepare", *NEEDS} <= set(modules)
    assert {"transformers", "matplotlib", "tensorboard", "av", "babel"} <= {*modules_of_extras()}
    done = run_with_core(f"""
import importlib
from masr_modules.config.extras import MissingExtraError
for module in {modules}:
    try:
        importlib.import_module(module)
    except MissingExtraError as error:
        print(module, error)
""")
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said.keys() == NEEDS.keys()
    for module, text in said.items():
        assert text.endswith(f' is not installed: pip install "masr[{NEEDS[module]}]"')


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra, code",
    [
        (
            "mini",
            "from data_prep.mini_prepare import prepare_mini; "
            "prepare_mini('a', 'b', skip_prep=True); prepare_mini('a', 'b')",
        ),
        ("prep", "from data_prep.debian.audio import decode; decode('a.g722')"),
        ("prep", "from data_prep.debian.packages import unpack; unpack('a.deb', 'b')"),
        (
            "report",
            "from masr_modules.metrics.classification import plot_confusion; "
            "plot_confusion(None, {}, 'a.png')",
        ),
        ("report", "import runpy; runpy.run_path('recipes/study/tables.py')"),
        (
            "report",
            "import runpy; sys.path.append('recipes/analysis'); "
            "runpy.run_path('recipes/analysis/analyse.py')",
        ),
    ],
)
def test_what_lacks_an_extra_names_it(extra, code):
    done = run_with_core(code)
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert "MissingExtraError: " in error and f'pip install "masr[{extra}]"' in error


@pytest.mark.slow
def test_without_transformers_its_models_name_the_extra(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    done = run_with_core(
        "from masr_modules.encoders.pretrained import load_encoder; "
        f"load_encoder({str(tmp_path)!r})"
    )
    assert f"{tmp_path} is a model of the transformers library: " in done.stderr
    assert 'pip install "masr[hub]"' in done.stderr.splitlines()[-1]
