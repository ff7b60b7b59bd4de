"""Weights from untrusted files: reading them runs no code, and takes no more than their size."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor


def refuse_packed(path: Path) -> None:
    """Refuses a zip, the format of torch, whose content is larger than the file; accepts others.

    Raises
    ------
    ValueError
        If its records are compressed, or its directory is broken.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as file:
            unpacked = sum(record.file_size for record in file.infolist())
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if unpacked > path.stat().st_size:
        raise ValueError(
            f"{path}: cannot be read: it would unpack to {unpacked:,} bytes, more than its size; "
            "torch never saves such files"
        )


def read_state(path: Path) -> dict:
    """Reads the weights of a file that torch saved, without running code or unpacking too much.

    Raises
    ------
    ValueError
        If the file is broken, holds more than weights, or its records are compressed.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path}: cannot be read: it is not in the format that torch.save writes; save it "
            "again with a recent torch"
        )
    refuse_packed(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: holds more than weights, so it is not read: {error}") from error
    except (RuntimeError, EOFError, OSError, ValueError, MemoryError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path}: does not hold weights by name")
    return dict(state)
