"""Headers, durations and the decoding check on files as real copies hold them."""

import os

import numpy as np
import pytest
import soundfile
from trees import write_wav

from data_prep.common.audio import add_durations, find_undecodable
from data_prep.common.skips import SkipRegister
from data_prep.common.writing import write_corpus
from masr_modules.data.headers import CHUNK, BrokenAudio, read_header, read_headers


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM"])
@pytest.mark.parametrize("channels", [1, 2])
def test_header_of_every_wav_coding_agrees_with_soundfile(tmp_path, subtype, channels):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.zeros((8080, channels)), 8000, subtype=subtype)
    info = soundfile.info(path)
    assert read_header(path) == (info.frames / 8000, 8000, channels)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3"])
def test_other_formats(tmp_path, name):
    path = str(tmp_path / name)
    soundfile.write(path, np.zeros(16000), 16000)
    assert read_header(path).duration == pytest.approx(1.0, abs=0.1)


def test_chunks_before_the_samples(tmp_path):
    path = write_wav(tmp_path / "a.wav", 0.5)
    content = path.read_bytes()
    path.write_bytes(content[:12] + b"LIST\x05\x00\x00\x00abcde\x00" + content[12:])
    assert read_header(str(path)).duration == 0.5


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_wav_written_to_a_pipe_has_the_length_of_the_file(tmp_path, size):
    path = write_wav(tmp_path / "a.wav", 0.5)
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)
    assert read_header(str(path)).duration == 0.5


def broken_files(folder):
    """File name -> what `read_header` says of it."""
    folder.mkdir(exist_ok=True)
    whole = write_wav(folder / "whole.wav").read_bytes()
    write_wav(folder / "no samples.wav", 0.0)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "cut.wav").write_bytes(whole[:2000])
    (folder / "cut in header.wav").write_bytes(whole[:30])
    (folder / "text.wav").write_text("404 not found")
    return {
        "missing.wav": "no such file",
        "no samples.wav": "no samples",
        "empty.wav": "empty file",
        "cut.wav": "truncated",
        "cut in header.wav": "unreadable",
        "text.wav": "unreadable",
    }


def test_broken_files_say_why(tmp_path):
    for name, reason in broken_files(tmp_path).items():
        with pytest.raises(BrokenAudio, match=reason):
            read_header(str(tmp_path / name))


def test_pipes_devices_and_folders_are_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    paths = [str(tmp_path / "pipe.wav"), "/dev/zero", str(tmp_path)]
    results = list(read_headers(paths, str, num_workers=1))
    assert results == [(path, "not a regular file") for path in paths]


def test_broken_files_are_left_out_and_odd_ones_kept(tmp_path):
    names = list(broken_files(tmp_path))
    write_wav(tmp_path / "fine é 1.wav", 0.5)
    write_wav(tmp_path / "eight.wav", 0.5, sample_rate=8000)
    write_wav(tmp_path / "stereo.wav", 0.5, channels=2)
    names += ["fine é 1.wav", "eight.wav", "stereo.wav"]
    skips = SkipRegister()
    rows = [("train", {"ID": name, "wav": f"$data_root/{name}"}) for name in names]
    kept = list(add_durations(rows, str(tmp_path), skips))
    assert [(side, row["ID"], row["duration"]) for side, row in kept] == [
        ("train", "fine é 1.wav", 0.5),
        ("train", "eight.wav", 0.5),
        ("train", "stereo.wav", 0.5),
    ]
    assert skips.kept == 3 and skips.skipped.total() == 6
    assert set(skips.noted) == {
        "sample rate 8000 Hz, resampled when read",
        "2 channels, mixed down when read",
    }


def test_a_file_name_that_is_not_utf8_is_left_out(tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    os.rename(write_wav(tmp_path / "a.wav"), tmp_path / name)
    skips = SkipRegister()
    rows = [("train", {"ID": "a", "wav": f"$data_root/{name}"})]
    assert not list(add_durations(rows, str(tmp_path), skips))
    assert "caf\\udce9.wav" in skips.report()


def test_items_are_read_as_results_are_taken():
    items = iter(range(100 * CHUNK))
    results = read_headers(items, "/nowhere/{}.wav".format, num_workers=2)
    assert next(results) == (0, "no such file")
    assert next(items) <= 5 * CHUNK
    results.close()


def test_many_files_keep_their_order(tmp_path):
    lengths = [0.1, 0.2, 0.3]
    paths = [str(write_wav(tmp_path / f"{seconds}.wav", seconds)) for seconds in lengths]
    results = list(read_headers(range(7 * CHUNK), lambda n: paths[n % 3], num_workers=2))
    assert [n for n, _ in results] == list(range(7 * CHUNK))
    assert all(info.duration == lengths[n % 3] for n, info in results)


def test_formats_that_need_a_library_are_read_in_the_processes_too(tmp_path):
    path = str(tmp_path / "é.flac")
    soundfile.write(path, np.zeros(8000), 16000)
    assert list(read_headers([path], str, num_workers=1)) == [(path, (0.5, 16000, 1))]


def test_a_process_that_is_killed_is_an_error(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr("masr_modules.data.header_worker.__file__", str(worker))
    with pytest.raises(RuntimeError, match=r"exit status -9\) at a.wav or one of the 1 files"):
        list(read_headers(["a.wav", "b.wav"], str, num_workers=1))


def test_check_decodes_to_the_end(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "cut.flac"
    soundfile.write(path, 0.1 * rng.standard_normal(32000), 16000)
    path.write_bytes(path.read_bytes()[:20000])
    write_wav(tmp_path / "fine.wav")
    assert read_header(str(path)).duration == 2.0  # the header does not show it
    rows = [
        ("train", {"ID": name, "wav": f"$data_root/{name}", "duration": 1.0})
        for name in ("cut.flac", "fine.wav")
    ]
    write_corpus(str(tmp_path / "csv"), rows, {})
    broken = find_undecodable(str(tmp_path / "csv/train.csv"), str(tmp_path))
    assert [path for path, _ in broken] == [str(path)]
