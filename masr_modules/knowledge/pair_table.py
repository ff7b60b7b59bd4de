"""Fast look-up of many pairs of labels in a table of similarities, on any device."""

from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor


class PairTable:
    """A table of similarities laid out for looking up many pairs fast.

    Copying whole rows is several times faster than gathering single numbers, so a look-up copies
    whole rows and columns one after the other. The validity has few different rows, mostly two
    (label known or not), and each is held once.

    Arguments
    ---------
    values : torch.Tensor
        (L + 1, L + 1) float32, 0 where not known; the last row and column are those of a
        missing label.
    patterns : torch.Tensor
        (U, L + 1) bool, the different rows of the validity.
    pattern_of : torch.Tensor
        (L + 1,) int64, the index of each label's row in ``patterns``.

    Example
    -------
    >>> table = PairTable.of(np.array([[1.0, 0.5], [0.5, np.nan]]))
    >>> similarity, valid = table.look_up(torch.tensor([0, 1, -1]), torch.tensor([0, 1]))
    >>> similarity.tolist(), valid.tolist()
    ([[1.0, 0.5], [0.5, 0.0], [0.0, 0.0]], [[True, True], [True, False], [False, False]])
    """

    def __init__(self, values: Tensor, patterns: Tensor, pattern_of: Tensor):
        self.values, self.patterns, self.pattern_of = values, patterns, pattern_of

    @classmethod
    def of(cls, similarities: np.ndarray) -> "PairTable":
        """Makes the table from (L, L) similarities of the labels, NaN where not known."""
        table = np.pad(similarities.astype(np.float32), (0, 1), constant_values=np.nan)
        known = ~np.isnan(table)
        first: dict[bytes, int] = {}  # a row of the validity -> where it first occurs
        pattern_of = [first.setdefault(row.tobytes(), len(first)) for row in known]
        patterns = np.stack([np.frombuffer(row, dtype=bool) for row in first])
        arrays = (np.where(known, table, np.float32(0)), patterns, np.array(pattern_of))
        return cls(*(torch.from_numpy(array) for array in arrays))

    def to(self, device: torch.device) -> "PairTable":
        """Copies the table to a device."""
        return PairTable(*(t.to(device) for t in (self.values, self.patterns, self.pattern_of)))

    def look_up(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the (B, C) similarity and validity of (B,) and (C,) codes, -1 where missing."""
        size = len(self.values)
        rows, columns = rows.remainder(size), columns.remainder(size)  # -1 is the last
        if size <= len(rows):
            similarity = self.values.index_select(1, columns).index_select(0, rows)
        else:
            similarity = self.values.index_select(0, rows).index_select(1, columns)
        valid = self.patterns.index_select(1, columns)
        return similarity, valid.index_select(0, self.pattern_of.index_select(0, rows))


Held = TypeVar("Held", Tensor, PairTable)


class OnEachDevice(Generic[Held]):
    """Copies of a tensor or table on several devices, each made at its first use and kept.

    Arguments
    ---------
    original : torch.Tensor or PairTable
        The original, on the CPU.

    Example
    -------
    >>> OnEachDevice(torch.tensor([3]))[torch.device("cpu")]
    tensor([3])
    """

    def __init__(self, original: Held):
        self._original: Held = original
        self._copies: dict[torch.device, Held] = {torch.device("cpu"): original}

    def __getitem__(self, device: torch.device) -> Held:
        if device not in self._copies:
            self._copies[device] = self._original.to(device)
        return self._copies[device]
