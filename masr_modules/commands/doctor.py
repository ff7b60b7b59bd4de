"""`masr doctor`: checks whether this machine has what training and using encoders needs."""

import argparse
import importlib
import os
import platform
import shutil
import tempfile
import timeit
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement

import masr_modules

#: Format -> the format and subtype as soundfile names them, and the extension of its files.
FORMATS = {
    "WAV": ("WAV", "PCM_16", "wav"),
    "FLAC": ("FLAC", "PCM_16", "flac"),
    "MP3": ("MP3", "MPEG_LAYER_III", "mp3"),
    "Opus": ("OGG", "OPUS", "opus"),
}
#: Duration (s) and sample rate (Hz) of the tone that is written in each format.
TONE_SECONDS, TONE_RATE = 1.0, 16000
#: Free disk and free memory (GiB) below which the check gives a note.
LITTLE_DISK, LITTLE_MEMORY = 10.0, 4.0


class Finding(NamedTuple):
    """The result of one check.

    Arguments
    ---------
    state : str
        `ok`; `note`, if something optional is missing, slow or scarce; or `wrong`, if something
        will fail.
    what : str
        The thing that was checked.
    said : str
        The result, and the remedy where there is one.
    """

    state: str
    what: str
    said: str


def main(arguments: list[str], prog: str | None = None) -> int:
    """Prints the findings of all checks.

    Arguments
    ---------
    arguments : list[str]
        See `--help`.
    prog : str, optional
        The command's name in `--help`; by default the name of the script.

    Returns
    -------
    int
        0, or 1 if something is wrong.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Checks whether the packages have fitting versions and load, which devices "
        "there are and whether bfloat16 is fast on the CPU, which audio formats can be read, and "
        "how much disk and memory is free. It takes some seconds and writes nothing but small "
        "temporary files.",
        epilog="The exit status is 1 if something is wrong. Notes do not change it.",
    )
    parser.parse_args(arguments)
    print(f"masr {masr_modules.__version__}, Python {platform.python_version()}, ", end="")
    print(f"{platform.system()} {platform.machine()}")
    wrong = 0
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "Packages": check_packages,
        "Loading": check_loading,
        "Devices": check_devices,
        "Audio formats": check_formats,
        "Disk and memory": check_room,
    }
    for title, check in checks.items():
        print(f"\n{title}")
        for finding in check():
            print(f"  {finding.state:<6}{finding.what:<18} {finding.said}")
            wrong += finding.state == "wrong"
    print(f"\n{wrong or 'nothing'} wrong")
    return int(wrong > 0)


def check_packages(
    declared: Sequence[str] | None = None, version_of: Callable[[str], str] = metadata.version
) -> Iterator[Finding]:
    """Checks whether packages have the versions that masr requires.

    Arguments
    ---------
    declared : sequence of str, optional
        Requirements; by default those that masr was installed with.
    version_of : callable
        Returns the version of a package, given its name, or raises PackageNotFoundError.

    Yields
    ------
    Finding
        One for each package of the core, and one for each package of an extra that is missing or
        has another version.

    Example
    -------
    >>> found = check_packages(["numpy>=2", "numpy<2; extra == 'old'"], lambda name: "2.1")
    >>> for finding in found:
    ...     print(*finding)
    ok numpy 2.1
    wrong numpy 2.1 does not fit: pip install "numpy<2"
    """
    if declared is None:
        try:
            declared = metadata.requires("masr") or []
        except metadata.PackageNotFoundError:
            yield Finding("note", "masr", "is not installed, so versions are not checked")
            return
    for line in declared:
        need = Requirement(line)
        # No extra has an empty name: a requirement that holds for it belongs to the core.
        core = need.marker is None or need.marker.evaluate({"extra": ""})
        extra = "" if core else str(need.marker).rpartition("== ")[2].strip("\"'")
        if extra == "test":
            continue
        try:
            version = version_of(need.name)
        except metadata.PackageNotFoundError:
            if core:
                said = f'is missing: pip install "{need.name}{need.specifier}"'
                yield Finding("wrong", need.name, said)
            else:
                said = f'is not installed: if you need it, pip install "masr[{extra}]"'
                yield Finding("note", need.name, said)
            continue
        if not need.specifier.contains(version, prereleases=True):
            said = f'{version} does not fit: pip install "{need.name}{need.specifier}"'
            yield Finding("wrong", need.name, said)
        elif core:
            yield Finding("ok", need.name, version)


def check_loading(load: Callable[[str], Any] = importlib.import_module) -> Iterator[Finding]:
    """Checks whether the packages load that fail at import if their versions do not fit together.

    Arguments
    ---------
    load : callable
        Imports a module, given its name.

    Yields
    ------
    Finding
        One for each package.

    Example
    -------
    >>> def load(name):
    ...     if name == "torchaudio":
    ...         raise OSError("undefined symbol")
    >>> [(finding.state, finding.what) for finding in check_loading(load)]
    [('ok', 'torch'), ('wrong', 'torchaudio'), ('ok', 'soundfile'), ('ok', 'speechbrain')]
    """
    hints = {
        "torch": "reinstall it",
        "torchaudio": "it loads only with the torch that it was built for: install the same "
        "release of both, such as those of requirements.txt",
        "soundfile": "it needs the library libsndfile: install that",
        "speechbrain": "it imports torchaudio: repair that first",
    }
    for name, hint in hints.items():
        try:
            load(name)
        except Exception as error:  # a broken package may raise anything
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            yield Finding("wrong", name, f"does not load ({reason}): {hint}")
        else:
            yield Finding("ok", name, "loads")


def check_devices() -> Iterator[Finding]:
    """Lists the CPU and the GPUs, and times bfloat16 on the CPU.

    Yields
    ------
    Finding
        One for the CPU's cores, one for bfloat16 on the CPU, and one for each GPU or one that says
        that there is none.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("ok", "CPU", f"{cores} cores")
    try:
        import torch
    except Exception:  # check_loading says why
        yield Finding("wrong", "GPU", "not checked, because torch does not load")
        return
    times = {dtype: _product_seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    ratio = times[torch.bfloat16] / times[torch.float32]
    advice = "can save time" if ratio < 0.9 else "saves no time"
    yield Finding(
        "ok" if ratio < 0.9 else "note",
        "bfloat16 (CPU)",
        f"a matrix product takes {ratio:.2g} times as long as in float32, so --precision bf16 "
        f"{advice}",
    )
    if not torch.cuda.is_available():
        yield Finding("note", "GPU", f"torch {torch.__version__} finds none: the CPU is used")
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        said = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
        try:
            torch.ones(2, device=f"cuda:{index}").sum().item()
        except RuntimeError as error:  # such as a GPU for which this build of torch has no kernels
            reason = str(error).strip().splitlines()[0]
            yield Finding("wrong", f"cuda:{index}", f"{said}: does not compute ({reason})")
            continue
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        yield Finding("ok", f"cuda:{index}", f"{said}, bfloat16: {'yes' if bf16 else 'no'}")


def _product_seconds(dtype: Any) -> float:
    """Returns the seconds that two products of square matrices take on the CPU, least of five."""
    import torch

    square = torch.randn(512, 512).to(dtype)
    return min(timeit.repeat(lambda: square @ square, number=2, repeat=6)[1:])


def check_formats(formats: Sequence[str] = tuple(FORMATS)) -> Iterator[Finding]:
    """Checks whether training could read audio formats, on a file of each that it writes.

    Arguments
    ---------
    formats : sequence of str
        Keys of `FORMATS`.

    Yields
    ------
    Finding
        One for each format.

    Example
    -------
    >>> [finding.state for finding in check_formats(["WAV", "FLAC"])]
    ['ok', 'ok']
    """
    try:
        import numpy as np
        import soundfile

        from masr_modules.data.dataio import read_audio
    except Exception:  # check_loading says why
        yield Finding("wrong", "all", "not tried, because a package that reads audio does not load")
        return
    library = soundfile.__libsndfile_version__
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(TONE_SECONDS * TONE_RATE) / TONE_RATE)
    with tempfile.TemporaryDirectory() as folder:
        for name in formats:
            container, coding, ending = FORMATS[name]
            path = str(Path(folder) / f"tone.{ending}")
            try:
                soundfile.write(path, tone, TONE_RATE, format=container, subtype=coding)
            except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
                said = f"not tried, because libsndfile {library} does not write it ({error})"
                yield Finding("note", name, said)
                continue
            try:
                heard = read_audio(path, TONE_RATE, None, 0)
            except ValueError as error:
                yield Finding("wrong", name, str(error))
                continue
            seconds, level = len(heard) / TONE_RATE, heard.square().mean().sqrt().item()
            expected = 0.5 / 2**0.5
            if abs(seconds - TONE_SECONDS) > 0.1 or abs(level - expected) > 0.1 * expected:
                said = (
                    f"is read wrongly: {seconds:.2f} s at level {level:.2f} instead of 1 s at 0.35"
                )
                yield Finding("wrong", name, said)
            else:
                yield Finding("ok", name, f"libsndfile {library} reads it")


def check_room(folder: str | Path = ".") -> Iterator[Finding]:
    """Checks the free disk of a folder and the free memory.

    Arguments
    ---------
    folder : str or Path
        The folder that holds `data/` and `results/`.

    Yields
    ------
    Finding
        One for the disk and one for the memory.
    """
    disk = shutil.disk_usage(folder).free / 2**30
    memory = free_memory() / 2**30
    for what, free, little in (("disk", disk, LITTLE_DISK), ("memory", memory, LITTLE_MEMORY)):
        state, more = ("ok", "") if free >= little else ("note", f", less than {little:g} GiB")
        place = f" in {Path(folder).resolve()}" if what == "disk" else ""
        yield Finding(state, what, f"{free:.1f} GiB free{place}{more}")


def free_memory() -> int:
    """Returns the memory that is free, in bytes; without /proc/meminfo, the total memory.

    Example
    -------
    >>> free_memory() > 0
    True
    """
    table = Path("/proc/meminfo")
    if table.is_file():
        lines = dict(line.split(":", 1) for line in table.read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
