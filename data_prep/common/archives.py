"""Untrusted archives and paths: nothing is written outside the folder or left half unpacked."""

import lzma
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO

from tqdm import tqdm

from data_prep.common.audio import DATA_ROOT
from masr_modules.config.files import errors_name
from masr_modules.data.csv_text import open_regular

#: First bytes of files that are neither tar nor zip -> what such a file is.
_OTHER_FORMS = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"Salted__": "encrypted (openssl)",
    b"-----BEGIN PGP": "encrypted (PGP)",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
}
_UNPACK = "unpack it into the corpus's folder yourself"

#: A plain file name without a folder. Most paths are such, and need no further parsing.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def inner_path(name: str, where: str) -> str:
    """Checks that a path which a file or archive names stays inside the corpus's folder.

    Arguments
    ---------
    name : str
        The path, relative to the folder.
    where : str
        Place of the path, for the error: archive, or table and line.

    Returns
    -------
    str
        The path, with `/` and without `.` parts.

    Raises
    ------
    ValueError
        If it is empty, absolute or has a part `..`.

    Example
    -------
    >>> inner_path("./clips/a b.wav", "t.tsv, line 2")
    'clips/a b.wav'
    >>> inner_path("../secret", "t.tsv, line 2")
    Traceback (most recent call last):
    ...
    ValueError: t.tsv, line 2: '../secret' would leave the corpus's folder; refused
    """
    if _PLAIN.fullmatch(name):
        return name
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    outside = path.is_absolute() or windows.drive or windows.root
    if outside or "\0" in name or ".." in path.parts or ".." in windows.parts or not path.parts:
        raise ValueError(f"{where}: {name!r} would leave the corpus's folder; refused")
    return str(path)


@contextmanager
def _broken_archive_named(archive: str) -> Iterator[None]:
    try:
        yield
    except NotImplementedError as error:
        raise ValueError(
            f"{archive}: is packed in a way that is not read here ({error}); {_UNPACK}"
        ) from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(
            f"{archive}: truncated or broken archive ({error}); fetch it again"
        ) from error


def _refuse_other_forms(archive: str) -> None:
    """Raises for a known format that is neither tar nor zip, and for what is not a file."""
    with open_regular(archive) as file:
        start = file.peek(8)
    for mark, name in _OTHER_FORMS.items():
        if start.startswith(mark):
            raise ValueError(f"{archive}: is {name}, which is not read here; {_UNPACK}")


def _members(archive: str) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yields each file's checked path, size and content, which is valid until the next file."""
    return _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive)


def _tar_members(archive: str) -> Iterator[tuple[str, int, IO[bytes]]]:
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            name = inner_path(member.name, archive) if member.name.strip("./") else ""
            if member.isdir():
                continue
            if not member.isfile():
                raise ValueError(f"{archive}: {member.name!r} is a link or device; refused")
            yield name, member.size, tar.extractfile(member)


def _zip_members(archive: str) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            name = inner_path(member.filename, archive)
            if member.is_dir():
                continue
            if member.flag_bits & 1:
                raise ValueError(
                    f"{archive}: {member.filename!r} is encrypted; {_UNPACK} with its password"
                )
            if (member.external_attr >> 16) & 0o170000 == 0o120000:
                raise ValueError(f"{archive}: {member.filename!r} is a link; refused")
            with file.open(member) as content:
                yield name, member.file_size, content


def unpack(archive: str, inner: str, data_folder: str, save_folder: str) -> str:
    """Unpacks an archive of a corpus, unless its folder is there already.

    Arguments
    ---------
    archive : str
        Path relative to `data_folder`.
    inner : str
        Folder to make, relative to `data_folder`, or relative to `save_folder/unpacked` where
        `data_folder` is read-only.
    data_folder : str
        Folder of the corpus.
    save_folder : str
        Folder of the CSVs.

    Returns
    -------
    str
        The folder, in the form with which a cell of the column `wav` begins: relative to
        `$data_root`, or absolute.

    Raises
    ------
    ValueError
        See `extract_archive`.
    """
    folder = os.path.join(data_folder, inner)
    if os.path.isdir(folder):
        return f"{DATA_ROOT}{inner}"
    inside = inner.removeprefix("../")
    elsewhere = os.path.join(os.path.abspath(save_folder), "unpacked", inside)
    if not os.path.isdir(elsewhere):
        if is_writable(os.path.dirname(folder)):
            extract_archive(os.path.join(data_folder, archive), folder)
            return f"{DATA_ROOT}{inner}"
        os.makedirs(os.path.dirname(elsewhere), exist_ok=True)
        extract_archive(os.path.join(data_folder, archive), elsewhere)
    return elsewhere


def is_writable(folder: str) -> bool:
    """Tells whether a folder, or the nearest existing one above it, can be written to."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder) or "."
    return os.access(folder, os.W_OK)


def extract_archive(archive: str, folder: str) -> None:
    """Unpacks an archive; the folder appears when it is complete.

    Where all members lie in one folder of the same name (`train/` in the archive,
    unpacked to `audio/train`), that folder is not doubled.

    Arguments
    ---------
    archive : str
        Path of a tar (also .tar.gz, .tar.bz2, .tar.xz) or zip.
    folder : str
        Folder to make.

    Raises
    ------
    ValueError
        If the archive is truncated, encrypted or not an archive, or a member is a link, a device,
        too large for the disk or would leave the folder; the message names archive and member.
        Nothing is left behind.
    FileExistsError
        If the folder exists.
    """
    _refuse_other_forms(archive)
    if os.path.exists(folder):
        raise FileExistsError(f"{folder}: exists already; {archive} was not unpacked over it")
    parent, name = os.path.split(os.path.abspath(folder))
    temporary = os.path.join(parent, f".{name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)  # of an interrupted run
    try:
        os.makedirs(temporary)
        bar = tqdm(desc=f"unpacking {archive}", unit="file")
        with bar, _broken_archive_named(archive):
            for member, size, content in _members(archive):
                path = os.path.join(temporary, member)
                free = shutil.disk_usage(temporary).free
                if size > free:  # the stated size may be false, as in an archive made to fill disks
                    raise ValueError(
                        f"{archive}: {member!r} states a size of {size:,} bytes, and {parent} has "
                        f"room for {free:,}; make room, or fetch the archive again"
                    )
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with errors_name(path), open(path, "wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
                bar.update()
        inner = os.path.join(temporary, name)
        whole = os.listdir(temporary) == [name] and os.path.isdir(inner)
        os.replace(inner if whole else temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
