"""Tables of downstream runs, from their record."""

import pytest

from masr_modules.downstream import asr, emotion
from masr_modules.downstream.tables import (
    DownstreamRun,
    blocks,
    downstream_record,
    joint_table,
    recorded_metrics,
    task_table,
)
from masr_modules.downstream.task import Guess

TASKS = [asr.TASK, emotion.TASK]
GUESS = {"asr": Guess(1.0, 0.02), "emotion": Guess(0.2, 0.08)}


def recorded(tmp_path, *found):
    """A record: (corpus, task, encoder, seed, first metric) each."""
    record = downstream_record(tmp_path / "runs.csv")
    for corpus, task, encoder, seed, score in found:
        metrics = {{"asr": asr, "emotion": emotion}[task].TASK.first.key: score, "note": "text"}
        run = DownstreamRun(corpus, task, encoder, "frozen", seed)
        found = recorded_metrics({"metrics": metrics, "train_seconds": 90.0}, GUESS[task])
        record.add(run, found, if_recorded="replace")
    return downstream_record(record.path)


def cells(table):
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], *lines[2:])]


def test_seeds_are_averaged_and_what_is_missing_stays_empty(tmp_path):
    record = recorded(
        tmp_path,
        ("mini", "emotion", "untrained", 1, 0.25),
        ("mini", "emotion", "MASR", 1, 0.5),
        ("mini", "emotion", "MASR", 2, 0.7),
        ("mini", "asr", "MASR", 1, 0.6),
    )
    header, untrained, masr = cells(joint_table(record, "mini", TASKS))
    assert header == [
        "encoder",
        "tuning",
        "speech: mean CER of languages (%)",
        "emotion: unweighted accuracy (%)",
    ]
    assert masr == ["MASR", "frozen", "60.0", "60.0 ± 14.1"]
    assert untrained == ["untrained", "frozen", "", "25.0 †"]  # within .2 + .08
    header, *rows = cells(task_table(record, "mini", emotion.TASK))
    assert header == ["encoder", "unweighted accuracy (%)", "training (min)"]
    assert rows == [
        ["untrained, frozen", "25.0", "1.5"],
        ["MASR, frozen", "60.0 ± 14.1", "1.5"],
    ]


def test_a_run_again_takes_the_place_of_the_first(tmp_path):
    recorded(tmp_path, ("mini", "asr", "MASR", 1, 0.6), ("mini", "asr", "LASR", 1, 0.7))
    record = recorded(tmp_path, ("mini", "asr", "MASR", 1, 0.5))
    assert cells(joint_table(record, "mini", TASKS))[1:] == [
        ["MASR", "frozen", "50.0"],
        ["LASR", "frozen", "70.0"],
    ]


def test_every_corpus_has_blocks_of_its_own(tmp_path):
    record = recorded(tmp_path, ("mini", "asr", "MASR", 1, 0.6), ("debian", "asr", "MASR", 1, 0.7))
    assert list(blocks(record, TASKS)) == [
        ("downstream", "downstream-results"),
        ("asr", "asr-results"),
        ("downstream", "debian-downstream-results"),
        ("asr", "debian-asr-results"),
    ]


def test_another_file_is_refused(tmp_path):
    (tmp_path / "runs.csv").write_text("settings,seed\na,1\n")
    with pytest.raises(ValueError, match="runs.csv: its columns are not corpus, task, encoder"):
        downstream_record(tmp_path / "runs.csv")
