"""Waveforms from files as corpora hold them: other sample rates, several channels."""

import numpy as np
import pytest
import soundfile
import torch

from masr_modules.data import dataio
from masr_modules.data.corpus import load_corpora
from masr_modules.data.dataio import make_dataset, read_audio, read_segment
from masr_modules.data.metadata import Metadata


def tone(sample_rate, seconds=1.0, hertz=440):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * sample_rate)) / sample_rate)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_another_sample_rate_gives_the_same_tone(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(rate), rate)
    audio = read_audio(str(tmp_path / "a.wav"), 16000, None, seed=0)
    assert audio.shape == (16000,)
    middle = slice(1000, 15000)  # the filter's edges aside
    expected = torch.tensor(tone(16000), dtype=audio.dtype)
    assert (audio - expected)[middle].abs().max() < 0.01


def test_stereo_is_the_mean_of_its_channels(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([[0.5, 0.25], [-0.5, 0.0]]), 16000)
    audio = read_audio(str(tmp_path / "a.wav"), 16000, None, seed=0)
    assert audio.tolist() == [0.375, -0.25]


def test_a_crop_has_its_length_after_resampling(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(44100, seconds=3.0), 44100)
    assert read_audio(str(tmp_path / "a.wav"), 16000, 1.5, seed=0).shape == (24000,)


def test_broken_and_empty_files_are_named(tmp_path):
    (tmp_path / "text.wav").write_text("404 not found")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    with pytest.raises(ValueError, match="text.wav: cannot be decoded"):
        read_audio(str(tmp_path / "text.wav"), 16000, None, seed=0)
    with pytest.raises(ValueError, match="none.wav: .*no samples"):
        read_audio(str(tmp_path / "none.wav"), 16000, None, seed=0)


def speech_like(sample_rate, seconds=4.0):
    """Bursts of noise: frames of MP3 that borrow bits from quiet ones before them."""
    noise = np.random.default_rng(0).standard_normal(int(sample_rate * seconds))
    time = np.arange(len(noise)) / sample_rate
    return 0.2 * noise * (np.sin(2 * np.pi * 3 * time) > 0.7)


