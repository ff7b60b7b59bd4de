"""Checks of the rows that a preparation writes: unique IDs, and values in one split alone."""

from array import array
from collections.abc import Callable, Iterable, Mapping

import numpy as np

#: Cells without a value.
EMPTY = frozenset({None, ""})


class Disjoint:
    """A check that no value of some columns occurs in two splits.

    It keeps 8 bytes per row, because a corpus may have millions of rows.
    """

    def __init__(self, columns: tuple[str, ...]):
        self.columns = columns
        self.hashes: dict[str, array] = {}

    def see(self, split: str, rows: Iterable[Mapping[str, object]]) -> None:
        values = (tuple(map(row.get, self.columns)) for row in rows)
        known = (hash(value) for value in values if EMPTY.isdisjoint(value))
        self.hashes.setdefault(split, array("q")).extend(known)

    def shared(self) -> dict[int, str]:
        """Maps the hash of each value that several splits have to the first of these splits."""
        seen, found = {}, {}
        for split, hashes in self.hashes.items():
            unique = np.unique(np.frombuffer(hashes, np.int64)) if hashes else np.empty(0, np.int64)
            for first, earlier in seen.items():
                for value in np.intersect1d(unique, earlier, assume_unique=True).tolist():
                    found.setdefault(value, first)
            seen[split] = unique
        return found

    def check(self, rows_of: Callable[[str], Iterable[Mapping[str, object]]]) -> None:
        """Raises AssertionError for the first shared value; `rows_of` rereads a split's rows."""
        shared = self.shared()
        for split in self.hashes if shared else ():
            for row in rows_of(split):
                value = tuple(map(row.get, self.columns))
                first = shared.get(hash(value))
                if first not in (None, split):
                    what = ", ".join(f"{c} {v!r}" for c, v in zip(self.columns, value, strict=True))
                    raise AssertionError(f"{what} is in both {first} and {split}")
        if shared:
            raise AssertionError(f"{len(shared)} values of {self.columns} are in two splits")


class UniqueIDs:
    """A check that every ID is unique. It keeps 8 bytes per ID, of which there may be millions."""

    def __init__(self):
        self.hashes = array("q")

    def see(self, rows: Iterable[Mapping[str, object]]) -> None:
        self.hashes.extend(hash(row["ID"]) for row in rows)

    def check(self, files: Mapping[str, Callable[[], Iterable[Mapping[str, object]]]]) -> None:
        """Raises ValueError for the first repeated ID; `files` reads each path's rows again."""
        ordered = np.sort(np.frombuffer(self.hashes, np.int64))
        repeated = set(ordered[1:][np.diff(ordered) == 0].tolist())
        seen = set()
        for path, rows in files.items() if repeated else ():
            for number, row in enumerate(rows(), start=2):
                if row["ID"] in seen:
                    raise ValueError(f"{path}, row {number}: ID {row['ID']!r} comes twice")
                if hash(row["ID"]) in repeated:
                    seen.add(row["ID"])


def check_disjoint(
    splits: Mapping[str, Iterable[Mapping[str, object]]], columns: tuple[str, ...]
) -> None:
    """Checks that no value of some columns is in two splits.

    Arguments
    ---------
    splits : mapping of str to iterable of mapping
        Name of each split -> its rows.
    columns : tuple of str
        Columns whose cells form one value together, such as ``("language", "text")``. A row
        in which one of the cells is empty is not compared.

    Raises
    ------
    AssertionError
        If a value is in two splits; the message names both and the value.

    Example
    -------
    >>> check_disjoint({"train": [{"speaker": "a"}], "test": [{"speaker": "b"}]}, ("speaker",))
    """
    splits = {split: list(rows) for split, rows in splits.items()}
    disjoint = Disjoint(columns)
    for split, rows in splits.items():
        disjoint.see(split, rows)
    disjoint.check(splits.get)
