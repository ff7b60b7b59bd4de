"""Differences and means of recorded systems, with their intervals."""

import numpy as np
import pytest

from masr_modules.reporting.comparison import compare_table, difference, estimate
from masr_modules.reporting.pretrain_record import (
    PretrainRun,
    extra_columns,
    pack_rates,
    pretrain_record,
)

TEST = {
    str(i): {"language": "ab"[i % 2], "gender": "", "emotion": "", "speaker": "stu"[i // 2]}
    for i in range(6)
}


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
    for seed in (1, 2, 3):
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
    assert "| LASR" in table and "+50.0 [+50.0, +50.0]" in table and "| 3 " in table


def test_the_difference_of_error_rates_is_that_of_the_table(tmp_path):
    record = pretrain_record(tmp_path / "runs.csv")
    for seed in (1, 2, 3):
        add(record, "MASR", seed, [1.0] * 6, eer=0.08)
        add(record, "LASR", seed, [1.0] * 6, eer=0.079)
    # The rates without each speaker have a bias, which differs from system to system.
    row = record.runs[PretrainRun("k1", "best_rq", "LASR", 1)]["speaker_eer"]
    row["correct"] = pack_rates([0.079, 0.089, 0.09])
    ours, theirs = ("k1", "best_rq", "MASR"), ("k1", "best_rq", "LASR")
    assert difference(record, ours, theirs, "speaker_eer", TEST).mean == pytest.approx(0.001)


def test_two_seeds_print_a_mean_without_an_interval(tmp_path):
    record = pretrain_record(tmp_path / "runs.csv")
    for seed in (1, 2):
        add(record, "MASR", seed, [1.0] * 6)
        add(record, "LASR", seed, [1.0, 0.0] * 3)
    ours, theirs = ("k1", "best_rq", "MASR"), ("k1", "best_rq", "LASR")
    table = compare_table(record, ours, [theirs], TEST)
    assert "| +50.0 " in table and "[" not in table


def test_a_mean_comes_with_its_interval_over_the_seeds_asked_for(tmp_path):
    record = pretrain_record(tmp_path / "runs.csv")
    for seed, right in ((1, [1.0, 0.0] * 3), (2, [1.0] * 6), (3, [0.0] * 6)):
        add(record, "MASR", seed, right, eer=0.1 * seed)
    run = ("k1", "best_rq", "MASR")
    # Speakers are alike and seeds are not: Student's t of .5, 1 and 0.
    found = estimate(record, run, "knn", TEST, [1, 2, 3])
    assert found.mean == 0.5 and found.high - 0.5 == pytest.approx(4.3027 * 0.5 / 3**0.5, rel=1e-4)
    found = estimate(record, run, "knn", TEST, [1, 2, 9])
    assert found.mean == 0.75 and np.isnan(found.low)  # two seeds have no interval
    assert estimate(record, run, "knn", TEST, [1, 2], ["b"]).mean == 0.5
    # Of the EER it is the mean that was measured, though jackknife values have another.
    assert estimate(record, run, "speaker_eer", TEST, [1, 2]).mean == pytest.approx(0.15)
    assert estimate(record, run, "linear", TEST, [1]) is None
    assert estimate(record, run, "knn", TEST, [9]) is None
