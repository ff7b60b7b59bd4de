"""VoxCeleb's .m4a files made into .wav."""

import numpy as np
import pytest
import soundfile
from trees import write_wav
from trees_voxceleb import VIDEOS, write_m4a

from data_prep.voxceleb_convert import convert_voxceleb, decode, main

FIRST, SECOND = VIDEOS


def test_conversion_keeps_the_sound_and_goes_on_after_an_interrupt(tmp_path):
    aac = tmp_path / "dev/aac"
    for speaker in ("id00012", "id00015"):
        write_m4a(aac / speaker / FIRST / "00001.m4a", sample_rate=44100)
    (aac / "id00012" / FIRST / "._00001.m4a").write_bytes(b"\x00\x05\x16\x07")
    wav = tmp_path / "dev/wav"
    write_wav(wav / f"id00015/{FIRST}/00001.wav", 0.2)  # of an interrupted run
    write_m4a(aac / f"id00015/{SECOND}/00001.m4a")
    kept = (wav / f"id00015/{FIRST}/00001.wav").read_bytes()
    main(["--data_folder", str(tmp_path), "--num_workers", "1"])
    samples, rate = soundfile.read(wav / f"id00012/{FIRST}/00001.wav")
    assert rate == 16000 and len(samples) == pytest.approx(16000, rel=0.1)
    spectrum = np.abs(np.fft.rfft(samples[4000:12000]))
    assert np.argmax(spectrum) == 220  # 440 Hz, in steps of 2 Hz
    assert (wav / f"id00015/{FIRST}/00001.wav").read_bytes() == kept
    assert len([path for path in wav.rglob("*") if path.is_file()]) == 3
    with pytest.raises(SystemExit, match="no .m4a file of a speaker waits"):
        main(["--data_folder", str(tmp_path)])


def test_broken_m4a_files_are_listed(tmp_path):
    write_m4a(tmp_path / f"aac/id00012/{FIRST}/00001.m4a")
    (tmp_path / f"aac/id00012/{FIRST}/00002.m4a").write_bytes(b"404 not found")
    with pytest.raises(ValueError, match="50.0%(.|\n)*cannot be decoded.*00002.m4a"):
        convert_voxceleb(str(tmp_path), num_workers=1)
    assert (tmp_path / f"wav/id00012/{FIRST}/00001.wav").is_file()


def test_a_file_that_is_cut_is_no_shorter_recording(tmp_path):
    write_m4a(tmp_path / "a.m4a", seconds=4.0, options={"movflags": "faststart"})
    assert len(decode(str(tmp_path / "a.m4a"))) == pytest.approx(64000, abs=3200)
    content = (tmp_path / "a.m4a").read_bytes()
    (tmp_path / "a.m4a").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="truncated: 1.* s of 4|cannot be decoded"):
        decode(str(tmp_path / "a.m4a"))
