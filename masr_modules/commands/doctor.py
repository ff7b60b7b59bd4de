"""`masr doctor`: whether this machine has what training and using encoders takes."""

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

#: Format -> format and coding as soundfile calls them, and the ending of its files.
FORMATS = {
    "WAV": ("WAV", "PCM_16", "wav"),
    "FLAC": ("FLAC", "PCM_16", "flac"),
    "MP3": ("MP3", "MPEG_LAYER_III", "mp3"),
    "Opus": ("OGG", "OPUS", "opus"),
}
#: Seconds and Hz of the tone that is written in each format.
TONE_SECONDS, TONE_RATE = 1.0, 16000
#: GiB below which the disk and the memory are worth a look.
LITTLE_DISK, LITTLE_MEMORY = 10.0, 4.0


class Finding(NamedTuple):
    """What one check found.

    Arguments
    ---------
    state : str
        `ok`; `note`: something can be done without; or `wrong`: something will fail.
    what : str
        What was looked at.
    said : str
        What was found, and what to do about it.
    """

    state: str
    what: str
    said: str


def main(arguments: list[str], prog: str | None = None) -> int:
    """Prints what all checks find.

    Arguments
    ---------
    arguments : list[str]
        See `--help`.
    prog : str, optional
        What `--help` calls the command; by default the name of the script.

    Returns
    -------
    int
        0, or 1 where something is wrong.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Checks that packages fit together and load, what devices there are and "
        "whether bfloat16 is fast on them, which audio formats can be read, and how much disk and "
        "memory is free. Takes some seconds, and writes small temporary files alone.",
        epilog="The exit status is 1 where something is wrong; a note is not.",
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
    """Whether packages have the versions that the package declares.

    Arguments
    ---------
    declared : sequence of str, optional
        Requirements, by default those that masr was installed with.
    version_of : callable
        Name of a package -> its version, or PackageNotFoundError.

    Yields
    ------
    Finding
        One for each package of the core, and one for each package of an extra that is missing or
        unfit.

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
            yield Finding("note", "masr", "is not installed: versions cannot be compared")
            return
    for line in declared:
        need = Requirement(line)
        # No extra has an empty name: what such a marker lets through belongs to the core.
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
                said = f'is not installed: pip install "masr[{extra}]" where you need it'
                yield Finding("note", need.name, said)
            continue
        if not need.specifier.contains(version, prereleases=True):
            said = f'{version} does not fit: pip install "{need.name}{need.specifier}"'
            yield Finding("wrong", need.name, said)
        elif core:
            yield Finding("ok", need.name, version)


def check_loading(load: Callable[[str], Any] = importlib.import_module) -> Iterator[Finding]:
    """Whether the packages load that fail at import where their versions do not fit together.

    Arguments
    ---------
    load : callable
        Imports a module by its name.

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
        "torch": "install it anew",
        "torchaudio": "it loads only with the torch that it was built for: install the same "
        "release of both, such as those of requirements.txt",
        "soundfile": "it needs the library libsndfile",
        "speechbrain": "it loads torchaudio: mend that first",
    }
    for name, hint in hints.items():
        try:
            load(name)
        except Exception as error:  # whatever a broken package does
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            yield Finding("wrong", name, f"does not load ({reason}): {hint}")
        else:
            yield Finding("ok", name, "loads")


def check_devices() -> Iterator[Finding]:
    """CPU and GPUs, with what bfloat16 costs on the CPU.

    Yields
    ------
    Finding
        One for the CPU's cores, one for its bfloat16 and one for each GPU.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("ok", "CPU", f"{cores} cores")
    try:
        import torch
    except Exception:  # check_loading says why
        yield Finding("wrong", "GPU", "not looked for: torch does not load")
        return
    times = {dtype: _product_seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    ratio = times[torch.bfloat16] / times[torch.float32]
    advice = "can save time" if ratio < 0.9 else "saves no time"
    yield Finding(
        "ok" if ratio < 0.9 else "note",
        "bfloat16 (CPU)",
        f"a matrix product takes {ratio:.2g} times as long as in float32, so that --precision bf16 "
        f"{advice}",
    )
    if not torch.cuda.is_available():
        yield Finding("note", "GPU", f"none that torch {torch.__version__} sees: the CPU is used")
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        said = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
        try:
            torch.ones(2, device=f"cuda:{index}").sum().item()
        except RuntimeError as error:  # a GPU that this build of torch has no kernels for
            reason = str(error).strip().splitlines()[0]
            yield Finding("wrong", f"cuda:{index}", f"{said}: does not compute ({reason})")
            continue
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        yield Finding("ok", f"cuda:{index}", f"{said}, bfloat16: {'yes' if bf16 else 'no'}")


def _product_seconds(dtype: Any) -> float:
    """Seconds of a product of square matrices on the CPU, the least of five."""
    import torch

    square = torch.randn(512, 512).to(dtype)
    return min(timeit.repeat(lambda: square @ square, number=2, repeat=6)[1:])


def check_formats(formats: Sequence[str] = tuple(FORMATS)) -> Iterator[Finding]:
    """Whether audio formats can be read, as training reads them, on files that are written here.

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
        yield Finding("wrong", "all", "not tried: a package that reads audio does not load")
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
                said = f"not tried: libsndfile {library} does not write it ({error})"
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
                said = f"is read wrongly: {seconds:.2f} s at level {level:.2f} for 1 s at 0.35"
                yield Finding("wrong", name, said)
            else:
                yield Finding("ok", name, f"read by libsndfile {library}")


def check_room(folder: str | Path = ".") -> Iterator[Finding]:
    """Free disk in a folder, and free memory.

    Arguments
    ---------
    folder : str or Path
        Where `data/` and `results/` lie.

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
    """Bytes that processes can still have; where the system does not tell, all that it has.

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
