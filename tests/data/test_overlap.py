"""The same utterance in two splits is told, by its ID or its audio."""

import os

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masr_modules.data.corpus import Rows
from masr_modules.data.overlap import warn_of_shared, warn_of_shared_speakers


def rows_of(wavs, prefix="u", **columns):
    ids = [f"{prefix}{i}" for i in range(len(wavs))]
    return Rows(pa.table({"ID": ids, "wav": [str(wav) for wav in wavs], **columns}))


@pytest.fixture
def files(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.wav").write_bytes(b"")
    return tmp_path


def test_an_utterance_of_train_in_test_is_counted_in_a_warning(files, caplog):
    splits = {
        "train": rows_of([files / "a.wav", files / "b.wav"], "t"),
        "valid": rows_of([files / "c.wav"], "v"),
        "test": rows_of([files / "b.wav"], "x"),
    }
    assert warn_of_shared(splits) == {("train", "test"): 1}
    assert "1 of 1 utterances of test are in train too, by ID or audio (first: x0)" in caplog.text


def test_a_file_is_the_same_by_whatever_path(files):
    os.symlink(files / "a.wav", files / "link.wav")
    os.link(files / "b.wav", files / "hard.wav")
    (files / "d").mkdir()
    paths = [files / "link.wav", files / "hard.wav", f"{files}/d/../c.wav", files / "gone.wav"]
    splits = {"train": rows_of([files / f"{n}.wav" for n in "abc"], "t")}
    splits["test"] = rows_of(paths, "x")
    assert warn_of_shared(splits) == {("train", "test"): 3}


def test_an_id_is_shared_whatever_its_file(files):
    splits = {"train": rows_of(["a.wav"]), "test": rows_of(["b.wav", "c.wav"])}
    assert warn_of_shared(splits) == {("train", "test"): 1}


def test_parts_of_a_file_are_shared_where_they_overlap(files):
    train = rows_of([files / "a.wav"] * 2, "t", start=["0", "800"], stop=["100", ""])
    starts, stops = ["100", "99", "", "900"], ["800", "200", "100", "1000"]
    test = rows_of([files / "a.wav"] * 4, "x", start=starts, stop=stops)
    assert warn_of_shared({"train": train, "test": test}) == {("train", "test"): 3}
    assert warn_of_shared({"valid": rows_of([files / "a.wav"]), "test": test}) != {}


def test_labelled_may_be_a_part_of_train_and_not_of_test(files):
    part = rows_of([files / "a.wav"])
    splits = {"train": part, "test": rows_of([files / "b.wav"], "x"), "labelled": part}
    assert warn_of_shared(splits) == {}
    assert warn_of_shared({"test": part, "labelled": part}) == {("labelled", "test"): 1}


SPANS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=6)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SPANS, SPANS)
def test_overlap_is_that_of_the_spans(first, second):
    def rows(spans, prefix):
        columns = {"start": [str(a) for a, _ in spans], "stop": [str(a + n) for a, n in spans]}
        return rows_of(["a.wav"] * len(spans), prefix, **columns)

    expected = sum(any(a < c + m and c < a + n for a, n in first) for c, m in second)
    found = warn_of_shared({"train": rows(first, "t"), "test": rows(second, "x")})
    assert found.get(("train", "test"), 0) == expected


def test_speakers_of_training_are_not_unseen(caplog):
    train = {"a": {"speaker": "s"}, "b": {"speaker": ""}, "c": {"speaker": "t"}}
    assert warn_of_shared_speakers(train, {"d": {"speaker": "u"}, "e": {"speaker": ""}}) == 0
    assert caplog.text == ""
    assert warn_of_shared_speakers(train, {"d": {"speaker": "t"}, "e": {"speaker": "u"}}) == 1
    assert "1 of 2 speakers of test are in train too (first: t)" in caplog.text
