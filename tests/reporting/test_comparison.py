"""Differences and means of recorded systems, with their intervals."""

import numpy as np
import pytest

from masr_modules.reporting.comparison import compare_table, difference, estimate
from masr_modules.reporting.pretrain_record import PretrainRun, extra_columns, pretrain_record

TEST = {str(i): {"language": "ab"[i % 2], "gender": "", "emotion": ""} for i in range(6)}


def add(record, system, seed, right, eer=0.1):
    metrics = {"knn": float(np.mean(right)), "speaker_eer": eer, "ssl_loss": 4.0}
    correct = {
        "knn": {"layer": 2, "correct": right},
        "speaker_eer": {"layer": 0, "correct": [eer, eer + 0.01, eer - 0.01]},
    }
    run = PretrainRun("k1", "best_rq", system, seed)
    record.add(run, metrics, extra_columns(correct), if_recorded="skip")


def test_differences_come_with_their_intervals(tmp_path):
    record = pretrain_record(tmp_path / "runs.csv")
    for seed in (1, 2):
        add(record, "MASR", seed, [1.0] * 6, eer=0.1)
        add(record, "LASR", seed, [1.0, 0.0] * 3, eer=0.2)
    ours, theirs = ("k1", "best_rq", "MASR"), ("k1", "best_rq", "LASR")
    assert difference(record, ours, theirs, "knn", TEST) == (0.5, 0.5, 0.5)
    assert difference(record, ours, theirs, "knn", TEST, only=["b"]).mean == 1.0
    assert difference(record, ours, theirs, "speaker_eer", TEST).mean == pytest.approx(-0.1)
    assert difference(record, ours, theirs, "linear", TEST) is None
    with pytest.raises(ValueError, match="knn: correctness of 6, but 2 test utterances"):
        difference(record, ours, theirs, "knn", dict(list(TEST.items())[:2]))
    table = compare_table(record, ours, [theirs], TEST)
    assert "| LASR" in table and "+50.0 [+50.0, +50.0]" in table and "| 2 " in table


def test_a_mean_comes_with_its_interval_over_the_seeds_asked_for(tmp_path):
    record = pretrain_record(tmp_path / "runs.csv")
    for seed, right in ((1, [1.0, 0.0] * 3), (2, [1.0] * 6), (3, [0.0] * 6)):
        add(record, "MASR", seed, right, eer=0.1 * seed)
    run = ("k1", "best_rq", "MASR")
    # Language a is always right with seeds 1 and 2, b with seed 2 alone.
    assert estimate(record, run, "knn", TEST, [1]) == (0.5, 0.5, 0.5)
    assert estimate(record, run, "knn", TEST, [1, 2, 9]) == (0.75, 0.5, 1.0)
    assert estimate(record, run, "knn", TEST, [1, 2], ["b"]).mean == 0.5
    # Of the EER it is the mean that was measured, though jackknife values have another.
    assert estimate(record, run, "speaker_eer", TEST, [1, 2]).mean == pytest.approx(0.15)
    assert estimate(record, run, "linear", TEST, [1]) is None
    assert estimate(record, run, "knn", TEST, [9]) is None
