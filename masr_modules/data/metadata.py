"""Metadata columns of a CSV as tensors, in which missing values stay missing."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from masr_modules.data.id_index import IdIndex
from masr_modules.data.schema import NUMERIC_COLUMNS

#: The code of a missing label.
MISSING = -1


@dataclass
class Metadata:
    """The metadata of B utterances, as tensors.

    Arguments
    ---------
    columns : dict[str, torch.Tensor]
        Column -> (B,). Label columns hold int64 codes into the column's
        vocabulary, -1 where missing; numeric columns hold float32, NaN where
        missing.
    vocabularies : dict[str, list[str]]
        Label column -> its labels.
    ids : torch.Tensor, optional
        (B,) int64, a number for each utterance: two entries with the same number
        are the same recording and never a pair.

    Example
    -------
    >>> metadata = Metadata.from_columns({"language": ["fra", "", "deu"], "age": ["31", "", "7"]})
    >>> metadata["language"].tolist(), metadata["age"].tolist()
    ([1, -1, 0], [31.0, nan, 7.0])
    """

    columns: dict[str, Tensor]
    vocabularies: dict[str, list[str]] = field(default_factory=dict)
    ids: Tensor | None = None

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, Sequence[str]],
        vocabularies: Mapping[str, list[str]] | None = None,
        numeric: Iterable[str] = (),
        utterances: Iterable[str] | None = None,
    ) -> "Metadata":
        """Encodes columns of cells; an empty cell is missing.

        Arguments
        ---------
        columns : mapping of str to sequence of str
            Column -> cells.
        vocabularies : mapping of str to list of str, optional
            Column -> labels, for columns whose codes must agree with other
            metadata; by default the sorted labels that occur.
        numeric : iterable of str
            Columns to read as numbers, beside NUMERIC_COLUMNS.
        utterances : iterable of str, optional
            IDs of the utterances, for errors.

        Raises
        ------
        ValueError
            If a numeric column holds anything but finite numbers, or a
            label is not in the given vocabulary. The message names column and cell.
        """
        tensors, labels = {}, {}
        numeric = {*NUMERIC_COLUMNS, *numeric}
        for name, cells in columns.items():
            if name in numeric:
                tensors[name] = _numbers(name, cells, utterances)
                continue
            tensors[name], labels[name] = _codes(name, cells, (vocabularies or {}).get(name))
        return cls(tensors, labels)

    def __getitem__(self, column: str) -> Tensor:
        if column not in self.columns:
            raise KeyError(
                f"no metadata column {column!r}; this metadata has {', '.join(self.columns)}"
            )
        return self.columns[column]

    def require(self, column: str, reads: str = "labels") -> Tensor:
        """Returns a column, and checks that it holds what the caller reads.

        Arguments
        ---------
        column : str
            The column.
        reads : str
            What the caller reads: "labels" or "numbers".

        Returns
        -------
        torch.Tensor
            (B,) values of the column.

        Raises
        ------
        KeyError
            If the column is not there.
        ValueError
            If the column holds numbers where labels are read, or the other way round.
        """
        values = self[column]
        holds = "labels" if column in self.vocabularies else "numbers"
        if holds != reads:
            raise ValueError(
                f"column {column!r} is read as {holds}, and {reads} are asked for: compare numbers "
                "with Numeric, labels with another source, or copy the column under another name"
            )
        return values

    def vocabulary(self, column: str) -> list[str]:
        """Returns the labels of a column, in the order of their codes; raises as `require` does."""
        self.require(column)
        return self.vocabularies[column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def device(self) -> torch.device:
        """The device that holds the columns."""
        return next(iter(self.columns.values())).device

    def select(self, index: Tensor | slice) -> "Metadata":
        """Returns the metadata of the utterances at (N,) indices, or of a slice."""
        ids = None if self.ids is None else self.ids[index]
        columns = {name: values[index] for name, values in self.columns.items()}
        return Metadata(columns, self.vocabularies, ids)

    def join(self, other: "Metadata") -> "Metadata":
        """Appends the other's utterances, in the columns that both have.

        Raises
        ------
        ValueError
            If one of the two has no ids, for an utterance might then be paired with itself.
        """
        if self.ids is None or other.ids is None:
            raise ValueError("only metadata with ids can be joined; MetadataTable gives them")
        columns = {
            name: torch.cat([values, other[name]])
            for name, values in self.columns.items()
            if name in other.columns
        }
        return Metadata(columns, self.vocabularies, torch.cat([self.ids, other.ids]))

    def to(self, device: torch.device | str) -> "Metadata":
        """Copies the metadata to a device without waiting for it."""
        ids = None if self.ids is None else self.ids.to(device, non_blocking=True)
        columns = {n: v.to(device, non_blocking=True) for n, v in self.columns.items()}
        return Metadata(columns, self.vocabularies, ids)


def _codes(
    column: str, cells: Sequence[str] | pa.ChunkedArray, vocabulary: list[str] | None
) -> tuple[Tensor, list[str]]:
    """Returns (B,) int64 codes, -1 where the cell is empty, and the labels.

    Only the labels become Python strings, not the cells.
    """
    if not isinstance(cells, pa.ChunkedArray):
        cells = pa.chunked_array([pa.array(cells, pa.string())])
    encoded = cells.dictionary_encode().combine_chunks()
    there = encoded.dictionary.to_pylist()
    labels = vocabulary or sorted(label for label in there if label)
    codes = {label: code for code, label in enumerate(labels)} | {"": MISSING}
    if unknown := sorted(label for label in there if label not in codes):
        raise ValueError(f"column {column!r}: {unknown[0]!r} is not in its vocabulary")
    code_of = np.array([codes[label] for label in there], np.int64)
    return torch.from_numpy(code_of[encoded.indices.to_numpy()]), labels


def _numbers(column: str, cells: Iterable, utterances: Iterable[str] | None) -> Tensor:
    """Returns (B,) float32, NaN where the cell is empty."""
    numbers = []
    for i, cell in enumerate(cells.to_pylist() if isinstance(cells, pa.ChunkedArray) else cells):
        try:
            number = float(cell) if cell else math.nan
        except ValueError:
            number = math.inf
        if cell and not abs(number) <= torch.finfo(torch.float32).max:
            whose = f" of utterance {list(utterances)[i]!r}" if utterances is not None else ""
            raise ValueError(
                f"column {column!r}: {cell!r}{whose} is not a finite number; leave the cell "
                "empty if the number is not known"
            )
        numbers.append(number)
    return torch.tensor(numbers, dtype=torch.float32)


def column_of(rows: Mapping[str, Mapping], name: str) -> list:
    """Returns the cells of a column, "" where a row has none.

    It makes no dict for a row of `masr_modules.data.corpus.Rows`.

    Example
    -------
    >>> column_of({"a": {"language": "fra"}, "b": {}}, "language")
    ['fra', '']
    """
    if hasattr(rows, "column"):
        return rows.column(name)
    return [row.get(name) or "" for row in rows.values()]


def _strings(rows: Mapping[str, Mapping], name: str) -> list[pa.Array]:
    """Returns the cells of a column, or the IDs, as Arrow arrays; those of `Rows` as they are."""
    table = getattr(rows, "table", None)
    if table is not None and name in table.column_names:
        return table[name].cast(pa.string()).chunks
    cells = list(rows) if name == "ID" else [str(cell) for cell in column_of(rows, name)]
    return [pa.array(cells, pa.string())]


def _names(rows: Mapping[str, Mapping]) -> set[str]:
    if hasattr(rows, "names"):
        return set(rows.names)
    return {name for row in rows.values() for name in row}


class MetadataTable(Metadata):
    """The metadata of whole corpora, in which the metadata of a batch are looked up.

    A column is encoded once, when a head, a source or a sampler first requires it, as the labels
    or the numbers that it reads. Columns that nothing reads cost nothing. Encoding takes O(N) per
    column, and a look-up O(log N) per utterance.

    Arguments
    ---------
    rows : mapping, or sequence of mappings
        ID -> row, for each split that will be looked up.

    Example
    -------
    >>> table = MetadataTable({"a": {"speaker": "x"}, "b": {"speaker": ""}})
    >>> table.vocabulary("speaker"), table(["b", "a"])["speaker"].tolist()
    (['x'], [-1, 0])
    """

    def __init__(self, rows: Mapping[str, Mapping] | Sequence[Mapping[str, Mapping]]):
        self.splits = [rows] if isinstance(rows, Mapping) else list(rows)
        self.names = {name for split in self.splits for name in _names(split)}
        ids = [chunk for split in self.splits for chunk in _strings(split, "ID")]
        self.index = IdIndex(pa.chunked_array(ids, pa.string()))  # finds the first of equal IDs
        super().__init__({}, {}, torch.arange(len(self.index)))

    def require(self, column: str, reads: str = "labels", optional: bool = False) -> Tensor:
        """Returns a column of all utterances, and encodes it at the first call.

        Arguments
        ---------
        column : str
            The column.
        reads : str
            What the caller reads: "labels" or "numbers".
        optional : bool
            Whether a column that the CSV lacks counts as one in which nothing is known.

        Returns
        -------
        torch.Tensor
            (N,) values of the column.

        Raises
        ------
        ValueError
            If no row has the column; the message names it and the columns that there are. If the
            column is read both as labels and as numbers. If a cell read as a number is none; the
            message names column, cell and utterance.
        """
        if column not in self.columns:
            if column not in self.names and not optional:
                near = difflib.get_close_matches(column, sorted(self.names), n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"metadata column {column!r}, named in the YAML, is not in the CSV; "
                    f"its columns are {', '.join(sorted(self.names))}{hint}"
                )
            numeric = reads == "numbers" or column in NUMERIC_COLUMNS
            self._encode(column, numeric)
        return super().require(column, reads)

    def _encode(self, column: str, numeric: bool) -> None:
        chunks = [chunk for split in self.splits for chunk in _strings(split, column)]
        cells = pa.chunked_array(chunks, pa.string())
        numbers = [column] if numeric else []
        part = Metadata.from_columns({column: cells}, None, numbers, self.index)
        self.columns |= part.columns
        self.vocabularies |= part.vocabularies
        pa.default_memory_pool().release_unused()  # the memory of dictionaries

    def __len__(self) -> int:
        return len(self.index)

    def __call__(self, ids: Sequence[str]) -> Metadata:
        """Returns the metadata of the utterances with these IDs, in the columns encoded so far.

        Raises
        ------
        KeyError
            If there is no such ID.
        """
        return self.select(torch.from_numpy(self.index.find(ids)))