def worst_crop(folder, rate):
    """The largest difference between crops of an MP3 file and these parts of the whole."""
    path = str(folder / "a.mp3")
    soundfile.write(path, speech_like(rate), rate)
    whole = read_audio(path, rate, None, 0)
    differences = []
    for start in range(rate, 3 * rate, rate // 7):
        crop = read_audio(path, rate, None, 0, segment=(start, start + rate // 2))
        differences.append((crop - whole[start : start + rate // 2]).abs().max().item())
    return max(differences)


@pytest.mark.parametrize("lead", [None, 0.3])
@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_crop_of_mp3_is_that_part_of_the_whole(tmp_path, capfd, monkeypatch, rate, lead):
    if lead is not None:  # as in a file that is longer than the usual one
        monkeypatch.setitem(dataio.LEAD, "MP3", lead)
    assert worst_crop(tmp_path, rate) < 1e-5
    assert lead or "libmpg123" not in capfd.readouterr().err


def test_without_a_lead_a_crop_of_mp3_begins_with_noise(tmp_path, monkeypatch):
    monkeypatch.setitem(dataio.LEAD, "MP3", 0.0)
    assert worst_crop(tmp_path, 48000) > 0.1


def test_crops_of_vorbis_are_parts_of_the_whole(tmp_path):
    path = str(tmp_path / "a.ogg")
    soundfile.write(path, speech_like(16000), 16000, format="OGG", subtype="VORBIS")
    whole = read_audio(path, 16000, None, 0)
    crop = read_audio(path, 16000, None, 0, segment=(20000, 30000))
    assert torch.equal(crop, whole[20000:30000])


def test_raw_samples_are_no_audio(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"abcd" * 1000)
    with pytest.raises(ValueError, match="a.raw: cannot be decoded: unreadable"):
        read_audio(str(tmp_path / "a.raw"), 16000, None, seed=0)


def corpus(folder, name, ids, columns=""):
    """A CSV of these IDs; `columns` is one more, with its cells empty."""
    lines = [
        f"ID,duration,wav{columns}",
        *(f"{i},1.0,$data_root/{i}.wav{',' * bool(columns)}" for i in ids),
    ]
    (folder / name).write_text("\n".join(lines) + "\n")
    return {"csv": str(folder / name), "data_root": f"/{name[0]}"}


def test_several_corpora_each_with_its_folder(tmp_path):
    parts = [corpus(tmp_path, "x.csv", ["x_1"]), corpus(tmp_path, "y.csv", ["y_1"], ",age")]
    rows = load_corpora(parts, "unused")
    assert {i: row["wav"] for i, row in rows.items()} == {"x_1": "/x/x_1.wav", "y_1": "/y/y_1.wav"}
    assert Metadata.from_columns({"age": [r.get("age", "") for r in rows.values()]})  # one lacks it


def test_an_id_in_two_corpora_is_named_with_both(tmp_path):
    parts = [corpus(tmp_path, "x.csv", ["a", "b"]), corpus(tmp_path, "y.csv", ["b"])]
    with pytest.raises(ValueError, match="ID 'b' is in both .*x.csv and .*y.csv"):
        load_corpora(parts, "")


def test_a_corpus_may_have_a_name_and_columns_that_are_not_read(tmp_path):
    parts = [corpus(tmp_path, "x.csv", ["x_1"], ",age"), corpus(tmp_path, "y.csv", ["y_1"], ",age")]
    rows = load_corpora([parts[0] | {"corpus": "first"}, parts[1] | {"without": ["age"]}], "")
    assert rows.column("corpus") == ["first", ""]
    assert "age" not in load_corpora([parts[1] | {"without": ["age"]}], "")["y_1"]


@pytest.mark.parametrize("column", ["accent", "wav", "ID"])
def test_a_column_to_leave_out_must_be_a_label_that_is_there(tmp_path, column):
    entry = corpus(tmp_path, "x.csv", ["x_1"], ",age") | {"without": [column]}
    with pytest.raises(ValueError, match=f"x.csv: `without` names {column}"):
        load_corpora([entry], "")


def test_a_corpus_that_has_a_column_of_that_name_cannot_be_named(tmp_path):
    entry = corpus(tmp_path, "x.csv", ["x_1"], ",corpus") | {"corpus": "first"}
    with pytest.raises(ValueError, match="x.csv: has a column corpus"):
        load_corpora([entry], "")


@pytest.mark.parametrize("parts", [["x.csv"], [{"csv": "x.csv"}], []])
def test_a_list_of_corpora_that_is_none(parts):
    with pytest.raises(ValueError, match="a corpus is {csv: ..., data_root: ...}|is empty"):
        load_corpora(parts, "")


def test_a_row_with_start_and_stop_is_that_part_of_its_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.arange(8) / 16, 16000)
    row = {"wav": str(tmp_path / "a.wav"), "duration": 1.0}
    rows = {
        "middle": row | {"start": "2", "stop": "5"},
        "rest": row | {"start": "6", "stop": ""},
        "whole": row,
    }
    dataset = make_dataset(rows, 16000)
    heard = {item["id"]: (16 * item["sig"]).tolist() for item in dataset}
    assert heard == {"middle": [2, 3, 4], "rest": [6, 7], "whole": list(range(8))}


def test_a_crop_stays_between_start_and_stop(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.arange(100) / 128, 16000)
    for seed in range(20):
        audio = read_audio(str(tmp_path / "a.wav"), 16000, 2 / 16000, seed, segment=(40, 45))
        assert len(audio) == 2 and 128 * audio[0] >= 40 and 128 * audio[1] <= 44


def test_impossible_segments_are_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8), 16000)
    with pytest.raises(ValueError, match="a.wav: has no samples from 8 to 12"):
        read_audio(str(tmp_path / "a.wav"), 16000, None, 0, segment=(8, 12))
    with pytest.raises(ValueError, match="a.wav: start '0.5' is no number of samples"):
        read_segment({"wav": "a.wav", "start": "0.5", "stop": "1.5"})
