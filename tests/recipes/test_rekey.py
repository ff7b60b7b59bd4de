"""Recorded runs under new names."""

import pytest
from conftest import load_recipe

REKEY = load_recipe("study/rekey")
ROWS = [
    {"settings": "k1", "ssl": "best_rq", "system": "SSL only", "metric": "knn", "answers": "1"},
    {"settings": "k1", "ssl": "best_rq", "system": "untrained", "metric": "knn", "answers": "2"},
    {"settings": "k2", "ssl": "best_rq", "system": "MASR, half, old", "metric": "x", "answers": ""},
]


def then(ssl, arms):
    return {arm: {"SSL only": "k1", "MASR, half, old": "k2"}[arm] for arm in arms}


def now(ssl, arms):
    return {arm: {"SSL only": "n1", "MASR, half, new": "n2"}[arm] for arm in arms}


def test_every_run_gets_the_fingerprint_of_its_arm_and_a_baseline_that_of_the_first():
    keys = REKEY.new_keys(ROWS, {"old": "new"}, then, now)
    assert keys == {
        ("best_rq", "k1", "SSL only"): "n1",
        ("best_rq", "k1", "untrained"): "n1",
        ("best_rq", "k2", "MASR, half, old"): "n2",
    }


def test_an_utterance_embedding_gets_the_fingerprint_of_its_arm():
    rows = [{**ROWS[2], "system": "MASR, half, old, utterance embedding"}]
    keys = REKEY.new_keys(rows, {"old": "new"}, then, now)
    assert keys == {("best_rq", "k2", "MASR, half, old, utterance embedding"): "n2"}


def test_a_row_whose_fingerprint_was_another_is_refused():
    rows = [{**ROWS[0], "settings": "k9"}]
    with pytest.raises(ValueError, match="SSL only: recorded as k9, but it was k1"):
        REKEY.new_keys(rows, {}, then, now)


def test_cells_arms_and_columns_get_other_names():
    renames = REKEY.parse_renames(["system:old=new", "metric:x=within", ":answers=correct"])
    renamed = REKEY.rename(ROWS, renames)
    assert [row["system"] for row in renamed] == ["SSL only", "untrained", "MASR, half, new"]
    assert [row["metric"] for row in renamed] == ["knn", "knn", "within"]
    assert list(renamed[0]) == ["settings", "ssl", "system", "metric", "correct"]
    with pytest.raises(SystemExit, match="write COLUMN:OLD=NEW"):
        REKEY.parse_renames(["system:old"])


def test_a_record_that_is_written_again_is_the_same(tmp_path):
    path = tmp_path / "runs.csv"
    REKEY.write(path, ROWS)
    before = path.read_bytes()
    REKEY.write(path, REKEY.read(path))
    assert path.read_bytes() == before


def test_a_revision_is_checked_out_whole(tmp_path):
    REKEY.check_out("HEAD", tmp_path)
    assert (tmp_path / "recipes/study/run.py").is_file()
    assert (tmp_path / "masr_modules").is_dir()
