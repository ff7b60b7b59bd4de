"""`masr doctor`, on this machine and on invented ones."""

from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest
import soundfile
import torch

from masr_modules.commands import doctor
from masr_modules.commands.doctor import (
    FORMATS,
    check_devices,
    check_formats,
    check_loading,
    check_packages,
    check_room,
)
from masr_modules.commands.main import main


def test_this_machine_is_well(capsys):
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for part in ("torchaudio", "CPU", *FORMATS, "disk", "memory", "bfloat16", "GPU", "cores"):
        assert part in said or (part == "GPU" and "cuda:0" in said), part
    assert said.endswith("nothing wrong\n") and "(test)" not in said


def test_what_is_wrong_sets_the_status(capsys, monkeypatch):
    found = [doctor.Finding("wrong", "torch", "does not load")]
    monkeypatch.setattr(doctor, "check_loading", lambda: found)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "  wrong torch              does not load\n" in said and said.endswith("\n1 wrong\n")


def test_packages_are_held_against_what_is_declared():
    versions = {"a": "1.5", "b": "2.0", "c": "2.9.dev1+cpu"}

    def version_of(name):
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    declared = [
        "a>=1",
        "b<2",
        "c<3",
        "gone>=1",
        'gone_too>=1; extra == "hub"',
        'b<2; extra == "report"',
        'a; extra == "prep"',
        'nothing; extra == "test"',
    ]
    found = list(check_packages(declared, version_of))
    assert [(x.state, x.what) for x in found] == [
        ("ok", "a"),
        ("wrong", "b"),
        ("ok", "c"),
        ("wrong", "gone"),
        ("note", "gone_too"),
        ("wrong", "b"),
    ]
    assert found[1].said == '2.0 does not fit: pip install "b<2"'
    assert 'pip install "gone>=1"' in found[3].said
    assert 'pip install "masr[hub]"' in found[4].said


def test_a_package_that_is_not_installed_has_nothing_to_compare(monkeypatch):
    def nothing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", nothing)
    (found,) = check_packages()
    assert found.state == "note" and "not installed" in found.said


def test_a_package_that_breaks_at_import_is_told_with_its_reason():
    def load(name):
        if name == "torchaudio":
            raise OSError("undefined symbol: x\nand more")

    found = {x.what: x for x in check_loading(load)}
    assert found["torch"].state == "ok"
    assert "does not load (undefined symbol: x): " in found["torchaudio"].said
    assert "same release of both" in found["torchaudio"].said


@pytest.mark.parametrize("bfloat16, state", [(2.0, "note"), (0.5, "ok")])
def test_bfloat16_is_measured(monkeypatch, bfloat16, state):
    times = {torch.float32: 1.0, torch.bfloat16: bfloat16}
    monkeypatch.setattr(doctor, "_product_seconds", times.get)
    found = {x.what: x for x in check_devices()}
    assert found["bfloat16 (CPU)"].state == state
    assert f"takes {bfloat16:.2g} times" in found["bfloat16 (CPU)"].said


def test_a_gpu_that_does_not_compute_is_wrong(monkeypatch):
    facts = SimpleNamespace(name="Old", total_memory=2**33)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: facts)

    def refuse(*_, **__):
        raise RuntimeError("no kernel image\nfor this device")

    monkeypatch.setattr(torch, "ones", refuse)
    found = {x.what: x for x in check_devices()}
    assert found["cuda:0"] == ("wrong", "cuda:0", "Old, 8 GiB: does not compute (no kernel image)")


def test_a_format_that_cannot_be_written_is_not_tried(monkeypatch):
    def write(path, *_, **__):
        raise soundfile.LibsndfileError(1)

    monkeypatch.setattr(soundfile, "write", write)
    (found,) = check_formats(["Opus"])
    assert found.state == "note" and "not tried" in found.said


def test_a_format_that_is_read_wrongly_is_wrong(monkeypatch):
    write = soundfile.write
    monkeypatch.setattr(soundfile, "write", lambda p, x, *a, **k: write(p, x[:8000], *a, **k))
    (found,) = check_formats(["FLAC"])
    assert found.state == "wrong" and "0.50 s" in found.said


def test_little_room_is_a_note(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    monkeypatch.setattr(doctor, "free_memory", lambda: 2**33)
    disk, memory = check_room(tmp_path)
    assert disk.said == f"1.0 GiB free in {tmp_path.resolve()}, less than 10 GiB"
    assert (disk.state, memory.state) == ("note", "ok") and memory.said == "8.0 GiB free"
