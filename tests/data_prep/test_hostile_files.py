"""Pipes, encodings, encrypted archives and full disks: errors that name file and remedy."""

import errno
import gzip
import io
import os
import socket
import struct
import subprocess
import sys
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from trees import read_splits, write_lines, write_wav
from trees_hugging_face import rows_of, saved_dataset
from trees_voxceleb import SPEAKERS_1, trial_lines

from data_prep.common.archives import extract_archive
from data_prep.common.audio import save_audio, save_wav
from data_prep.common.skips import SkipRegister
from data_prep.common.tables import read_table
from data_prep.custom_prepare import prepare_custom
from data_prep.iemocap_prepare import read_lines
from data_prep.voxceleb.identification import read_split
from data_prep.voxceleb.trials import read_list
from data_prep.voxceleb_convert import decode
from masr_modules.config.files import atomic_file, write_atomic
from masr_modules.data.csv_text import text_lines


def list_of(reader):
    return lambda path: list(reader(str(path)))


READERS = {
    "table": list_of(lambda path: read_table(path, SkipRegister())),
    "CSV": list_of(text_lines),
    "trials": list_of(lambda path: read_list(path, SkipRegister())),
    "iden_split.txt": lambda path: read_split(str(path.parent), SkipRegister()),
    "IEMOCAP": lambda path: list(read_lines(str(path.parent), path.name, SkipRegister())),
    "archive": lambda path: extract_archive(str(path), str(path.parent / "out")),
    "m4a": lambda path: decode(str(path)),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, reader):
    path = tmp_path / (reader if "." in reader else "a.txt")
    os.mkfifo(path)
    with pytest.raises(ValueError, match="regular file"):
        READERS[reader](path)


