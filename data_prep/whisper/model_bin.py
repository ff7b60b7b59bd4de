"""A reader of CTranslate2's file of a model, `model.bin`, which has named arrays in sequence.

The file is little-endian. A text is its length (2 bytes) and its bytes, the last of which is 0.
Sizes are in bytes:

    version (4), specification (text), revision of the specification (4)
    number of arrays (4); for each: name (text), number of dimensions (1), each dimension (4),
        number of its dtype (1), number of its bytes (4), its bytes
    number of aliases (4); for each: alias (text), name of the array that it stands for (text)
"""

import math
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

#: The only form that is read: version of the file, specification and its revision.
FORM = (6, "WhisperSpec", 3)
#: Number of a dtype in the file -> dtype.
DTYPES = dict(enumerate(np.dtype(kind) for kind in ("<f4", "i1", "<i2", "<i4", "<f2")))

#: Largest number of dimensions, which a convolution's weight has. A larger one means a broken file.
MAX_DIMENSIONS = 3


class ModelBin(NamedTuple):
    """The content of a file.

    Arguments
    ---------
    arrays : dict of str to numpy.ndarray
        Name -> array, read-only.
    aliases : dict of str to str
        Further name -> name of the array that it stands for.
    """

    arrays: dict[str, np.ndarray]
    aliases: dict[str, str]


class _Cursor:
    """A reader of bytes from front to end, which raises ValueError where they end early."""

    def __init__(self, content: bytes, name: str):
        self.content, self.name, self.place = content, name, 0

    def take(self, size: int) -> memoryview:
        left = len(self.content) - self.place
        if size > left:
            raise ValueError(
                f"{self.name}: truncated or broken: {size:,} bytes are to follow byte "
                f"{self.place:,}, and there are {left:,}; fetch the file again"
            )
        self.place += size
        return memoryview(self.content)[self.place - size : self.place]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self) -> str:
        text = bytes(self.take(self.number(2)))
        if not text.endswith(b"\0") or not text[:-1].isascii() or b"\0" in text[:-1]:
            raise self.broken(f"the text before byte {self.place:,} is no text: {text[:40]!r}")
        return text[:-1].decode("ascii")

    def broken(self, what: str) -> ValueError:
        return ValueError(f"{self.name}: {what}; it is broken, or no model.bin of CTranslate2")


def read_model_bin(content: bytes, name: str) -> ModelBin:
    """Reads the arrays of a Whisper that CTranslate2 wrote, without copying them.

    Arguments
    ---------
    content : bytes
        The bytes of the file.
    name : str
        Name of the file, for errors.

    Returns
    -------
    ModelBin
        Arrays that are views of `content`.

    Raises
    ------
    ValueError
        If the file is of another version or specification, is truncated, has bytes after its end,
        or an array's shape and dtype do not fit its bytes; the message names the file.

    Example
    -------
    >>> read_model_bin(b"\\5\\0\\0\\0", "model.bin")
    Traceback (most recent call last):
    ...
    ValueError: model.bin: is of version 5 of CTranslate2's form; version 6 is read
    """
    cursor = _Cursor(content, name)
    version, specification, revision = FORM
    if (found := cursor.number(4)) != version:
        raise ValueError(
            f"{name}: is of version {found} of CTranslate2's form; version {version} is read"
        )
    if (model := (cursor.text(), cursor.number(4))) != (specification, revision):
        raise ValueError(
            f"{name}: holds a {model[0]}, revision {model[1]}; a {specification}, revision "
            f"{revision}, is read"
        )
    arrays: dict[str, np.ndarray] = {}
    for _ in tqdm(range(cursor.number(4)), "reading model.bin", unit="array"):
        key, array = _read_array(cursor)
        if key in arrays:
            raise cursor.broken(f"{key} comes twice")
        arrays[key] = array
    aliases: dict[str, str] = {}
    for _ in range(cursor.number(4)):
        alias, key = cursor.text(), cursor.text()
        if key not in arrays or alias in arrays or alias in aliases:
            raise cursor.broken(f"the alias {alias} of {key} has no array, or occurs twice")
        aliases[alias] = key
    if left := len(content) - cursor.place:
        raise cursor.broken(f"{left:,} bytes follow its end")
    return ModelBin(arrays, aliases)


def _read_array(cursor: _Cursor) -> tuple[str, np.ndarray]:
    key = cursor.text()
    if (dimensions := cursor.number(1)) > MAX_DIMENSIONS:
        raise cursor.broken(f"{key} has {dimensions} dimensions")
    shape = tuple(cursor.number(4) for _ in range(dimensions))
    number, size = cursor.number(1), cursor.number(4)
    dtype = DTYPES.get(number)
    if dtype is None:
        raise cursor.broken(f"{key} is of the unknown dtype {number}")
    if not size or math.prod(shape) * dtype.itemsize != size:
        raise cursor.broken(f"{key} has {size:,} bytes, which are no {shape} of {dtype}")
    return key, np.frombuffer(cursor.take(size), dtype).reshape(shape)
