"""The comparison: what is complete is not repeated, and the table holds every seed."""

import json
import sys
from pathlib import Path

import pytest
from conftest import load_recipe


@pytest.fixture
def compare(monkeypatch):
    module = load_recipe("pretrain/compare")
    monkeypatch.setattr(module, "prepare_corpus", lambda arguments: None)
    return module


def fake_train(monkeypatch, compare, returncode=0):
    """Stands for the training runs: writes results that tell system and seed; keeps commands."""
    commands = []

    def run(command, **_):
        commands.append(command)
        value = dict(zip(command[3::2], command[4::2], strict=False))
        knn = int(value["--seed"]) / 10
        names = [value["--system"]]
        if value["--baselines"] == "true":
            names += compare.BASELINES
        folder = Path(value["--output_folder"])
        results = {name: {"knn": knn} for name in names}
        (folder / "results.json").write_text(json.dumps(results))
        answers = {name: {"knn": {"layer": 1, "answers": [1.0, 0.0]}} for name in names}
        (folder / "answers.json").write_text(json.dumps(answers))
        return type("Done", (), {"returncode": returncode})

    monkeypatch.setattr(compare.subprocess, "run", run)
    return commands


@pytest.fixture
def call(monkeypatch, compare, tmp_path):
    def call(*arguments):
        folders = ["--output_folder", tmp_path, "--record", tmp_path / "runs.csv"]
        command = ["compare.py", *folders, *arguments]
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        compare.main()

    return call


def test_every_seed_is_in_the_table_and_recorded_runs_are_not_repeated(
    compare, monkeypatch, tmp_path, capsys, call
):
    commands = fake_train(monkeypatch, compare)
    settings = ("--seeds", 2, 4, "--systems", "LASR", "MASR")
    call(*settings)
    assert len(commands) == 4
    assert sum("hardest" in command for command in commands) == 2
    # Seeds 2 and 4 give .2 and .4: mean 30, sample standard deviation 14.1 per cent.
    assert "| 30.0 ± 14.1" in capsys.readouterr().out
    assert "MASR" in (tmp_path / "systems.md").read_text()
    call(*settings)
    assert len(commands) == 4
    call(*settings, "--", "--number_of_steps", 5)  # other settings are other runs
    assert len(commands) == 8


def test_baselines_come_once_a_seed_beside_the_first_system(compare, monkeypatch, call, capsys):
    fake_train(monkeypatch, compare)
    call("--systems", "SSL only", "MASR")
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert rows == ["encoder", "-" * 18, "SSL only", "MASR", *compare.BASELINES]


def test_the_record_alone_gives_the_tables(compare, monkeypatch, call, capsys):
    commands = fake_train(monkeypatch, compare)
    call("--seeds", 2, "--systems", "SSL only", "MASR")
    call("--seeds", 4, "--systems", "SSL only")
    capsys.readouterr()
    call("--seeds", 2, 4, "--systems", "SSL only", "MASR", "LASR", "--recorded")
    table = capsys.readouterr().out
    assert len(commands) == 3 and "LASR" not in table
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ")]
    seeds = {name.strip(): count.strip() for name, count in rows}
    assert seeds["SSL only"] == seeds["untrained"] == "2" and seeds["MASR"] == "1"


def test_the_last_row_is_compared_with_others(compare, monkeypatch, tmp_path, call):
    fake_train(monkeypatch, compare)
    seen = []
    monkeypatch.setattr(compare, "compare_table", lambda *args: seen.append(args[1:3]) or "gains")
    call("--systems", "SSL only", "MASR", "--against", "SSL only", "untrained")
    (((key, name), others),) = seen
    assert name == "MASR" and [other for _, other in others] == ["SSL only", "untrained"]
    assert others[0][0] == others[1][0] != key  # baselines go with the first system
    assert (tmp_path / "systems-gains.md").read_text() == "gains\n"


