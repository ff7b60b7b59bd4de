"""The record of runs."""

import numpy as np
import pytest

from masr_modules.reporting.runs import (
    COLUMNS,
    Runs,
    compare_table,
    difference,
    estimate,
    load_labels,
    pack,
    save_labels,
    unpack,
)

TEST = {str(i): {"language": "ab"[i % 2], "gender": "", "emotion": ""} for i in range(6)}


def add(runs, system, seed, right, eer=0.1):
    metrics = {"knn": float(np.mean(right)), "speaker_eer": eer, "ssl_loss": 4.0}
    answers = {
        "knn": {"layer": 2, "answers": right},
        "speaker_eer": {"layer": 0, "answers": [eer, eer + 0.01, eer - 0.01]},
    }
    runs.add("k1", "best_rq", system, seed, metrics, answers)


@pytest.mark.parametrize("size", [0, 1, 4, 5, 2259])
def test_answers_survive_packing(size):
    answers = np.random.default_rng(size).choice([0.0, 1.0, np.nan], size)
    np.testing.assert_array_equal(unpack(pack(answers)), answers)


def test_runs_of_several_writers_are_all_there(tmp_path):
    path = tmp_path / "folder/runs.csv"
    first, second = Runs(path), Runs(path)
    add(first, "MASR", 1, [1.0] * 6)
    add(second, "LASR", 1, [0.0] * 6)
    add(first, "MASR", 1, [0.0] * 6)  # there already
    found = Runs(path)
    assert found.has("k1", "MASR", 1) and found.has("k1", "LASR", 1)
    assert found.metrics("k1", "MASR", 1) == {"knn": 1.0, "speaker_eer": 0.1, "ssl_loss": 4.0}
    assert path.read_text().count(",".join(COLUMNS)) == 1


def test_differences_come_with_their_intervals(tmp_path):
    runs = Runs(tmp_path / "runs.csv")
    for seed in (1, 2):
        add(runs, "MASR", seed, [1.0] * 6, eer=0.1)
        add(runs, "LASR", seed, [1.0, 0.0] * 3, eer=0.2)
    ours, theirs = ("k1", "MASR"), ("k1", "LASR")
    assert difference(runs, ours, theirs, "knn", TEST) == (0.5, 0.5, 0.5)
    assert difference(runs, ours, theirs, "knn", TEST, only=["b"]).mean == 1.0
    assert difference(runs, ours, theirs, "speaker_eer", TEST).mean == pytest.approx(-0.1)
    assert difference(runs, ours, theirs, "linear", TEST) is None
    with pytest.raises(ValueError, match="6 answers, but 2 test utterances"):
        difference(runs, ours, theirs, "knn", dict(list(TEST.items())[:2]))
    table = compare_table(runs, ours, [theirs], TEST)
    assert "| LASR" in table and "+50.0 [+50.0, +50.0]" in table and "| 2 " in table


def test_a_mean_comes_with_its_interval_over_the_seeds_asked_for(tmp_path):
    runs = Runs(tmp_path / "runs.csv")
    for seed, right in ((1, [1.0, 0.0] * 3), (2, [1.0] * 6), (3, [0.0] * 6)):
        add(runs, "MASR", seed, right, eer=0.1 * seed)
    run = ("k1", "MASR")
    # Language a is always right with seeds 1 and 2, b with seed 2 alone.
    assert estimate(runs, run, "knn", TEST, [1]) == (0.5, 0.5, 0.5)
    assert estimate(runs, run, "knn", TEST, [1, 2, 9]) == (0.75, 0.5, 1.0)
    assert estimate(runs, run, "knn", TEST, [1, 2], ["b"]).mean == 0.5
    # Of the EER it is the mean that was measured, though jackknife values have another.
    assert estimate(runs, run, "speaker_eer", TEST, [1, 2]).mean == pytest.approx(0.15)
    assert estimate(runs, run, "linear", TEST, [1]) is None
    assert estimate(runs, run, "knn", TEST, [9]) is None


def test_the_record_keeps_to_one_test_set(tmp_path):
    path = tmp_path / "test_labels.csv"
    save_labels(TEST, path)
    save_labels(TEST, path)
    assert load_labels(path) == TEST
    with pytest.raises(ValueError, match="test_labels.csv is of another test set: name another"):
        save_labels({**TEST, "6": TEST["0"]}, path)
    assert load_labels(path) == TEST


def test_a_file_that_is_no_record_is_refused(tmp_path):
    (tmp_path / "runs.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="its columns are not settings, ssl"):
        Runs(tmp_path / "runs.csv")
