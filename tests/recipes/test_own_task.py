"""The task of docs/extend.md: a train.py and a YAML, and nothing else is edited."""

import json
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, load_recipe
from how_to import file_of
from speechbrain.inference.encoders import WaveformEncoder

from masr_modules.downstream.task import find_tasks

pytestmark = pytest.mark.slow

YAML = file_of("hparams/mini_seconds.yaml").replace("base: ", f"base: {ROOT}/hparams/")


@pytest.fixture
def own(tmp_path):
    """The two files of the task, and its recipe as a module."""
    folder = tmp_path / "recipes/seconds"
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(file_of("recipes/seconds/train.py"))
    (tmp_path / "mini_seconds.yaml").write_text(YAML)
    return SimpleNamespace(
        recipes=folder.parent,
        yaml=tmp_path / "mini_seconds.yaml",
        module=load_recipe(str(folder / "train")),
    )


@pytest.fixture
def trained(own, arguments, tmp_path, capsys):
    """What a run wrote and printed."""
    own.module.main(arguments(own.yaml, number_of_epochs=1))
    results = json.loads((tmp_path / "out/results.json").read_text())
    return SimpleNamespace(
        folder=tmp_path / "out", results=results, printed=capsys.readouterr().out
    )


def test_it_trains_and_prints_its_row(trained):
    assert trained.results["task"] == "seconds"
    table = [line for line in trained.printed.splitlines() if line.startswith("|")]
    header, _, row = ([cell.strip() for cell in line.split("|")] for line in table)
    assert header[3] == "seconds off"
    assert row[3] == f"{trained.results['metrics']['seconds_off']:.2f}"


def test_its_model_card_states_its_use_and_the_folder_loads_so(trained):
    folder = trained.folder / "inference"
    card = (folder / "README.md").read_text()
    assert "# Duration of speech" in card
    assert "    from speechbrain.inference.encoders import WaveformEncoder\n" in card
    assert '    print(model.encode_file("speech.wav"))\n' in card
    off = trained.results["metrics"]["mean_guessed"]
    assert f"\nThe mean alone is {off:.2f} s off.\n" in card
    loaded = WaveformEncoder.from_hparams(source=str(folder), savedir=str(folder))
    assert loaded.encode_batch(torch.randn(1, 16000), torch.ones(1)).isfinite().all()


def test_encoders_are_compared_on_it(own):
    assert list(find_tasks(ROOT / "recipes")) == ["language_id", "asr", "emotion", "speaker"]
    task = find_tasks(own.recipes)["seconds"]
    guess = task.chance({"metrics": {"mean_guessed": 2.5}})
    assert not task.at_chance([2.0], guess) and task.at_chance([2.6], guess)


def test_a_task_that_is_not_called_like_its_folder_is_refused(own):
    (own.recipes / "seconds").rename(own.recipes / "length")
    with pytest.raises(ValueError, match="length/train.py: its task is called 'seconds'"):
        find_tasks(own.recipes)
