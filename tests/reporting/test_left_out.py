"""Tables of trainings that leave out one corpus each."""

import pytest

from masr_modules.reporting.left_out import left_out_tables
from masr_modules.reporting.pretrain_record import PretrainRun, extra_columns, pretrain_record

LABELS = {
    f"{corpus}{i}": {"corpus": corpus, "emotion": "ab"[i % 2], "speaker": f"{corpus}{i // 2}"}
    for corpus in ("nemo", "ravdess")
    for i in range(4)
}
SYSTEMS = {
    name: {
        corpus: ("key", "best_rq", f"{name}, without {corpus}") for corpus in ("nemo", "ravdess")
    }
    for name in ("SSL", "MASR")
}


def cells_of(table):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def run(record, system, corpus, seed, right):
    """Records a training without the corpus, with as many right of each corpus's four."""
    correct = [float(i < count) for count in right.values() for i in range(4)]
    found = {m: {"layer": 1, "correct": correct} for m in ("emotion", "emotion_unheard")}
    metrics = {f"{m}.{name}": count / 4 for m in found for name, count in right.items()}
    metrics |= dict.fromkeys(found, 0.0)
    of = PretrainRun(*SYSTEMS[system][corpus], seed)
    record.add(of, metrics, extra_columns(found), if_recorded="skip")


@pytest.fixture
def record(tmp_path):
    record = pretrain_record(tmp_path / "runs.csv")
    for seed in (1, 2):
        # What a training heard of the corpus that it did not leave out counts nowhere.
        run(record, "MASR", "nemo", seed, {"nemo": 4, "ravdess": 0})
        run(record, "MASR", "ravdess", seed, {"nemo": 0, "ravdess": 2})
        run(record, "SSL", "nemo", seed, {"nemo": 2, "ravdess": 4})
    run(record, "SSL", "ravdess", 2, {"nemo": 4, "ravdess": 0})
    return record


def test_each_corpus_is_measured_by_the_training_that_left_it_out(record):
    table, gains = left_out_tables(record, SYSTEMS, LABELS, [1, 2], ["SSL"])
    cells = cells_of(table)
    assert cells[0][:3] == ["system", "seeds", "emotion, probe of other corpora: nemo (%)"]
    assert cells[2:] == [["SSL", "1"] + ["50.0", "0.0", "25.0"] * 2] + [
        ["MASR", "2"] + ["100.0", "50.0", "75.0"] * 2
    ]
    assert cells_of(gains)[2:] == [["SSL", "1", "+50.0", "+50.0"]]


def test_without_a_complete_seed_there_is_no_table(tmp_path):
    record = pretrain_record(tmp_path / "runs.csv")
    run(record, "MASR", "nemo", 1, {"nemo": 4, "ravdess": 0})
    assert left_out_tables(record, SYSTEMS, LABELS, [1], ["SSL"]) == ("", "")