def test_the_table_replaces_the_one_in_a_readme(compare, monkeypatch, tmp_path, call):
    fake_train(monkeypatch, compare)
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- pretrain-systems -->\nold\n<!-- /pretrain-systems -->\nb\n")
    call("--systems", "MASR", "--readme", readme)
    text = readme.read_text()
    assert "old" not in text and "| MASR" in text and text.endswith("b\n")


def test_a_readme_without_a_place_for_the_table_is_an_error(compare, monkeypatch, tmp_path, call):
    fake_train(monkeypatch, compare)
    (tmp_path / "README.md").write_text("nothing\n")
    with pytest.raises(ValueError, match="README.md: no block between <!-- pretrain-systems -->"):
        call("--systems", "MASR", "--readme", tmp_path / "README.md")


def test_a_run_that_fails_names_its_log_and_is_not_recorded(compare, monkeypatch, tmp_path, call):
    fake_train(monkeypatch, compare, returncode=1)
    with pytest.raises(RuntimeError, match="MASR, seed 1234 failed: see .*output.txt"):
        call("--systems", "MASR")
    assert not (tmp_path / "runs.csv").exists()


@pytest.mark.parametrize("system", load_recipe("pretrain/compare").ARMS)
def test_every_system_trains(system, compare, pretrain, arguments, tmp_path):
    # The tiny corpus has other languages.
    arm = ["{language: [nld]}" if "nld" in word else word for word in compare.ARMS[system]]
    pretrain.main([*arguments(number_of_steps=2, system=system), *arm])
    assert system in json.loads((tmp_path / "out/results.json").read_text())


def test_pairs_by_thresholds_train(pretrain, arguments, tmp_path):
    head = (
        "!new:masr_modules.pairwise.heads.MASRHead {identity: null, sources: !ref <knowledge>, "
        "loss: !ref <loss>, input_size: !ref 2 * <d_model>, embedding_size: !ref <embedding_size>}"
    )
    pretrain.main(arguments(head=head, number_of_steps=2))
    assert "train anchors:" in (tmp_path / "out/train_log.txt").read_text()


def test_another_ssl_method_has_its_own_yaml_and_folder(compare, monkeypatch, tmp_path):
    commands = fake_train(monkeypatch, compare)
    monkeypatch.chdir(tmp_path)
    options = ["--ssl", "wav2vec2", "--systems", "MASR", "--record", "runs.csv"]
    monkeypatch.setattr(sys, "argv", ["compare.py", *options])
    compare.main()
    assert commands[0][2].endswith("hparams/pretrain_wav2vec2.yaml")
    assert (tmp_path / "results/compare_wav2vec2/systems.md").is_file()


def test_another_corpus_has_its_yaml_record_and_encoders(compare, monkeypatch, tmp_path):
    commands = fake_train(monkeypatch, compare)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["compare.py", "--corpus", "debian", "--systems", "SSL only", "MASR"]
    )
    compare.main()
    assert commands[0][2].endswith("hparams/pretrain_debian.yaml")
    root = Path("results/compare_debian")
    assert (root / "runs.csv").is_file()
    lines = (root / "encoders.txt").read_text().splitlines()
    folders = dict(line.split("=") for line in lines)
    assert list(folders) == ["SSL only", "MASR"]
    for folder in folders.values():
        assert Path(folder.replace("{seed}", "1234"), "results.json").is_file()


def test_hubert_finds_its_units_before_the_first_run(compare, monkeypatch, call):
    order = []
    commands = fake_train(monkeypatch, compare)
    monkeypatch.setattr(compare, "find_units", lambda yaml, extra: order.append((yaml, extra)))
    call("--ssl", "hubert", "--systems", "SSL only", "MASR", "--", "--num_units", 5)
    assert order == [("pretrain_hubert.yaml", ["--num_units", "5"])]
    assert [command[-2:] for command in commands] == [["--num_units", "5"]] * 2


def test_every_method_of_the_comparison_has_its_yaml(compare):
    assert all((compare.HPARAMS / yaml).is_file() for yaml in compare.METHODS.values())