def test_pipes_sockets_and_odd_names_among_the_audio_are_left_out(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    for name in "abc":
        write_wav(tmp_path / f"{name}.wav", 0.2)
    os.mkfifo(tmp_path / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.bind("socket.wav")
        names = ["a.wav", "b.wav", "c.wav", "pipe.wav", "socket.wav"]
        write_lines(tmp_path / "meta.csv", ["wav,speaker", *(f"{n},{n}" for n in names)])
        prepare_custom(".", "csv", "meta.csv", skip_limit=0.5)
    assert sum(map(len, read_splits(tmp_path / "csv").values())) == 3
    assert "left out 2 of 5: audio: not a regular file" in caplog.text


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json", "data-00000-of-00001.arrow"])
def test_a_pipe_in_a_saved_dataset_is_refused(tmp_path, name):
    folder = saved_dataset(tmp_path / "set", rows_of(["a", "b", "c"]))
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises((ValueError, FileNotFoundError)):
        prepare_custom(str(folder), str(tmp_path / "csv"), skip_limit=1)


@pytest.mark.parametrize("reader", ["table", "CSV", "trials", "iden_split.txt", "IEMOCAP"])
def test_utf16_is_named_with_the_remedy(tmp_path, reader):
    path = tmp_path / (reader if "." in reader else "a.txt")
    path.write_bytes("\n".join(trial_lines(SPEAKERS_1)).encode("utf-16"))
    with pytest.raises(ValueError, match=f"{path.name}: is UTF-16: save it as UTF-8"):
        READERS[reader](path)


def test_a_table_whose_header_is_latin_1_is_named(tmp_path):
    (tmp_path / "t.tsv").write_bytes("id\tprénom\n1\tx\n".encode("latin-1"))
    with pytest.raises(ValueError, match="t.tsv, line 1: is not UTF-8, but perhaps Latin-1: save"):
        READERS["table"](tmp_path / "t.tsv")


def test_a_column_that_comes_twice_is_named(tmp_path):
    (tmp_path / "t.tsv").write_text("id\ttext\ttext\n1\ta\tb\n")
    with pytest.raises(ValueError, match="t.tsv: column 'text' comes twice"):
        READERS["table"](tmp_path / "t.tsv")


def test_an_encrypted_zip_says_so(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.wav", b"x")
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + place] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.zip: 'a.wav' is encrypted; unpack it .* password"):
        extract_archive(str(path), str(tmp_path / "out"))
    assert os.listdir(tmp_path) == ["a.zip"]


@pytest.mark.parametrize(
    "start, message",
    [
        (b"7z\xbc\xaf\x27\x1c", "is a 7z archive, which is not read here; unpack it"),
        (b"Rar!\x1a\7", "is a RAR archive"),
        (b"Salted__", r"is encrypted \(openssl\)"),
        (b"\x28\xb5\x2f\xfd", "is compressed by zstd"),
        (b"nothing", "truncated or broken archive"),
    ],
)
def test_other_archives_say_what_they_are(tmp_path, start, message):
    (tmp_path / "a.bin").write_bytes(start + b"\0" * 600)
    with pytest.raises(ValueError, match=f"a.bin: {message}"):
        extract_archive(str(tmp_path / "a.bin"), str(tmp_path / "out"))


def test_a_zip_that_is_packed_in_another_way_is_named(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.wav", b"x")
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        content[content.index(mark) + place] = 97
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.zip: is packed in a way that is not read here"):
        extract_archive(str(path), str(tmp_path / "out"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize(
    "write",
    [
        lambda path: save_wav(path, np.zeros(160), 16000),
        lambda path: write_atomic(path, "text"),
        lambda path: save_audio({"bytes": b"RIFF"}, path),
    ],
)
def test_a_full_disk_is_an_error_that_names_file_and_remedy(tmp_path, monkeypatch, write):
    enter = atomic_file.__enter__
    monkeypatch.setattr(atomic_file, "__enter__", lambda self: enter(self) and "/dev/full")
    with pytest.raises(OSError, match="No space left on device; make room .*a.wav") as caught:
        write(str(tmp_path / "a.wav"))
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_a_limit_on_the_size_of_files_stops_an_archive_with_its_name(tmp_path):
    """As on a full disk: the file that cannot be written is named."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("big.wav", b"\0" * (1 << 20))
    code = (
        "import resource, signal, sys\n"
        "from data_prep.common.archives import extract_archive\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "extract_archive(sys.argv[1], sys.argv[2])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.zip"), str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1 and "File too large" in result.stderr
    assert "big.wav" in result.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == ["a.zip"]


def test_what_is_saved_is_read_again(tmp_path):
    sound = np.linspace(-1, 1, 320).reshape(160, 2)
    save_wav(str(tmp_path / "a.wav"), sound, 8000, comment="é")
    with soundfile.SoundFile(tmp_path / "a.wav") as file:
        assert (file.comment, file.samplerate, file.channels) == ("é", 8000, 2)
        assert np.abs(file.read() - sound).max() < 1e-4


@pytest.mark.parametrize("form", ["MP3", "OGG", "FLAC"])
def test_audio_of_a_dataset_that_is_cut_is_left_out(tmp_path, form):
    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(0).standard_normal(32000)
    soundfile.write(file, noise, 16000, format=form)
    content = file.getvalue()
    save_audio({"bytes": content}, str(tmp_path / "whole.wav"))
    assert soundfile.info(tmp_path / "whole.wav").duration == pytest.approx(2.0, abs=0.1)
    with pytest.raises(ValueError, match="cannot be decoded"):
        save_audio({"bytes": content[: len(content) // 2]}, str(tmp_path / "cut.wav"))
    assert not (tmp_path / "cut.wav").exists()


@pytest.mark.parametrize("form", ["tar", "tar.gz", "zip"])
def test_an_archive_that_says_a_terabyte_is_refused_before_it_is_written(form, tmp_path):
    path, size = tmp_path / f"a.{form}", 2**60
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.wav", b"x" * 100)
        content = bytearray(path.read_bytes())
        directory = content.index(b"PK\x01\x02")
        content[directory + 24 : directory + 28] = struct.pack("<I", 2**32 - 2)  # its size
        path.write_bytes(content)
        size = 2**32 - 2
    else:
        header = tarfile.TarInfo("a.wav")
        header.size = size
        blocks = header.tobuf(tarfile.GNU_FORMAT) + bytes(10 * 512)
        path.write_bytes(gzip.compress(blocks) if form == "tar.gz" else blocks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**9))
        with pytest.raises(ValueError, match=f"'a.wav' states a size of {size:,} bytes"):
            extract_archive(str(path), str(tmp_path / "out"))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
