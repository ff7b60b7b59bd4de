"""Frozen frames are those of the audio, the configuration and the weights of now."""

import os
import pickle
import subprocess
import sys

import pytest
import soundfile
import torch

from masr_modules.downstream.frame_cache import FrameCache
from masr_modules.encoders.conformer import ConvFrontEnd, LogMel, SpeechEncoder


def make_encoder(**options):
    torch.manual_seed(0)
    front_end = ConvFrontEnd(40, 8, [7], [4])
    encoder = SpeechEncoder(LogMel(n_mels=40, **options), front_end, 1, 8, 8, 2)
    return encoder.eval()


@pytest.fixture
def rows(tmp_path):
    """Two utterances of a second."""
    found = {}
    for name in ("a", "b"):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, 0.1 * torch.randn(16000).numpy(), 16000)
        found[name] = {"wav": str(path), "duration": 1.0}
    return found


def test_audio_that_was_replaced_has_another_name_even_with_its_old_time_and_size(rows):
    encoder = make_encoder()
    before, path = FrameCache.name_of(encoder, rows), rows["a"]["wav"]
    assert FrameCache.name_of(encoder, rows) == before
    status = os.stat(path)
    soundfile.write(path, 0.05 * torch.randn(16000).numpy(), 16000)  # never the same
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert os.stat(path).st_size == status.st_size
    assert FrameCache.name_of(encoder, rows) != before


def test_all_that_frames_depend_on_is_in_the_name(rows):
    encoder = make_encoder()
    names = {FrameCache.name_of(encoder, rows)}
    other = make_encoder(keep_spectrum=True)  # of the same weights
    other.load_state_dict(encoder.state_dict())
    names.add(FrameCache.name_of(other, rows))
    names.add(FrameCache.name_of(make_encoder().to(torch.bfloat16), rows))
    with torch.no_grad():
        next(other.parameters()).add_(1)
    names.add(FrameCache.name_of(other, rows))
    names.add(FrameCache.name_of(encoder, {"a": rows["a"]}))
    names.add(FrameCache.name_of(encoder, rows | {"a": rows["a"] | {"start": "0", "stop": "800"}}))
    assert len(names) == 6


def test_the_name_is_the_same_in_another_process(rows):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_frame_cache as t; import json;"
        "print(t.FrameCache.name_of(t.make_encoder(), json.loads(sys.argv[2])))"
    )
    import json

    command = [sys.executable, "-c", code, os.path.dirname(__file__), json.dumps(rows)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert found == FrameCache.name_of(make_encoder(), rows)


def test_what_a_killed_process_left_is_removed(rows, tmp_path):
    folder, encoder = tmp_path / "frames", make_encoder()
    folder.mkdir()
    (folder / "abc.f32.4711.tmp").write_bytes(bytes(1000))
    name = FrameCache.name_of(encoder, rows)
    cache = FrameCache.make(folder, name, encoder, rows, 16000)
    assert {path.name for path in folder.iterdir()} == {f"{name}.f32", f"{name}.json"}
    assert FrameCache.used_bytes(folder) == (folder / f"{name}.f32").stat().st_size > 0
    again = pickle.loads(pickle.dumps(cache))  # as workers that are spawned get it
    assert torch.equal(again["a"], cache["a"]) and cache["a"].shape == (26, 2, 8)


def test_a_file_with_nan_is_named_and_the_others_are_cached(rows, tmp_path):
    audio = torch.randn(16000)
    audio[7] = float("nan")
    soundfile.write(rows["a"]["wav"], audio.numpy(), 16000, "FLOAT")
    encoder = make_encoder()
    cache = FrameCache.make(tmp_path / "f", "name", encoder, rows, 16000)
    assert "nan" in cache["a"].reason and rows["a"]["wav"] in cache["a"].reason
    assert torch.isfinite(cache["b"]).all()
