"""Files of weights that anyone may have written: no code, and no more memory than their size."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor


def refuse_packed(path: Path) -> None:
    """Raises where a zip, as torch saves, holds more than its own size; other files pass.

    Raises
    ------
    ValueError
        If its records are compressed, or its directory is broken: names the file.
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
            f"{path}: cannot be read: it would unpack to {unpacked:,} bytes, which torch never "
            "saves"
        )


def read_state(path: Path) -> dict:
    """Weights of a file that torch saved; neither runs code nor unpacks more than its size.

    Raises
    ------
    ValueError
        If it is broken, holds more than weights, or its records are compressed.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: cannot be read: it is no file that torch.save writes today")
    refuse_packed(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: holds more than weights, so it is not read: {error}") from error
    except (RuntimeError, EOFError, OSError, ValueError, MemoryError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path}: holds no weights by name")
    return dict(state)
