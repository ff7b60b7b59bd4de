"""A tiny synthetic corpus, made once, and the recipe as a function."""

import csv
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from masr_modules.config.settings import merge_bases

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]


def load_recipe(name):
    """Imports recipes/NAME.py, or that of a whole path: a script, and no part of the package."""
    spec = importlib.util.spec_from_file_location(
        name.replace("/", "_"), ROOT / "recipes" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def in_process(monkeypatch):
    """Makes the commands that a recipe would start run here."""
    commands = []

    def run(command, **options):
        commands.append(command[2:])
        load_recipe(f"{command[1].split('/')[-2]}/train").main(command[2:])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


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


@pytest.fixture(scope="session")
def kmeans():
    """recipes/pretrain/kmeans.py as a module."""
    return load_recipe("pretrain/kmeans")


@pytest.fixture(scope="session")
def hf_folder(tmp_path_factory):
    """Hub name in a YAML -> a small model of that family."""
    from hf_models import save_small

    names = {"xlsr_300m": "xls_r", "w2v_bert2": "wav2vec2-bert", "whisper_tiny": "whisper"}
    return {yaml: save_small(name, tmp_path_factory.mktemp(yaml)) for yaml, name in names.items()}


#: What makes a run of any YAML small; a YAML takes those of its keys.
SMALL = {
    "skip_prep": True,
    "number_of_steps": 4,
    "d_model": 16,
    "d_ffn": 16,
    "nhead": 2,
    "num_layers": 2,
    "front_end_channels": 8,
    "codebook_size": 8,
    "num_codes": 8,
    "code_dim": 8,
    "num_units": 8,
    "contrastive_layers": 1,
    "top_layers": 2,
    "max_batch_seconds": 12.0,
    "max_crop_seconds": 2.0,
    "num_workers": 0,
    "grad_accumulation_factor": 1,
    "lr_warmup_steps": 1,
    "lr_decay_steps": 1,
    "masr_warmup_steps": 1,
    "knn_every_epochs": 1,
    "number_of_epochs": 2,
    "head_only_steps": 1,
}


def keys_of(yaml):
    """The top-level keys of a YAML, those of its bases with them."""
    return list(merge_bases(ROOT / "hparams" / yaml))


def starts_from_source(yaml):
    """Whether a YAML names what it starts from, whose sizes are then its own."""
    return merge_bases(ROOT / "hparams" / yaml).get("source") is not None


def placeholders(yaml):
    """The keys that a user has to give."""
    tree = merge_bases(ROOT / "hparams" / yaml)
    tags = {key: getattr(getattr(value, "tag", None), "value", "") for key, value in tree.items()}
    return [key for key, tag in tags.items() if tag == "!PLACEHOLDER"]


def small_settings(yaml, corpus, output_folder, source=None):
    """What makes a YAML a run of a few steps on a corpus in the form of the embedded one.

    `source` is what a YAML that has one starts from.
    """
    keys = keys_of(yaml)
    settings = {key: value for key, value in SMALL.items() if key in keys}
    settings |= {"data_folder": str(corpus), "output_folder": str(output_folder)}
    if "csv_folder" not in keys:
        for split in ("train", "valid", "test"):
            settings[f"{split}_csv"] = str(corpus / f"csv/{split}.csv")
    elif getattr(merge_bases(ROOT / "hparams" / yaml)["train_csv"], "value", "").endswith(
        "labelled.csv"  # one utterance a language there
    ):
        settings["train_csv"] = str(corpus / "csv/train.csv")
    for several in {"fleurs", "commonvoice", "voxlingua107"} & set(keys):
        settings[several] = str(corpus)
    if starts_from_source(yaml):
        settings |= {"source": source, "layers": {}}  # small models have two
        del settings["d_model"]
    return settings


def command_line(yaml, settings):
    """The arguments of a recipe's main."""
    flags = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
    return [str(ROOT / "hparams" / yaml), *flags, "--noprogressbar"]


@pytest.fixture(scope="session")
def pretrained_folder(pretrain, mini_corpus, tmp_path_factory):
    """What a pretraining of four steps wrote."""
    folder = tmp_path_factory.mktemp("pretrained")
    pretrain.main(command_line("masr.yaml", small_settings("masr.yaml", mini_corpus, folder)))
    return folder


@pytest.fixture
def small_overrides(mini_corpus, hf_folder, pretrained_folder, tmp_path):
    """The overrides that make a YAML a run of a few steps on the tiny corpus."""

    def build(yaml="masr.yaml", **overrides):
        source = hf_folder.get(Path(yaml).stem)
        settings = small_settings(yaml, mini_corpus, tmp_path / "out", source)
        if "pretrained" in keys_of(yaml):
            settings["pretrained"] = str(pretrained_folder)
            settings["cache_folder"] = str(tmp_path / "frames")
        return settings | overrides

    return build


@pytest.fixture
def arguments(small_overrides):
    """The command line of such a run."""
    return lambda yaml="masr.yaml", **overrides: command_line(
        yaml, small_overrides(yaml, **overrides)
    )


def logged(folder):
    """The numbers of a run's last epoch, such as `train ssl`, as its log has them."""
    (*_, epoch) = (folder / "train_log.txt").read_text().splitlines()
    pairs = re.findall(r"([\w ]+): ([-+.\w]+)", epoch)
    return {name.strip(): float(value) for name, value in pairs}


def yamls(*patterns):
    """Names under hparams/, sorted."""
    found = {path for pattern in patterns for path in (ROOT / "hparams").glob(pattern)}
    return sorted(str(path.relative_to(ROOT / "hparams")) for path in found)


def edited_csv(corpus, tmp_path, edit, split="train"):
    """A copy of a split's CSV with `edit` applied to its rows."""
    with open(corpus / f"csv/{split}.csv", encoding="utf-8", newline="") as file:
        before = list(csv.DictReader(file))
    rows = edit(before)
    path = tmp_path / f"edited_{split}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, (rows or before)[0])
        writer.writeheader()
        writer.writerows(rows)
    return path
