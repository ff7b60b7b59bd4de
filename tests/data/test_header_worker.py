"""Audio that lost its end is noticed: by its header, or when it is decoded."""

import io

import numpy as np
import pytest
import soundfile

from masr_modules.data.dataio import read_audio
from masr_modules.data.header_worker import header_or_reason

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "rf64.wav": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "vorbis.ogg": ("OGG", "VORBIS"),
    "opus.ogg": ("OGG", "OPUS"),
    "flac": ("FLAC", "PCM_16"),
}


def content_of(name, seconds=4.0):
    file, (form, subtype) = io.BytesIO(), FORMATS[name]
    noise = 0.1 * np.random.default_rng(0).standard_normal(int(16000 * seconds))
    soundfile.write(file, noise, 16000, format=form, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_is_read_to_its_end(tmp_path, name):
    path = tmp_path / f"a.{name}"
    path.write_bytes(content_of(name))
    assert header_or_reason(str(path))[0] == pytest.approx(4.0, abs=0.1)
    assert len(read_audio(str(path), 16000, None, 0)) == pytest.approx(64000, abs=1600)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_cut_is_an_error(tmp_path, name, share):
    content = content_of(name)
    content = content[: int(len(content) * share)]
    path = tmp_path / f"a.{name}"
    path.write_bytes(content)
    if name != "flac":  # what is missing of that shows when it is decoded
        assert header_or_reason(str(path)).startswith("truncated")
        assert header_or_reason(io.BytesIO(content)).startswith("truncated")
    with pytest.raises(ValueError, match="cannot be decoded|truncated"):
        read_audio(str(path), 16000, None, 0)


def test_an_mp3_with_tags_before_it_is_read_and_cut(tmp_path):
    tags = b"ID3\4\0\0" + bytes([0, 0, 40, 10]) + b"\0" * (40 * 128 + 10)
    content = tags + content_of("mp3")
    assert header_or_reason(io.BytesIO(content))[0] == pytest.approx(4.0, abs=0.1)
    assert header_or_reason(io.BytesIO(content[: len(content) // 2])).startswith("truncated")


def test_a_file_that_gives_less_than_its_header_promises_is_an_error(tmp_path):
    content = bytearray(content_of("mp3"))
    place = content.index(b"Xing") + 12
    content = content[: len(content) // 2]
    content[place : place + 4] = len(content).to_bytes(4, "big")  # the header agrees with the cut
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    assert header_or_reason(str(path))[0] == pytest.approx(4.0, abs=0.1)
    with pytest.raises(ValueError, match="a.mp3: truncated: it gives .* promises 64000"):
        read_audio(str(path), 16000, None, 0)


def test_audio_without_samples_is_an_error(tmp_path):
    for name in ("wav", "flac", "vorbis.ogg"):
        path = tmp_path / f"a.{name}"
        path.write_bytes(content_of(name, 0))
        with pytest.raises(ValueError, match=f"a.{name}"):
            read_audio(str(path), 16000, None, 0)


def test_a_stop_beyond_the_file_is_an_error(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    with pytest.raises(ValueError, match="has 16000 samples, and stop is 48000.*16000 Hz"):
        read_audio(str(tmp_path / "a.wav"), 16000, None, 0, segment=(0, 48000))
