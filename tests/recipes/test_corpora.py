"""Each corpus from its tiny tree to the table of results, by the commands of docs/corpora."""

import importlib
import json
import shutil
from pathlib import Path

import pytest
import soundfile
import tiny_debs
import torch
from conftest import ROOT, SMALL, keys_of, load_recipe, yamls
from corpus_pages import PAGES, TOP, commands, files
from test_pretrain import CORPORA, Killed, kill_before_step, weights
from trees import (
    VOXLINGUA_VIDEOS,
    commonvoice_tree,
    fleurs_tree,
    only_validated,
    own_table_tree,
    voxlingua107_tree,
)
from trees_acted_emotion import acted_tree
from trees_iemocap import iemocap_tree
from trees_kaldi import kaldi_tree
from trees_voxceleb import VIDEOS, voxceleb1_tree, voxceleb2_tree, write_m4a

from data_prep.common.command_line import run as run_preparation
from masr_modules.commands import main as masr
from masr_modules.data.corpus import load_csv

pytestmark = pytest.mark.slow


def voxceleb_tree(folder):
    """Both, with a clip that waits to be converted."""
    write_m4a(folder / f"dev/aac/id00012/{VIDEOS[0]}/00003.m4a")
    return voxceleb1_tree(voxceleb2_tree(folder))


#: Name of a corpus -> builds it.
TREES = {
    "fleurs": fleurs_tree,
    "voxlingua107": lambda folder: voxlingua107_tree(
        folder, videos=[*VOXLINGUA_VIDEOS, *(f"video-{n}_" for n in range(6))]
    ),
    "commonvoice": commonvoice_tree,
    "iemocap": iemocap_tree,
    "voxceleb": lambda folder: voxceleb1_tree(voxceleb2_tree(folder)),
    "debian": lambda folder: tiny_debs.make_packages(folder, broken=False),
}

#: What a corpus this small needs.
OPTIONS = {"voxlingua107": {"valid_share": 0.3}, "voxceleb": {"valid_share": 0.3}}

#: Page of docs/corpora -> folder that its commands name -> builds the corpus there.
FOLDERS = {
    "README": {
        "FLEURS": fleurs_tree,
        "CV-CORPUS": commonvoice_tree,
        "VOXLINGUA107": TREES["voxlingua107"],
    },
    "acted_emotion": {"RAVDESS": lambda folder: acted_tree(folder, "ravdess", 0.4)},
    "common_voice": {
        "CV-CORPUS": commonvoice_tree,
        "CV-SAMPLE": lambda folder: only_validated(commonvoice_tree(folder)),
    },
    "debian": {"data/debian": TREES["debian"]},
    "fleurs": {"FLEURS": fleurs_tree},
    "iemocap": {
        "IEMOCAP": lambda folder: iemocap_tree(folder, labels=("ang", "exc", "sad", "neu", "fru"))
    },
    "kaldi": {"SPEECHOCEAN762": kaldi_tree},
    "own_table": {"MINE": own_table_tree},
    "synthetic": {},  # data/mini is the fixture mini_corpus
    "voxceleb": {"VOXCELEB": voxceleb_tree},
    "voxlingua107": {"VOXLINGUA107": TREES["voxlingua107"]},
    TOP: {"FLEURS": fleurs_tree},
}

#: What else README says to run, and the tests that do. Its own recordings: test_how_to.py.
ELSEWHERE = {
    "pip": "repository/test_packaging.py",
    "make": "repository/test_docs.py",
    "masr embed": "commands/test_embed.py",
    "data_prep.whisper_wheel": "data_prep/test_whisper_wheel.py",
    "hparams/whisper_tiny.yaml": "recipes/test_pretrain.py",
    "hparams/mine.yaml": "recipes/test_how_to.py",
}

#: YAML -> what it needs on so little data: pieces of words take more texts, one utterance per
#: speaker or one speaker to validate makes no trials, a clip no segments of seconds.
NEEDS = {
    "fleurs_asr.yaml": {"model_type": "char", "vocab_size": "null"},
    "mini_speaker.yaml": {"valid_metric": "identification_error"},
    "pretrain_voxceleb.yaml": OPTIONS["voxceleb"],
    "pretrain_voxlingua107.yaml": OPTIONS["voxlingua107"],
    "voxceleb_speaker.yaml": {
        "segment_seconds": 0.1,
        "valid_metric": "identification_error",
        "held_out_share": 0.5,
        **OPTIONS["voxceleb"],
    },
    "voxlingua107_lid.yaml": OPTIONS["voxlingua107"],
}

