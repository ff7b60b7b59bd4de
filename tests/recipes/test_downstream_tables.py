"""Several runs of downstream recipes in one table: folds, encoders, tasks."""

import json

import pytest
from conftest import load_recipe
from test_corpora import TREES

from masr_modules.downstream.tables import downstream_record

pytestmark = pytest.mark.slow


def test_all_folds_of_iemocap_in_one_table(in_process, arguments, tmp_path, capsys):
    folder = TREES["iemocap"](tmp_path / "iemocap")
    line = arguments(
        "iemocap_emotion.yaml",
        data_folder=folder,
        skip_prep=False,
        number_of_epochs=1,
        output_folder=f"!ref {tmp_path}/out/fold<fold>/1234",
    )
    cross_validate = load_recipe("emotion/cross_validate")
    cross_validate.main(line)
    cross_validate.main(line)  # nothing left to do
    assert len(in_process) == 5
    metrics = [
        json.loads((tmp_path / f"out/fold{fold}/1234/results.json").read_text())["metrics"]
        for fold in range(1, 6)
    ]
    mean = 100 * sum(fold["macro_accuracy"] for fold in metrics) / 5
    table = (tmp_path / "out/cross_validation.md").read_text()
    assert f"| {mean:.1f} ± " in table and table in capsys.readouterr().out
    with pytest.raises(ValueError, match="leave_out: superb, this run has leave_out: session"):
        cross_validate.main([*line, "--leave_out", "session"])
    prepared = folder / "csv/superb_four/fold1"
    (prepared / "test.csv").write_text((prepared / "valid.csv").read_text())
    with pytest.raises(ValueError, match="was begun with other contents of test_csv"):
        cross_validate.main(line)


def test_folds_in_one_folder_are_refused(arguments, tmp_path):
    with pytest.raises(ValueError, match="all folds would write to one output_folder"):
        load_recipe("emotion/cross_validate").main(arguments("iemocap_emotion.yaml"))


def test_one_table_of_encoders_and_tasks(
    in_process, pretrained_folder, small_overrides, tmp_path, monkeypatch, capsys
):
    compare = load_recipe("downstream/compare")
    keep = ("data_folder", "skip_prep", "cache_folder", "number_of_epochs")
    settings = small_overrides("mini_lid.yaml", number_of_epochs=1)
    extra = [text for key in keep for text in (f"--{key}", str(settings[key]))]
    (tmp_path / "1234").symlink_to(pretrained_folder)
    line = ["--encoders", f"MASR={tmp_path}/{{seed}}", "--tasks", "language_id", "emotion"]
    line += ["--output_folder", str(tmp_path / "compare"), "--", *extra, "--noprogressbar"]
    compare.main(line)
    assert len(in_process) == 8  # two encoders, tasks and modes
    compare.main(line)
    assert len(in_process) == 8
    with pytest.raises(ValueError, match="begun with lr: 0.003, this run has lr: 0.5"):
        compare.main([*line, "--lr", "0.5"])
    printed = capsys.readouterr().out
    rows = [row.split("|") for row in printed.splitlines() if row.startswith("|")]
    names = [(row[1].strip(), row[2].strip()) for row in rows]
    for encoder in ("untrained", "MASR"):
        assert (encoder, "frozen") in names and (encoder, "fine-tuned") in names
    assert "untrained, frozen" in (tmp_path / "compare/language_id.md").read_text()
    assert len(downstream_record(tmp_path / "compare/runs.csv").runs) == 8


def test_another_corpus_has_its_tasks(tmp_path, capsys):
    compare = load_recipe("downstream/compare")
    (tmp_path / "encoders.txt").write_text("SSL only=a/{seed}\nMASR=b/{seed}\n")
    line = ["--encoders", f"@{tmp_path}/encoders.txt", "--corpus"]
    args = compare.parse([*line, "debian"])
    assert args.encoders == {"untrained": "a/{seed}", "SSL only": "a/{seed}", "MASR": "b/{seed}"}
    args = compare.parse([*line, "debian", "--no-untrained"])
    assert args.encoders == {"SSL only": "a/{seed}", "MASR": "b/{seed}"}
    assert [task.name for task in args.tasks] == ["asr", "speaker"]
    with pytest.raises(SystemExit):
        compare.parse([*line, "debia"])
    assert "--corpus debia: no task asked for has a YAML for it" in capsys.readouterr().err
