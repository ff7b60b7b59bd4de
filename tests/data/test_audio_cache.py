"""Decoded audio on disk: what is read of it, when it is made again, how much it may take."""

import logging
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from masr_modules.data import audio_cache
from masr_modules.data.audio_cache import AudioCache
from masr_modules.data.dataio import Unreadable, make_dataset, read_audio

#: Recordings of people, where they lie beside the repository.
PEOPLE = Path(__file__).parents[3] / "shared/human/cv-corpus-6.1-sample/cy/clips"
#: Half of what a step of 16 bits is.
HALF_A_STEP = 0.5 / 32768


def write(path, seconds=1.0, rate=16000, seed=0, **options):
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, int(seconds * rate))
    soundfile.write(path, noise, rate, **options)
    return str(path)


@pytest.fixture
def cache(tmp_path):
    return AudioCache(tmp_path / "cache", 16000)


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded."""
    files = []

    def spy(path, *args):
        files.append(path)
        return read_audio(path, *args)

    monkeypatch.setattr(audio_cache, "read_audio", spy)
    return files


def entries(cache):
    return sorted(cache.folder.iterdir())


@pytest.mark.parametrize("max_seconds", [None, 0.25])
def test_16_bits_at_the_same_rate_are_what_they_are_without(cache, tmp_path, decoded, max_seconds):
    path = write(tmp_path / "a.wav", subtype="PCM_16")
    without = read_audio(path, 16000, max_seconds, seed=3)
    for _ in range(2):
        assert torch.equal(cache.read(path, max_seconds, seed=3), without)
    assert decoded == [path]


@pytest.mark.parametrize(
    "name, options, exact",
    [
        ("a.wav", {"subtype": "FLOAT"}, False),
        ("a.mp3", {}, False),
        ("a.ogg", {"subtype": "OPUS"}, True),  # soundfile's own decoder gives 16 bits
    ],
)
def test_other_samples_are_rounded_by_half_a_step_at_most(cache, tmp_path, name, options, exact):
    path = write(tmp_path / name, **options)
    first, again = cache.read(path), cache.read(path)
    difference = (first - read_audio(path, 16000, None, seed=0)).abs().max()
    assert difference <= HALF_A_STEP and (exact or difference > 0) and torch.equal(first, again)


@pytest.mark.skipif(not PEOPLE.is_dir(), reason="no recordings of people here")
def test_a_crop_of_speech_in_opus_lies_where_it_does_without(cache):
    for path in sorted(PEOPLE.glob("*.opus"))[:5]:
        without, within = read_audio(str(path), 16000, 2.0, 7), cache.read(str(path), 2.0, 7)
        # A codec fills what is inaudible with noise of its own, another where it starts elsewhere.
        assert (within - without).square().mean() < 1e-3 * without.square().mean()


def test_loud_samples_are_not_cut_off(cache, tmp_path):
    soundfile.write(tmp_path / "a.wav", [1.5, -3.0, 1.0], 16000, subtype="FLOAT")
    for _ in range(2):
        assert cache.read(str(tmp_path / "a.wav")).tolist() == [1.5, -3.0, 1.0]


def test_a_crop_of_another_rate_begins_where_it_does_without(cache, tmp_path):
    rising = np.linspace(-0.5, 0.5, 48000 * 3)  # 1 in 144 000 a sample, 1 in 48 000 at 16 kHz
    soundfile.write(tmp_path / "a.wav", rising, 48000, subtype="FLOAT")
    for seed in range(5):
        without = read_audio(str(tmp_path / "a.wav"), 16000, 1.0, seed)
        crop = cache.read(str(tmp_path / "a.wav"), 1.0, seed)
        assert crop.shape == without.shape == (16000,)
        assert (crop - without)[100:-100].abs().max() < 2 / 48000


def test_a_segment_is_an_entry_of_its_own(cache, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.arange(8) / 16, 16000)
    path = str(tmp_path / "a.wav")
    assert (16 * cache.read(path, segment=(2, 5))).tolist() == [2, 3, 4]
    assert (16 * cache.read(path, segment=(6, None))).tolist() == [6, 7]
    assert len(entries(cache)) == 2


@pytest.mark.parametrize("damage", ["cut", "turned", "empty"])
def test_a_damaged_entry_is_made_again(cache, tmp_path, decoded, damage):
    path = write(tmp_path / "a.wav")
    whole = cache.read(path)
    (entry,) = entries(cache)
    content = bytearray(entry.read_bytes())
    content[-1] ^= 1
    bad = {"cut": content[:-2], "turned": content, "empty": b""}[damage]
    entry.write_bytes(bad)
    for _ in range(2):
        assert torch.equal(cache.read(path), whole)
    assert decoded == [path, path]


def test_another_file_of_that_name_is_decoded_anew(cache, tmp_path):
    path = write(tmp_path / "a.wav", seed=0)
    before = cache.read(path)
    time = os.stat(path).st_mtime_ns
    write(path, seed=1)
    os.utime(path, ns=(time, time + 1))  # of the same size
    assert not torch.equal(cache.read(path), before)
    assert torch.equal(cache.read(path), read_audio(path, 16000, None, 0))


def test_another_rate_has_entries_of_its_own(cache, tmp_path):
    path = write(tmp_path / "a.wav")
    other = AudioCache(cache.folder, 8000)
    assert len(cache.read(path)) == 16000 and len(other.read(path)) == 8000


def test_what_cannot_be_read_is_named_and_not_kept(cache, tmp_path):
    (tmp_path / "a.wav").write_text("404 not found")
    with pytest.raises(ValueError, match="a.wav: cannot be decoded"):
        cache.read(str(tmp_path / "a.wav"))
    with pytest.raises(ValueError, match="gone.wav: cannot be decoded: no such file"):
        cache.read(str(tmp_path / "gone.wav"))
    assert not entries(cache)


def test_a_full_disk_is_said_once_and_training_goes_on(cache, tmp_path, monkeypatch, caplog):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audio_cache, "atomic_file", full)
    path = write(tmp_path / "a.wav", subtype="FLOAT")
    with caplog.at_level(logging.WARNING):
        first, again = cache.read(path), cache.read(path)
    assert torch.equal(first, again) and not entries(cache)
    assert caplog.text.count("No space left on device; going on without caching more") == 1


def test_what_a_killed_run_left_is_removed(cache, tmp_path):
    (cache.folder / "0123.pcm.4711.tmp").write_bytes(b"half an ent")
    assert not entries(AudioCache(cache.folder, 16000))


def test_too_much_audio_is_refused_before_training(cache, tmp_path):
    rows = [{"wav": write(tmp_path / f"{n}.wav", seed=n), "duration": 1.0} for n in range(3)]
    one = (8 + 2 * 16000) / 1e9  # gigabytes
    cache.check_room(rows, 3 * one)
    with pytest.raises(ValueError, match=r"0.00 GB in .*cache; max_audio_cache_gb is .*: raise it"):
        cache.check_room(rows, 2.9 * one)
    cache.read(rows[0]["wav"])  # what is there counts once
    cache.check_room(rows, 3 * one)
    cache.check_room(rows[:1], one)


def test_a_disk_with_too_little_room_is_said(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(audio_cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(ValueError, match="0.00 GB are free"):
        cache.check_room([{"wav": write(tmp_path / "a.wav"), "duration": 1.0}], 20)


def test_a_dataset_with_a_cache_gives_what_one_without_does(cache, tmp_path):
    rows = {str(n): {"wav": write(tmp_path / f"{n}.wav", seed=n), "duration": 1} for n in range(3)}
    rows["gone"] = {"wav": str(tmp_path / "gone.wav"), "duration": 1}
    sets = [make_dataset(rows, 16000, 0.5, tolerant=True, audio_cache=c) for c in (None, cache)]
    for without, within in zip(*sets, strict=True):
        if without["id"] == "gone":
            assert isinstance(within["sig"], Unreadable) and without == within
        else:
            assert torch.equal(without["sig"], within["sig"])


@pytest.mark.slow
def test_workers_share_a_folder(cache, tmp_path):
    path = write(tmp_path / "a.wav")
    rows = {str(n): {"wav": path, "duration": 1.0} for n in range(8)}
    dataset = make_dataset(rows, 16000, audio_cache=cache)
    loader = torch.utils.data.DataLoader(dataset, num_workers=2, collate_fn=list)
    signals = [example["sig"] for batch in loader for example in batch]
    assert len(signals) == 8 and all(torch.equal(sig, signals[0]) for sig in signals)
    assert len(entries(cache)) == 1
