"""Calls to libraries that can run or fetch someone else's code say that they must not."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("masr_modules", "data_prep", "recipes", "benchmarks", "examples", "docs")
FILES = [str(p.relative_to(ROOT)) for f in FOLDERS for p in sorted((ROOT / f).rglob("*.py"))]
#: Function -> the argument that it must be given, and its value.
NEEDED = {
    "from_pretrained": ("trust_remote_code", False),
    "torch.load": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
    "extractall": ("filter", "data"),
}
#: What only these files may call: pickles and HyperPyYAML of our own making, tasks of a recipe.
ALLOWED = {
    "pickle.load": {
        "masr_modules/data/headers.py",  # answers of a process that it started
        "masr_modules/data/header_worker.py",  # questions of the process that started it
        "data_prep/mini/vocabulary.py",  # data of the installed package babel
    },
    "load_hyperpyyaml": {  # the experiment's YAML, which is the user's own code
        "masr_modules/config/settings.py",
        "masr_modules/config/provenance.py",
        "masr_modules/training/experiment.py",
    },
    "runpy.run_path": {"masr_modules/downstream/task.py"},  # the recipes beside it
    **dict.fromkeys(
        ["pickle.loads", "pickle.Unpickler", "eval", "exec", "os.system", "os.popen", "joblib.load"]
        + ["yaml.unsafe_load", "yaml.full_load", "torch.hub.load", "load_dataset", "foreign_class"]
        + ["load_from_disk", "import_custom_module", "pandas.read_pickle", "marshal.loads"]
        + ["tar.extract", "file.extract", "archive.extract", "Pretrained.from_hparams"]
        + ["EncoderClassifier.from_hparams", "EncoderASR.from_hparams"]
        + ["SpeakerRecognition.from_hparams"],
        set(),
    ),
}


def calls(code):
    """Dotted name and node of each call; what was imported under another name has its own."""
    tree, origin = ast.parse(code), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            origin |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom):
            origin |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            yield origin.get(first, first) + dot + rest, node


def problems(found):
    """What is wrong with (file, dotted name, node)."""
    for file, name, node in found:
        given = {k.arg: getattr(k.value, "value", ...) for k in node.keywords}
        for function, (argument, value) in NEEDED.items():
            if (name == function or name.endswith(f".{function}")) and given.get(argument) != value:
                yield f"{file}:{node.lineno}: {name} without {argument}={value!r}"
        for function, files in ALLOWED.items():
            inside = name.endswith(f".{function}") and function not in ("eval", "exec")
            if (name == function or inside) and file not in files:
                yield f"{file}:{node.lineno}: {name}"
        if given.get("shell") or "Loader" in given:
            yield f"{file}:{node.lineno}: {name} with a shell or a loader of its own"


def test_every_call_that_can_run_code_says_no():
    found = [(file, *c) for file in FILES for c in calls((ROOT / file).read_text("utf-8"))]
    assert len(found) > 5000
    assert list(problems(found)) == []


@pytest.mark.parametrize(
    "code",
    ["AutoModel.from_pretrained(x)", "torch.load(x)", "np.load(x, allow_pickle=True)", "eval(x)"]
    + ["tar.extractall(x)", "pickle.load(x)", "subprocess.run(x, shell=True)", "os.system(x)"]
    + ["datasets.load_dataset(x)", "AutoConfig.from_pretrained(x, trust_remote_code=y)"]
    + ["from numpy import load\nload(x)", "from pickle import load as l\nl(x)"]
    + ["import numpy as n\nn.load(x)", "yaml.load(x, Loader=UnsafeLoader)"]
    + ["from torch import load\nload(x)", "tar.extract(x)"]
    + ["from speechbrain.inference import EncoderASR\nEncoderASR.from_hparams(source=x)"],
)
def test_the_test_itself_finds_them(code):
    found = calls(f"import numpy as np\n{code}")
    assert len(list(problems([("a.py", *call) for call in found]))) == 1
