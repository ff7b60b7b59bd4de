"""CTranslate2's file of a model, `model.bin`: arrays by name, one after the other.

Little-endian throughout. A text is its length (2 bytes) and its bytes, the last of which is 0.

    version (4), specification (text), revision of the specification (4)
    number of arrays (4); of each: name (text), number of dimensions (1), each dimension (4),
        number of its dtype (1), number of its bytes (4), its bytes
    number of aliases (4); of each: alias (text), name of the array that it stands for (text)
"""

import math
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

#: The form that is read: version of the file, specification and its revision.
FORM = (6, "WhisperSpec", 3)
#: Number in the file -> dtype.
DTYPES = dict(enumerate(np.dtype(kind) for kind in ("<f4", "i1", "<i2", "<i4", "<f2")))

#: A convolution's weight has most; NumPy could not hold 64.
MAX_DIMENSIONS = 3


class ModelBin(NamedTuple):
    """What the file holds.

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
    """Bytes read from the front; never beyond their end."""

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
            raise self.broken(f"the text before byte {self.place:,} is none: {text[:40]!r}")
        return text[:-1].decode("ascii")

    def broken(self, what: str) -> ValueError:
        return ValueError(f"{self.name}: {what}; it is broken, or no model.bin of CTranslate2")


def read_model_bin(content: bytes, name: str) -> ModelBin:
    """Reads the arrays of a Whisper that CTranslate2 wrote; takes no more memory than the file.

    Arguments
    ---------
    content : bytes
        The file.
    name : str
        Of the file, for errors.

    Returns
    -------
    ModelBin
        Views of `content`, nothing is copied.

    Raises
    ------
    ValueError
        If the file is of another version or specification, truncated, goes on after its end, or
        says of an array what does not fit its bytes: names the file.

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
            raise cursor.broken(f"the alias {alias} of {key} has no array, or comes twice")
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