#: The synthetic corpus is made once for all tests, with fewer languages and minutes.
SMALL_MINI = ["--languages", "es", "pt", "nl", "--hours", "0.04"]
MADE_MINI = {"skip_prep": True, "train_csv": "data/mini/csv/train.csv"}


def run_module(name, words):
    """`python -m NAME WORDS`, here."""
    module = importlib.import_module(name)
    if hasattr(module, "main"):
        return module.main(words)
    kind = name.rpartition(".")[2].removesuffix("_prepare")
    words = [*words, *SMALL_MINI] if kind == "mini" else words
    return run_preparation(getattr(module, f"prepare_{kind}"), words)


def small(path, words, more):
    """The overrides that make a YAML a run of two steps, but those that a command has."""
    short = {key: value for key, value in SMALL.items() if key != "skip_prep"}
    short |= {"number_of_steps": 2, "number_of_epochs": 1} | NEEDS.get(path.name, {}) | more
    keys = set(keys_of(path)) - {word.removeprefix("--") for word in words}
    settings = {key: value for key, value in short.items() if key in keys}
    return [text for key, value in settings.items() for text in (f"--{key}", str(value))]


@pytest.fixture
def follow(pretrain, mini_corpus, pretrained_folder, in_process, tmp_path, monkeypatch):
    """Runs the commands of a page as they stand, in a folder with the tiny corpora they name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "hparams", tmp_path / "hparams")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mini").symlink_to(mini_corpus)
    (tmp_path / "ENCODER").symlink_to(pretrained_folder)

    def run(page, wanted=None, **more):
        for folder, build in FOLDERS[page].items():
            build(tmp_path / folder)
        for title, text in files(page).items() if page != TOP else ():
            (tmp_path / title).write_text(text, encoding="utf-8")
        more |= MADE_MINI if page == "synthetic" else {}
        for program, first, *words in commands(page) if wanted is None else wanted:
            if program == "masr":
                assert masr.main([first, *words]) == 0
                continue
            assert program == "python", program
            before = {*tmp_path.glob("results/**/results.json")}
            if first == "-m":
                run_module(words[0], words[1:])
                continue
            yaml, *words = words
            if "--number_of_steps" in words:
                words[words.index("--number_of_steps") + 1] = "2"
            sizes = small(tmp_path / yaml, words, more)
            recipe = first.removeprefix("recipes/").removesuffix(".py")
            module = pretrain if recipe == "pretrain/train" else load_recipe(recipe)
            module.main([yaml, *words, *sizes, "--noprogressbar"])
            written = {*tmp_path.glob("results/**/results.json")} - before
            assert written, f"{first} {yaml} wrote no results.json"
            for path in written:
                check_results(path, recipe)

    return run


def check_results(path, recipe):
    """What a run wrote is whole."""
    results = json.loads(path.read_text())
    if recipe == "pretrain/train":
        assert 0 <= next(iter(results.values()))["knn"] <= 1
        log = (path.parent / "train_log.txt").read_text()
        assert "train ssl:" in log and "train masr:" in log
    else:
        assert results["freeze"] and results["utterances"] > 0
        assert sum(results["layer_shares"]) == pytest.approx(1, abs=1e-3)
        assert (path.parent / "inference/README.md").is_file()


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README"])
def test_the_commands_of_a_page_run_as_they_stand(page, follow, tmp_path):
    follow(page)
    for folder in FOLDERS[page]:
        csvs = {path for path in (tmp_path / folder).rglob("*.csv") if path.parent.name != "meta"}
        splits = [path for path in csvs if path.stem in ("train", "valid", "test")]
        assert splits and all(load_csv(path, tmp_path / folder) for path in splits)


def test_each_command_of_the_readme_is_run_here_or_elsewhere(follow):
    on_pages = [line for page in PAGES for line in commands(page)]
    own = [line for line in commands(TOP) if line not in on_pages]
    others = {line for line in map(" ".join, own) if any(key in line for key in ELSEWHERE)}
    follow(TOP, [line for line in own if " ".join(line) not in others])
    assert all(any(key in line for line in others) for key in ELSEWHERE)
    assert all((ROOT / "tests" / file).is_file() for file in ELSEWHERE.values())


def yamls_of_pages():
    return {Path(word).name for page in PAGES for line in commands(page) for word in line[2:3]}


def test_every_yaml_of_a_corpus_is_run_by_a_page():
    of_corpora = {*CORPORA, "masr.yaml", *yamls("*_lid.yaml", "*_asr.yaml", "*_emotion.yaml")}
    of_corpora |= {*yamls("*_speaker.yaml", "*_identification.yaml")}
    of_people = {*yamls("people*.yaml")}  # docs/people.md, test_people.py
    assert of_corpora - of_people <= yamls_of_pages()


def test_every_preparation_is_run_by_a_page():
    scripts = {path.stem for path in (ROOT / "data_prep").glob("*_prepare.py")}
    run = {word.removeprefix("data_prep.") for p in PAGES for c in commands(p) for word in c[2:3]}
    assert scripts - {"people_prepare"} <= run  # docs/people.md, test_people.py


def test_a_killed_run_on_shards_resumes_to_the_same_weights(
    pretrain, arguments, tmp_path, monkeypatch
):
    folder = TREES["voxlingua107"](tmp_path / "corpus")
    settings = {
        "data_folder": folder,
        "train_shards": folder / "shards",
        "shard_window": 15,
        "skip_prep": False,
        "number_of_steps": 3,  # of the four of an epoch
        "ckpt_interval_minutes": 0,
        "ckpt_interval_steps": 1,
        **OPTIONS["voxlingua107"],
    }
    yaml = "pretrain_voxlingua107.yaml"
    pretrain.main(arguments(yaml, output_folder=tmp_path / "whole", **settings))
    with monkeypatch.context() as patch:
        kill_before_step(patch, pretrain, 2)
        with pytest.raises(Killed):
            pretrain.main(arguments(yaml, output_folder=tmp_path / "killed", **settings))
    for wav in folder.glob("??/*.wav"):
        soundfile.write(wav, [0.0] * 16000, 16000)  # training reads the shards alone
    pretrain.main(arguments(yaml, output_folder=tmp_path / "killed", **settings))
    expected, resumed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(value, resumed[key]) for key, value in expected.items())


def test_the_table_tells_the_probed_label(pretrain, arguments, tmp_path):
    folder = iemocap_tree(tmp_path / "iemocap")
    settings = {"data_folder": folder, "skip_prep": False, "number_of_steps": 2, "fold": 3}
    pretrain.main(arguments("pretrain_iemocap.yaml", **settings))
    header = (tmp_path / "out/results.md").read_text().splitlines()[0]
    assert "emotion kNN" in header and "language" not in header
    metrics = json.loads((tmp_path / "out/results.json").read_text())["untrained"]
    assert 0 <= metrics["linear"] <= 1 and 0 <= metrics["speaker_eer"] <= 1
    assert metrics["family"] != metrics["family"]  # not known: no language is asked for


def test_a_probed_label_that_nobody_has_is_named(pretrain, arguments, tmp_path):
    folder = voxceleb1_tree(tmp_path / "voxceleb")
    settings = {"data_folder": folder, "skip_prep": False, "valid_share": 0.3}
    with pytest.raises(ValueError, match="no training utterance has a language: set probe_column"):
        pretrain.main(arguments("pretrain_voxceleb.yaml", **settings, probe_column="language"))


def test_several_corpora_at_once(follow, pretrain, tmp_path, monkeypatch):
    seen = []
    forward = pretrain.PretrainBrain.compute_forward

    def spy(self, batch, stage):
        if stage.name == "TRAIN":
            seen.extend(batch.id)
        return forward(self, batch, stage)

    monkeypatch.setattr(pretrain.PretrainBrain, "compute_forward", spy)
    follow("README", number_of_steps=6)
    assert {utterance.split("_")[0] for utterance in seen} == {
        "fleurs",
        "commonvoice",
        "voxlingua107",
    }
