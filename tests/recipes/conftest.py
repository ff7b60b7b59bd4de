"""A tiny embedded corpus, made once, and the recipe as a function."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/data_prep")]


def load_recipe(name):
    """Imports recipes/NAME.py, which is a script and no part of the package."""
    spec = importlib.util.spec_from_file_location(
        name.replace("/", "_"), ROOT / f"recipes/{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def mini_corpus(tmp_path_factory):
    """About two minutes in three languages; the folder's csv/ holds the CSVs."""
    from data_prep.mini_prepare import prepare_mini

    folder = tmp_path_factory.mktemp("mini")
    prepare_mini(str(folder), str(folder / "csv"), languages=["es", "pt", "nl"], hours=0.04)
    return folder


@pytest.fixture(scope="session")
def pretrain():
    """recipes/pretrain/train.py as a module."""
    return load_recipe("pretrain/train")


@pytest.fixture
def arguments(mini_corpus, tmp_path):
    """Command line of a run of a few steps of a small encoder on the tiny corpus."""

    def build(yaml="masr.yaml", **overrides):
        settings = {
            "data_folder": mini_corpus,
            "csv_folder": mini_corpus / "csv",
            "output_folder": tmp_path / "out",
            "skip_prep": True,
            "number_of_steps": 4,
            "d_model": 16,
            "d_ffn": 16,
            "nhead": 2,
            "num_layers": 1,
            "codebook_size": 8,
            "max_batch_seconds": 12.0,
            "lr_warmup_steps": 1,
            "masr_warmup_steps": 1,
            "knn_every_epochs": 1,
        } | overrides
        flags = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
        return [str(ROOT / "hparams" / yaml), *flags, "--noprogressbar"]

    return build
