"""Runs code as where the core alone is installed: `pip install .`, without extras."""

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def modules_of_extras():
    """What `import` calls the packages that the extras for users install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [line for name in extras.keys() - {"docs", "test"} for line in extras[name]]
    wanted = {canonicalize_name(Requirement(line).name) for line in lines}
    return [
        module
        for module, distributions in packages_distributions().items()
        if wanted & set(map(canonicalize_name, distributions))
    ]


def run_with_core(code, *arguments):
    """Runs code in a process of its own; returns it with what it printed."""
    block = f"import sys; sys.modules.update(dict.fromkeys({modules_of_extras()})); "
    command = [sys.executable, "-c", block + code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
