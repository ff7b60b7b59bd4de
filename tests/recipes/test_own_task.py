"""A task of one's own: a train.py and a YAML, and nothing else is edited."""

import json
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, load_recipe
from speechbrain.inference.encoders import WaveformEncoder

RECIPE = '''
"""How long an utterance is, from its frames."""

import sys

import torch

from masr_modules.downstream.brain import DownstreamBrain, load_for
from masr_modules.downstream.export import new_block, plain, save_inference
from masr_modules.downstream.report import finish
from masr_modules.downstream.task import Column, Guess, Task, Use
from masr_modules.experiment import load_rows, start_experiment
from masr_modules.inference import UtteranceEmbedding

INFERENCE = """\\
embedding: !new:masr_modules.inference.UtteranceEmbedding
    encoder: !ref <encoder>
    mixer: !ref <mixer>
    head: !ref <head>
modules:
    encoder: !ref <embedding>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding: !ref <embedding>
"""


class SecondsBrain(DownstreamBrain):
    def compute_forward(self, batch, stage):
        embeddings = self.modules.head(*self.frames(batch, stage))
        return self.modules.regressor(embeddings).squeeze(1)

    def compute_objectives(self, predictions, batch, stage):
        errors = (predictions - torch.tensor([self.seconds[key] for key in batch.id])).abs()
        self.errors += errors.tolist()
        return errors.mean()

    def start_scores(self, stage):
        self.errors = []

    def scores(self, stage):
        return {"seconds_off": sum(self.errors) / len(self.errors)}


TASK = Task(
    name="seconds",
    title="Duration of speech",
    brain=SecondsBrain,
    columns=(Column("seconds off", "seconds_off", "loss"),),
    higher_is_better=False,
    chance=lambda results: Guess(results["figures"]["mean_guessed"], 0.0),
    use=Use(
        "encoders",
        "WaveformEncoder",
        "encode_file",
        note=lambda metrics: f"The mean alone is {metrics['mean_guessed']:.2f} s off.",
    ),
    mini_yaml="mini_seconds.yaml",
    prefix="duration",
)


def main(arguments):
    hparams, run_opts = start_experiment(arguments)
    rows, pretrained = load_rows(hparams), load_for(hparams)
    head = hparams["head"](input_size=pretrained.d_model)
    learnt = {"head": head, "regressor": torch.nn.Linear(head.embedding_size, 1)}
    brain = TASK.brain.from_hparams(hparams, run_opts, pretrained, **learnt)
    brain.seconds = {k: row["duration"] for split in rows.values() for k, row in split.items()}
    brain.train_on(rows["train"], rows["valid"])
    metrics = brain.test_on(rows["test"])
    of = {split: torch.tensor([brain.seconds[k] for k in found]) for split, found in rows.items()}
    metrics["mean_guessed"] = (of["test"] - of["train"].mean()).abs().mean().item()
    finish(brain, hparams, TASK, metrics, rows["test"])
    modules = (plain(brain.modules[name]) for name in ("encoder", "mixer", "head"))
    blocks = [new_block("head", hparams["head"], input_size=pretrained.d_model), INFERENCE]
    save_inference(brain, hparams, TASK, blocks, {"embedding": UtteranceEmbedding(*modules)})


if __name__ == "__main__":
    main(sys.argv[1:])
'''

YAML = f"""
base: {ROOT}/hparams/mini_lid.yaml
without: [label, classifier]
goal: min
valid_metric: seconds_off
"""


@pytest.fixture
def own(tmp_path):
    """The two files of the task, and its recipe as a module."""
    folder = tmp_path / "recipes/seconds"
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(RECIPE)
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
    assert row[3] == f"{trained.results['figures']['seconds_off']:.2f}"


def test_its_model_card_states_its_use_and_the_folder_loads_so(trained):
    folder = trained.folder / "inference"
    card = (folder / "README.md").read_text()
    assert "# Duration of speech" in card
    assert "    from speechbrain.inference.encoders import WaveformEncoder\n" in card
    assert '    print(model.encode_file("speech.wav"))\n' in card
    off = trained.results["figures"]["mean_guessed"]
    assert f"\nThe mean alone is {off:.2f} s off.\n" in card
    loaded = WaveformEncoder.from_hparams(source=str(folder), savedir=str(folder))
    assert loaded.encode_batch(torch.randn(1, 16000), torch.ones(1)).isfinite().all()


def test_encoders_are_compared_on_it(own):
    compare = load_recipe("downstream/compare")
    assert list(compare.find_tasks()) == ["language_id", "asr", "emotion", "speaker"]
    task = compare.find_tasks(own.recipes)["seconds"]
    run = {"figures": {"seconds_off": 2.0, "mean_guessed": 2.5}}
    assert not task.at_chance([run])
    run["figures"]["seconds_off"] = 2.6
    assert task.at_chance([run])


def test_a_task_that_is_not_called_like_its_folder_is_refused(own):
    (own.recipes / "seconds").rename(own.recipes / "length")
    with pytest.raises(ValueError, match="length/train.py: its task is called 'seconds'"):
        load_recipe("downstream/compare").find_tasks(own.recipes)
