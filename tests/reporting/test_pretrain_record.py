"""What is recorded of pretraining."""

import base64
import tracemalloc
import zlib

import numpy as np
import pytest

from masr_modules.reporting.pretrain_record import (
    PretrainRun,
    correctness,
    extra_columns,
    load_labels,
    pack,
    pack_rates,
    pretrain_record,
    save_labels,
    unpack,
    unpack_rates,
)

TEST = {
    str(i): {"language": "ab"[i % 2], "gender": "", "emotion": "", "speaker": f"s{i // 2}"}
    for i in range(6)
}


@pytest.mark.parametrize("size", [0, 1, 4, 5, 2259])
def test_correctness_survives_packing(size):
    correct = np.random.default_rng(size).choice([0.0, 1.0, np.nan], size)
    np.testing.assert_array_equal(unpack(pack(correct)), correct)


def test_correctness_is_read_by_seed_and_rates_as_jackknife_values(tmp_path):
    record, system = pretrain_record(tmp_path / "runs.csv"), ("k1", "best_rq", "MASR")
    found = {
        "knn": {"layer": 2, "correct": [1.0, 0.0, None]},
        "speaker_eer": {"layer": 0, "correct": [0.1, 0.125]},
        "gender": {"layer": 3, "correct": []},
    }
    metrics = {"knn": 0.5, "speaker_eer": 0.1, "gender": 0.25, "ssl_loss": 4.0}
    record.add(PretrainRun(*system, 7), metrics, extra_columns(found), if_recorded="skip")
    assert record.path.read_text().splitlines() == [
        "settings,ssl,system,seed,metric,value,layer,correct",
        f"k1,best_rq,MASR,7,knn,0.5,2,{pack([1.0, 0.0, None])}",
        f"k1,best_rq,MASR,7,speaker_eer,0.1,0,{pack_rates([0.1, 0.125])}",
        "k1,best_rq,MASR,7,gender,0.25,3,",
        "k1,best_rq,MASR,7,ssl_loss,4.0,,",
    ]
    np.testing.assert_array_equal(correctness(record, system, "knn")[7], [1.0, 0.0, np.nan])
    # 0.1, the rate as measured, and how far each rate without one speaker is from their mean.
    assert correctness(record, system, "speaker_eer")[7].tolist() == pytest.approx([0.1125, 0.0875])
    assert correctness(record, system, "gender") == {}
    assert correctness(record, ("k1", "hubert", "MASR"), "knn") == {}


def test_the_record_keeps_to_one_test_set(tmp_path):
    path = tmp_path / "test_labels.csv"
    save_labels(TEST, path)
    save_labels(TEST, path)
    assert load_labels(path) == TEST
    with pytest.raises(ValueError, match="test_labels.csv is of another test set, or was"):
        save_labels({**TEST, "6": TEST["0"]}, path)
    assert load_labels(path) == TEST


def test_of_several_corpora_their_names_and_age_groups_are_kept(tmp_path):
    path = tmp_path / "test_labels.csv"
    save_labels({"a": {"corpus": "nemo", "age": "23", "speaker": "long name"}}, path, corpora=True)
    kept = {"age": "from 20", "corpus": "nemo", "speaker": "s0"}
    assert load_labels(path)["a"].items() >= kept.items()


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_rates_survive_packing_to_five_decimals(size):
    rates = np.random.default_rng(size).random(size)
    np.testing.assert_array_equal(unpack_rates(pack_rates(rates)), rates.round(5))


def test_rates_of_many_speakers_take_little_room():
    rates = np.full(900, 0.1109)
    rates[::9] += 1e-4 * np.random.default_rng(0).standard_normal(100)
    assert len(pack_rates(rates)) < 1000


@pytest.mark.parametrize("read", [unpack, unpack_rates])
@pytest.mark.parametrize(
    "text",
    [
        # 121 kB that ask for 8 GB: a million zeros deflate to a thousandth.
        "1000000000:" + base64.b85encode(zlib.compress(bytes(10**8), 9)).decode(),
        "5:" + base64.b85encode(zlib.compress(bytes(10**7), 9)).decode(),
        "99999999999999999999:0",
        "-5:" + pack([1.0]).split(":")[1],
        "7:" + pack([1.0]).split(":")[1],
        "x:0",
        "nothing",
        "5:~~~",
    ],
)
def test_a_cell_that_pack_did_not_write_is_an_error_and_takes_no_memory(text, read):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="is not packed correctness"):
            read(text)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(text) + 10**6
    finally:
        tracemalloc.stop()
