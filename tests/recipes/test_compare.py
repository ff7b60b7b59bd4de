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
