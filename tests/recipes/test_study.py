"""Studies: what is complete is not repeated, and the table holds every seed."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from conftest import ROOT, edited_csv, keys_of, load_recipe

from masr_modules.config.command_line import parse_arguments
from masr_modules.config.provenance import fingerprint
from masr_modules.config.settings import load_settings
from masr_modules.reporting.pretrain_record import pretrain_record
from masr_modules.reporting.study import Studies

pytestmark = pytest.mark.slow

STUDIES = Studies(ROOT / "recipes/study/studies.yaml")


@pytest.fixture
def study(monkeypatch):
    module = load_recipe("study/run")
    monkeypatch.setattr(module, "prepare_corpus", lambda arguments: None)
    monkeypatch.setattr(module, "keep_labels", lambda *arguments: {})
    return module


def fake_train(monkeypatch, study, returncode=0):
    """Stands for the training runs: writes results that tell system and seed; keeps commands."""
    commands = []

    def run(command, **_):
        commands.append(command)
        value = dict(zip(command[3::2], command[4::2], strict=False))
        knn = int(value["--seed"]) / 10
        names = [value["--system"]]
        if value["--baselines"] == "true":
            names += study.BASELINES
        folder = Path(value["--output_folder"])
        results = {name: {"knn": knn} for name in names}
        (folder / "results.json").write_text(json.dumps(results))
        correct = {name: {"knn": {"layer": 1, "correct": [1.0, 0.0]}} for name in names}
        (folder / "correct.json").write_text(json.dumps(correct))
        return type("Done", (), {"returncode": returncode})

    monkeypatch.setattr(study.subprocess, "run", run)
    return commands


@pytest.fixture
def call(monkeypatch, study, tmp_path):
    def call(*arguments):
        folders = ["--output_folder", tmp_path, "--record", tmp_path / "runs.csv"]
        command = ["run.py", *folders, *arguments]
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        study.main()

    return call


def test_every_seed_is_in_the_table_and_recorded_runs_are_not_repeated(
    study, monkeypatch, tmp_path, capsys, call
):
    commands = fake_train(monkeypatch, study)
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


def test_baselines_come_once_a_seed_beside_the_first_system(study, monkeypatch, call, capsys):
    fake_train(monkeypatch, study)
    call("--systems", "SSL only", "MASR")
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert rows == ["encoder", "-" * 18, "SSL only", "MASR", *study.BASELINES]


def test_the_record_alone_gives_the_tables(study, monkeypatch, call, capsys):
    commands = fake_train(monkeypatch, study)
    call("--seeds", 2, "--systems", "SSL only", "MASR")
    call("--seeds", 4, "--systems", "SSL only")
    capsys.readouterr()
    call("--seeds", 2, 4, "--systems", "SSL only", "MASR", "LASR", "--recorded")
    table = capsys.readouterr().out
    assert len(commands) == 3 and "LASR" not in table
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ")]
    seeds = {name.strip(): count.strip() for name, count in rows}
    assert seeds["SSL only"] == seeds["untrained"] == "2" and seeds["MASR"] == "1"


def test_the_last_row_is_compared_with_others(study, monkeypatch, tmp_path, call):
    fake_train(monkeypatch, study)
    seen = []
    monkeypatch.setattr(
        "masr_modules.reporting.study.compare_table",
        lambda *args: seen.append(args[1:3]) or "gains",
    )
    call("--systems", "SSL only", "MASR", "--against", "SSL only", "untrained", "LASR")
    (((key, ssl, name), others),) = seen
    assert (name, ssl) == ("MASR", "best_rq")
    assert [other[1:] for other in others] == [(ssl, "SSL only"), (ssl, "untrained")]
    assert others[0][0] == others[1][0] != key  # baselines go with the first system
    assert (tmp_path / "systems-gains.md").read_text() == "gains\n"


def test_a_study_brings_its_arms_seeds_and_comparisons(study, monkeypatch, tmp_path, call):
    commands = fake_train(monkeypatch, study)
    monkeypatch.setattr(
        "masr_modules.reporting.study.compare_table",
        lambda *args: " ".join(name for _, _, name in args[2]),
    )
    call("--study", "partial10")
    partial = STUDIES["partial10"]
    assert len(commands) == len(partial.systems) * len(partial.seeds) == 6 * 3
    assert all("{language: 0.9}" in command for command in commands)
    gains = (tmp_path / "partial10-gains.md").read_text()
    there = [arm for arm in partial.against if arm in partial.arms]  # cross-entropy did not run
    assert gains == " ".join(there) + "\n" and "LASR, 10 % of languages" in there


def test_the_list_tells_runs_by_their_ids(study, monkeypatch, capsys, call):
    commands = fake_train(monkeypatch, study)
    call("--systems", "MASR", "--seeds", 2)
    capsys.readouterr()
    call("--systems", "MASR", "LASR", "--seeds", 2, "--list")
    (key, state, name), (other, missing, _) = (
        line.split() for line in capsys.readouterr().out.splitlines()
    )
    assert (state, name, missing) == ("recorded", "MASR", "missing")
    (folder,) = (command[command.index("--output_folder") + 1] for command in commands)
    assert folder.endswith(f"MASR/{key}") and key.endswith("/2") and other != key


def test_an_arm_that_no_study_has_is_refused_with_the_nearest(call, capsys):
    for arguments in (("--systems", "MISR"), ("--against", "MISR"), ("--systems", "untrained")):
        with pytest.raises(SystemExit):
            call(*arguments)
        error = capsys.readouterr().err.split("error: ")[1]
        assert f"{arguments[0]}: no study has '{arguments[1]}'" in error
        assert ("did you mean 'MASR'" in error) == (arguments[1] == "MISR")


def test_corpora_of_other_hours_are_made_beside_the_default_one(study, monkeypatch, call):
    made = []
    monkeypatch.setattr(study, "prepare_corpus", made.append)
    fake_train(monkeypatch, study)
    call("--systems", "MASR", "MASR, 4 hours", "--seeds", 2)
    default, other = made
    assert "--corpus_hours" not in default
    path, _, overrides = parse_arguments(other)
    settings = load_settings(path, overrides, only=["train_csv", "test_csv", "prepare"])
    assert settings["train_csv"] == "data/mini/csv_4h/train.csv"
    assert settings["test_csv"] == "data/mini/csv/test.csv"
    assert settings["prepare"].keywords["hours"] == 4


def test_a_run_that_fails_names_its_log_and_is_not_recorded(study, monkeypatch, tmp_path, call):
    fake_train(monkeypatch, study, returncode=1)
    with pytest.raises(RuntimeError, match="MASR, seed 1234 failed: see .*output.txt"):
        call("--systems", "MASR")
    assert not (tmp_path / "runs.csv").exists()


#: Each system once, and of conditions that change the same keys one.
CONDITIONS = {tuple(STUDIES.changes(f"MASR, {name}")): name for name in STUDIES.conditions}
TRAINED = [*STUDIES.systems, *(f"MASR, {name}" for name in CONDITIONS.values())]


def with_sentences(rows):
    return [row | {"sentence_id": str(number % 3)} for number, row in enumerate(rows)]


@pytest.mark.parametrize("arm", TRAINED)
def test_every_system_and_condition_trains(arm, pretrain, arguments, mini_corpus, tmp_path):
    overrides = STUDIES.overrides(arm)
    if "nld" in " ".join(overrides):  # the tiny corpus has other languages
        overrides[-1] = "{language: [nld]}"
    if "family: " in " ".join(overrides):  # of a single family
        overrides += ["--family_depth", "3"]
    if "--csv_folder" in overrides:  # and no other hours
        (tmp_path / "csv_h").symlink_to(mini_corpus / "csv")
        overrides[overrides.index("--csv_folder") + 1] = str(tmp_path / "csv_h")
    settings, yaml = {"system": arm}, "masr.yaml"
    if not {*STUDIES.changes(arm)} <= {*keys_of(yaml)}:  # of recordings of people alone
        yaml, settings["questions"] = "people.yaml", "null"
        for split in ("train", "valid", "test"):
            settings[f"{split}_csv"] = str(mini_corpus / f"csv/{split}.csv")
    if "sentence_id" in " ".join(overrides):  # a column that the synthetic corpus lacks
        for split in ("train", "valid", "test"):
            settings[f"{split}_csv"] = edited_csv(mini_corpus, tmp_path, with_sentences, split)
    few = ["--number_of_steps", "2"]  # last, for some conditions train longer
    pretrain.main([*arguments(yaml, **settings), *overrides, *few])
    assert arm in json.loads((tmp_path / "out/results.json").read_text())


def test_an_encoder_that_only_probes_differ_on_is_trained_once(
    study, monkeypatch, pretrain, small_overrides, mini_corpus, tmp_path, call
):
    many = str(mini_corpus / "csv/train.csv")  # of which a tenth is less than all
    settings = small_overrides(number_of_steps=2, labelled_csv=many)
    del settings["output_folder"]
    small = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
    steps = []
    forward = pretrain.PretrainBrain.compute_forward
    monkeypatch.setattr(
        pretrain.PretrainBrain,
        "compute_forward",
        lambda self, batch, stage: steps.append(stage.name) or forward(self, batch, stage),
    )

    def run(command, **_):
        steps.clear()
        pretrain.main(command[2:])
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(study.subprocess, "run", run)
    call("--systems", "MASR", "--seeds", 2, "--", *small)
    assert steps.count("TRAIN") == 2
    call("--systems", "MASR, probes on 10 %", "--seeds", 2, "--", *small)
    assert "TRAIN" not in steps and "TEST" in steps
    shutil.rmtree(tmp_path / "MASR")  # the other measurement has the encoder too
    call("--systems", "MASR, probes on 5 %", "--seeds", 2, "--", *small)
    assert "TRAIN" not in steps and "TEST" in steps
    runs = pretrain_record(tmp_path / "runs.csv").runs
    whole, share = (
        {metric: row["value"] for metric, row in found.items()}
        for arm in ("MASR", "MASR, probes on 10 %")
        for run, found in runs.items()
        if run.system == arm
    )
    assert whole["ssl_loss"] == share["ssl_loss"] and whole != share


def test_pairs_by_thresholds_train(pretrain, arguments, tmp_path):
    head = (
        "!name:masr_modules.heads.MASRHead {identity: null, sources: !ref <knowledge>, "
        "loss: !ref <loss>, projection: !new:masr_modules.heads.Projection "
        "{input_size: !ref 2 * <d_model>, output_size: !ref <embedding_size>}}"
    )
    pretrain.main(arguments(head=head, number_of_steps=2))
    assert "train anchors:" in (tmp_path / "out/train_log.txt").read_text()


def test_another_ssl_method_has_its_own_yaml_and_folder(study, monkeypatch, tmp_path):
    commands = fake_train(monkeypatch, study)
    monkeypatch.chdir(tmp_path)
    options = ["--ssl", "wav2vec2", "--systems", "MASR", "--record", "runs.csv"]
    monkeypatch.setattr(sys, "argv", ["run.py", *options])
    study.main()
    assert commands[0][2].endswith("hparams/pretrain_wav2vec2.yaml")
    assert (tmp_path / "results/compare_wav2vec2/systems.md").is_file()


def test_a_study_of_another_ssl_method_brings_its_yaml(study, monkeypatch, call):
    commands = fake_train(monkeypatch, study)
    call("--study", "data2vec", "--systems", "MASR")
    assert all(command[2].endswith("hparams/pretrain_data2vec.yaml") for command in commands)


def test_another_corpus_has_its_yaml_record_and_encoders(study, monkeypatch, tmp_path):
    commands = fake_train(monkeypatch, study)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["run.py", "--corpus", "debian", "--systems", "SSL only", "MASR"]
    )
    study.main()
    assert commands[0][2].endswith("hparams/pretrain_debian.yaml")
    root = Path("results/compare_debian")
    assert (root / "runs.csv").is_file()
    lines = (root / "encoders.txt").read_text().splitlines()
    folders = dict(line.split("=") for line in lines)
    assert list(folders) == ["SSL only", "MASR"]
    for folder in folders.values():
        assert Path(folder.replace("{seed}", "1234"), "results.json").is_file()


def test_hubert_finds_its_units_before_the_first_run(study, monkeypatch, call):
    order = []
    commands = fake_train(monkeypatch, study)
    monkeypatch.setattr(study, "find_units", lambda yaml, extra: order.append((yaml.name, extra)))
    systems = ("--systems", "SSL only", "MASR", "--seeds", 1234)
    call("--ssl", "hubert", *systems, "--", "--num_units", 5)
    assert order == [("pretrain_hubert.yaml", ["--num_units", "5"])]
    assert [command[-2:] for command in commands] == [["--num_units", "5"]] * 2


def test_every_method_of_the_comparison_has_its_yaml(study):
    assert all((study.HPARAMS / yaml).is_file() for yaml in study.METHODS.values())


def test_the_arm_as_published_is_the_yaml_of_that_name():
    arm = STUDIES.overrides("MASR as published")
    published = ROOT / "hparams/masr_published.yaml"
    assert fingerprint(published, []) == fingerprint(ROOT / "hparams/masr.yaml", arm)
