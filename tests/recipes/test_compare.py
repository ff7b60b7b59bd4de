"""The comparison: what is complete is not repeated, and the table holds every seed."""

import json
import sys

import pytest
from conftest import load_recipe


@pytest.fixture
def compare(monkeypatch):
    module = load_recipe("pretrain/compare")
    monkeypatch.setattr(module, "prepare_mini", lambda *folders: None)
    return module


def fake_train(monkeypatch, compare, returncode=0):
    """Stands for the training runs: writes results that tell system and seed; keeps commands."""
    commands = []

    def run(command, **_):
        commands.append(command)
        value = dict(zip(command[3::2], command[4::2], strict=False))
        knn = int(value["--seed"]) / 10
        results = {value["--system"]: {"knn": knn}}
        results |= {baseline: {"knn": 0.0} for baseline in compare.BASELINES}
        with open(f"{value['--output_folder']}/results.json", "w") as file:
            json.dump(results, file)
        return type("Done", (), {"returncode": returncode})

    monkeypatch.setattr(compare.subprocess, "run", run)
    return commands


def call(monkeypatch, compare, *arguments):
    monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, arguments)])
    compare.main()


def test_every_seed_is_in_the_table_and_complete_runs_are_kept(
    compare, monkeypatch, tmp_path, capsys
):
    commands = fake_train(monkeypatch, compare)
    settings = ("--seeds", 2, 4, "--systems", "LASR", "MASR", "--output_folder", tmp_path)
    call(monkeypatch, compare, *settings)
    assert len(commands) == 4
    assert [command[-4:] for command in commands if "LASR" in command] == [
        ["--mining", "hardest", "--margin_mode", "constant"]
    ] * 2
    # Seeds 2 and 4 give .2 and .4: mean 30, sample standard deviation 14.1 per cent.
    assert "| 30.0 ± 14.1" in capsys.readouterr().out
    assert "MASR" in (tmp_path / "systems.md").read_text()
    call(monkeypatch, compare, *settings)
    assert len(commands) == 4


def test_the_table_replaces_the_one_in_a_readme(compare, monkeypatch, tmp_path):
    fake_train(monkeypatch, compare)
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- pretrain-systems -->\nold\n<!-- /pretrain-systems -->\nb\n")
    call(monkeypatch, compare, "--systems", "MASR", "--output_folder", tmp_path, "--readme", readme)
    text = readme.read_text()
    assert "old" not in text and "| MASR" in text and text.endswith("b\n")


def test_a_run_that_fails_names_its_log(compare, monkeypatch, tmp_path):
    fake_train(monkeypatch, compare, returncode=1)
    with pytest.raises(RuntimeError, match="MASR, seed 1234 failed: see .*output.txt"):
        call(monkeypatch, compare, "--systems", "MASR", "--output_folder", tmp_path)


@pytest.mark.parametrize("system", load_recipe("pretrain/compare").ARMS)
def test_every_system_trains(system, compare, pretrain, arguments, tmp_path):
    pretrain.main([*arguments(number_of_steps=2, system=system), *compare.ARMS[system]])
    assert system in json.loads((tmp_path / "out/results.json").read_text())


def test_pairs_by_thresholds_train(pretrain, arguments, tmp_path):
    settings = {"identity": "null", "batch_identity": "language", "number_of_steps": 2}
    pretrain.main(arguments(**settings))
    assert "train anchors:" in (tmp_path / "out/train_log.txt").read_text()


def test_another_ssl_method_has_its_own_yaml_and_folder(compare, monkeypatch, tmp_path):
    commands = fake_train(monkeypatch, compare)
    monkeypatch.chdir(tmp_path)
    call(monkeypatch, compare, "--ssl", "wav2vec2", "--systems", "MASR")
    assert commands[0][2].endswith("hparams/pretrain_wav2vec2.yaml")
    assert (tmp_path / "results/compare_wav2vec2/systems.md").is_file()


def test_hubert_finds_its_units_before_the_first_run(compare, monkeypatch, tmp_path):
    order = []
    monkeypatch.setattr(compare, "find_units", lambda yaml, extra: order.append((yaml, extra)))
    monkeypatch.setattr(compare, "run", lambda *arm: order.append(arm[1]))
    monkeypatch.setattr(compare, "collect", lambda *_: {})
    monkeypatch.setattr(compare, "format_table", lambda _: "")
    settings = ("--ssl", "hubert", "--systems", "SSL only", "MASR", "--output_folder", tmp_path)
    call(monkeypatch, compare, *settings, "--", "--num_units", 5)
    assert order == [("pretrain_hubert.yaml", ["--num_units", "5"]), "SSL only", "MASR"]


def test_every_method_of_the_comparison_has_its_yaml(compare):
    assert all((compare.HPARAMS / yaml).is_file() for yaml in compare.METHODS.values())
