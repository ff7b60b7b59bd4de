"""The Debian packages that hold recordings of people: their licences, download and unpacking."""

import glob
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from lzma import LZMAError

from tqdm import tqdm

from data_prep.common.archives import inner_path
from masr_modules.config.extras import extra
from masr_modules.config.files import errors_name


@dataclass(frozen=True)
class Package:
    """A Debian package.

    Arguments
    ---------
    name : str
        Its name.
    source : str
        The collection that it belongs to, whose recordings were made in one way by the same people.
    licence : str
        Licence of its recordings, as its file ``copyright`` has it.
    """

    name: str
    source: str
    licence: str


#: Every package that is read, by name.
PACKAGES = {
    package.name: package
    for package in (
        Package("tuxpaint-stamps-default", "tuxpaint", "GPL-2"),
        Package("fillets-ng-data", "fillets", "GPL-2"),  # scripts: texts and characters
        Package("fillets-ng-data-cs", "fillets", "GPL-2"),
        Package("fillets-ng-data-nl", "fillets", "GPL-2"),
        Package("asterisk-core-sounds-en", "asterisk", "CC-BY-SA-3.0"),  # the English texts
        Package("asterisk-core-sounds-en-g722", "asterisk", "CC-BY-SA-3.0"),
        Package("asterisk-core-sounds-es-g722", "asterisk", "CC-BY-SA-3.0"),
        Package("asterisk-core-sounds-fr-g722", "asterisk", "CC-BY-SA-3.0"),
        Package("asterisk-core-sounds-it-g722", "asterisk", "CC-BY-3.0"),
        Package("asterisk-core-sounds-ru-g722", "asterisk", "CC-BY-3.0"),
        Package("ktuberling-data", "ktuberling", "GPL-2+"),
        Package("klettres-data", "klettres", "GPL-2+"),
    )
}

#: Suffixes of the files that are unpacked: recordings, and files with their texts.
WANTED = (".ogg", ".opus", ".wav", ".g722", ".lua", ".txt", ".txt.gz")

#: Errors that readers of tar and its compression raise on a broken file.
_BROKEN = (tarfile.TarError, LZMAError, EOFError)


def find_package(name: str, folder: str) -> str | None:
    """Find a package's file in a folder.

    Arguments
    ---------
    name : str
        Name of the package.
    folder : str
        Folder of ``NAME_VERSION_ARCHITECTURE.deb`` files.

    Returns
    -------
    str or None
        Path of the file; None if it is not there.

    Raises
    ------
    ValueError
        If there are several versions.
    """
    found = sorted(glob.glob(os.path.join(glob.escape(folder), f"{name}_*.deb")))
    if len(found) > 1:
        names = ", ".join(os.path.basename(path) for path in found)
        raise ValueError(f"{folder}: several versions of {name} ({names}); keep one")
    return found[0] if found else None


def fetch_packages(names: list[str], folder: str) -> dict[str, str]:
    """Find packages in a folder, and download with apt those that are missing.

    Arguments
    ---------
    names : list of str
        Names of the packages.
    folder : str
        Folder of the .deb files.

    Returns
    -------
    dict of str to str
        Name -> path of the .deb file.

    Raises
    ------
    FileNotFoundError
        If packages are missing and apt-get is not installed.
    RuntimeError
        If apt-get fails.
    """
    os.makedirs(folder, exist_ok=True)
    missing = [name for name in names if find_package(name, folder) is None]
    if missing and shutil.which("apt-get") is None:
        raise FileNotFoundError(
            f"{folder}: no .deb file of {', '.join(missing)}, and no apt-get to download them; "
            "put them there as a Debian mirror names them (NAME_VERSION_all.deb)"
        )
    for name in tqdm(missing, desc="downloading", unit="package", disable=not missing):
        _download(name, folder)
    return {name: find_package(name, folder) for name in names}


def _download(name: str, folder: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
        command = ["apt-get", "-o", "APT::Sandbox::User=root", "download", name]
        result = subprocess.run(command, cwd=temporary, capture_output=True, text=True)
        files = glob.glob(os.path.join(glob.escape(temporary), f"{name}_*.deb"))
        if result.returncode or len(files) != 1:
            raise RuntimeError(
                f"apt-get download {name} failed ({result.stderr.strip() or 'no file'}); run "
                f"`apt-get update` first, or put the .deb file into {folder}"
            )
        os.replace(files[0], os.path.join(folder, os.path.basename(files[0])))


def unpack(deb: str, folder: str) -> str:
    """Unpack the recordings and texts of a .deb file, unless that has been done.

    Arguments
    ---------
    deb : str
        Path of the .deb file.
    folder : str
        Parent of the package's folder.

    Returns
    -------
    str
        The package's folder, named after the .deb file. It appears when it is complete.

    Raises
    ------
    ValueError
        If the file is broken, or has a member whose path leaves the folder.
    """
    target = os.path.join(folder, os.path.basename(deb).removesuffix(".deb"))
    if os.path.isdir(target):
        return target
    with extra("prep"):
        import arpy  # imported here, because it is not needed once the package is unpacked
    partial = f"{target}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    try:
        with arpy.Archive(deb) as parts:
            _unpack_wanted(parts, deb, partial)
        os.replace(partial, target)
    except (arpy.ArchiveFormatError, arpy.ArchiveAccessError, *_BROKEN) as error:
        raise ValueError(f"{deb}: cannot be unpacked ({error}); download it again") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _unpack_wanted(parts: Iterable, deb: str, folder: str) -> None:
    """Unpack wanted files from the parts of a .deb file, of which ``data.tar.*`` has the files."""
    data = next((part for part in parts if part.header.name.startswith(b"data.tar")), None)
    if data is None:
        raise EOFError("it holds no files")
    with tarfile.open(fileobj=data, mode="r|*") as files:
        for member in tqdm(files, desc=f"unpacking {os.path.basename(deb)}", unit="file"):
            if not member.isfile():
                continue  # packages link to fonts and documents; none is followed
            path = os.path.join(folder, inner_path(member.name, deb))
            if path.endswith(WANTED):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with errors_name(path), open(path, "wb") as file:
                    shutil.copyfileobj(files.extractfile(member), file)
