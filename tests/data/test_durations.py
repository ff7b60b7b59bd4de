"""Durations and segments of a CSV against the headers of its audio."""

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from masr_modules.data.audio_check import drop_unreadable
from masr_modules.data.corpus import Rows
from masr_modules.data.durations import find_disagreements

SECONDS = np.array([1.0, 2.5, 3.2, 8.0])


def rows_of(durations, **columns):
    ids = [f"u{i}" for i in range(len(durations))]
    cells = {name: list(map(str, column)) for name, column in columns.items()}
    table = {"ID": ids, "duration": list(durations), "wav": [f"{i}.wav" for i in ids], **cells}
    return Rows(pa.table(table), "train.csv")


def compare(rows, seconds=SECONDS, rate=16000):
    return find_disagreements(rows, np.asarray(seconds), np.full(len(seconds), rate))


@pytest.mark.parametrize(
    "factor, words",
    [
        (1000, "duration is in milliseconds .*u0, 1000 s for 1.000 s.*divide it by 1000"),
        (1 / 60, "duration is in minutes .*divide it by 0.01667"),
        (1 / 3600, "duration is in hours"),
        (1e6, "duration is in microseconds"),
        (16000, "duration is in samples"),
        (48 / 44.1, "duration is 1.088 times that of the audio"),
        (0.5, "duration is 0.5 times that of the audio"),
    ],
)
def test_another_unit_or_rate_is_an_error_that_names_column_and_factor(factor, words):
    with pytest.raises(ValueError, match=rf"train.csv: of . of 4 rows {words}"):
        compare(rows_of(SECONDS * factor))


def test_minutes_may_be_rounded():
    with pytest.raises(ValueError, match="duration is in minutes"):
        compare(rows_of([0.02, 0.04, 0.05, 0.13]))


def test_segments_of_resampled_files_are_an_error_that_names_the_factor():
    rows = rows_of([1.0] * 4, start=[0, 0, 48000, 96000], stop=[48000, 48000, 96000, 144000])
    with pytest.raises(ValueError, match="start and stop do not enclose .*multiply them by 0.3333"):
        compare(rows, [10.0] * 4)


def test_a_few_rows_that_claim_more_than_there_is_are_named():
    problems, shorter = compare(rows_of([1.0, 2.5, 4.2, 8.0]))
    assert problems == {"u2": "duration is 4.200 s, the audio has 3.200 s"} and not shorter


def test_segments_outside_of_their_file_or_of_another_duration_are_named():
    columns = {"start": [0, 16000, "", 80000], "stop": [16000, "", 16000, 144000]}
    problems, _ = compare(rows_of([1.0, 0.7, 1.0, 4.0], **columns))
    assert list(problems) == ["u1", "u3"]
    assert problems["u3"].endswith("start and stop enclose 5.000 s to 9.000 s of 8.000 s")


def test_trimmed_lists_go_on_with_a_warning_that_counts(caplog):
    problems, shorter = compare(rows_of([0.7, 2.4, 1.9, 5.0]))
    assert not problems and shorter == 3
    assert "3 of 4 rows have a duration below that of their audio (first: u0" in caplog.text


def test_the_padding_of_compressed_audio_is_no_disagreement(caplog):
    assert compare(rows_of(SECONDS + [0.05, -0.05, 0.1, 0.2])) == ({}, 0)
    assert not caplog.records


def test_a_start_that_is_no_number_of_samples_is_named():
    with pytest.raises(ValueError, match="train.csv: start of u1 is '1.5', which is no number"):
        compare(rows_of(SECONDS, start=["0", "1.5", "", ""], stop=[""] * 4))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    seconds=st.lists(st.floats(0.5, 60), min_size=1, max_size=20),
    factor=st.sampled_from([1000, 1e6, 1 / 60, 1 / 3600, 16000]),
)
def test_true_durations_agree_and_those_in_another_unit_never(seconds, factor):
    true = np.array(seconds)
    assert compare(rows_of(true), true) == ({}, 0)
    with pytest.raises(ValueError, match="rows duration is in"):
        compare(rows_of(true * factor), true)


def test_the_check_of_the_audio_compares_durations(tmp_path, caplog):
    for i in range(4):
        soundfile.write(tmp_path / f"{i}.wav", np.zeros(16000), 16000)
    wavs = [str(tmp_path / f"{i}.wav") for i in range(4)]
    table = {"ID": list("abcd"), "duration": [1.0, 1.0, 1.0, 9.0], "wav": wavs}
    rows = drop_unreadable(Rows(pa.table(table)), limit=0.25)
    assert list(rows) == ["a", "b", "c"]
    assert "left out d" in caplog.text and "the audio has 1.000 s" in caplog.text
    with pytest.raises(ValueError, match="1 of 4 audio files .*not what a row says"):
        drop_unreadable(Rows(pa.table(table)), limit=0.1)
    table["duration"] = [1000.0] * 4
    with pytest.raises(ValueError, match="in milliseconds"):
        drop_unreadable(Rows(pa.table(table)), limit=1)
