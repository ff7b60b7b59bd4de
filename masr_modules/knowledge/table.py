"""A source for a user's own table of similarities."""

import zipfile
from pathlib import Path

import numpy as np

from masr_modules.data.csv_text import strict_rows, text_lines
from masr_modules.data.labels import clean_label
from masr_modules.data.metadata import Metadata
from masr_modules.knowledge.base import LabelSource

# Numbers that differ by less are equal: tables are often rounded.
_TOLERANCE = 1e-6


class TableSource(LabelSource):
    """Similarity of labels by a table from a file.

    The file holds L labels and their L x L similarities: numbers in [0, 1], symmetric, and 1 for a
    label and itself. An empty cell or NaN means that a similarity is not known.
    A CSV has the labels in its first row and, in the same order, in its first column. An NPZ
    has the arrays ``labels`` (L,) of strings and ``similarity`` (L, L).

    Arguments
    ---------
    column : str
        The CSV column whose labels are compared.
    path : str or Path
        The table, a ``.csv`` or ``.npz``.
    weight : float
        Weight of the source against the others, at least 0.
    on_unknown : str
        What to do with a label that the table lacks: "error" raises an error, "missing" leaves its
        pairs out.
    metadata : Metadata
        Metadata of the corpus, whose labels are compared.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    KeyError
        If the metadata lack the column.
    ValueError
        If the file holds no such table (the message names file, row and column), there is no
        metadata, or a label is not in the table and ``on_unknown`` is "error".

    Example
    -------
    >>> import torch
    >>> path = getfixture("tmp_path") / "accents.csv"
    >>> _ = path.write_text(",scottish,irish,cockney\\n"
    ...     "scottish,1,0.7,0.3\\nirish,0.7,1,\\ncockney,0.3,,1\\n")
    >>> metadata = Metadata.from_columns({"accent": ["cockney", "irish", "scottish"]})
    >>> accent = TableSource("accent", path, metadata=metadata)
    >>> accent.pairs(torch.tensor([1]), torch.tensor([0, 1, 2]))
    (tensor([[0.0000, 1.0000, 0.7000]]), tensor([[False,  True,  True]]))
    """

    def __init__(
        self,
        column: str,
        path: str | Path,
        weight: float = 1.0,
        on_unknown: str = "error",
        metadata: Metadata | None = None,
    ):
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.named(column)}: {self.path}: no such file")
        try:
            labels, self._values = _read(self.path)
            _check(labels, self._values)
        except ValueError as problem:
            raise ValueError(f"{self.named(column)}: {self.path}: {problem}") from None
        self._row_of = {label: row for row, label in enumerate(labels)}
        super().__init__(column, weight, on_unknown, metadata)

    def similarities(self, vocabulary: list[str]) -> np.ndarray:
        """Looks the labels up; see :meth:`LabelSource.similarities`."""
        found = self._find(vocabulary, self._row)
        rows = list(found.values())
        return self._among(vocabulary, found, self._values[np.ix_(rows, rows)])

    def _row(self, label: str) -> int:
        if label not in self._row_of:
            raise ValueError(f"{self.path} has no such label; add its row and column")
        return self._row_of[label]


def _read(path: Path) -> tuple[list[str], np.ndarray]:
    readers = {".csv": _read_csv, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise ValueError("a table is a .csv or an .npz: save it as one of these")
    return readers[path.suffix.lower()](path)


def _read_csv(path: Path) -> tuple[list[str], np.ndarray]:
    rows = strict_rows(text_lines(path), path.name)
    lines = [(line, row) for line, row in rows if any(cell.strip() for cell in row)]
    if not lines:
        raise ValueError("the file is empty; its first row and first column hold the labels")
    labels = [clean_label(cell) for cell in lines[0][1][1:]]
    table = np.full((len(lines) - 1, len(labels)), np.nan)
    for i, (line, row) in enumerate(lines[1:]):
        name = clean_label(row[0])
        if name != (labels[i] if i < len(labels) else None):
            expected = repr(labels[i]) if i < len(labels) else "nothing"
            raise ValueError(
                f"line {line}: row {name!r} stands where the header has {expected}; rows and "
                "columns hold the same labels in the same order"
            )
        if len(row) != len(labels) + 1:
            raise ValueError(
                f"line {line}: row {name!r} has {len(row) - 1} of {len(labels)} cells beside its "
                "label"
            )
        for j, cell in enumerate(row[1:]):
            try:
                table[i, j] = float(cell) if cell.strip() else np.nan
            except ValueError:
                raise ValueError(
                    f"line {line}: row {name!r}, column {labels[j]!r}: {cell!r} is not a number; "
                    "leave the cell empty if the similarity is not known"
                ) from None
    return labels, table


def _read_npz(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = {"labels", "similarity"} - set(archive.files)
            if missing:
                raise ValueError(f"the file has no array {', '.join(sorted(missing))}")
            labels, table = archive["labels"], archive["similarity"]
    except (OSError, EOFError, zipfile.BadZipFile) as problem:
        raise ValueError(f"not a readable NPZ ({problem})") from None
    if labels.ndim != 1 or labels.dtype.kind != "U":
        raise ValueError(f"labels must be strings of shape (L,), not {labels.dtype} {labels.shape}")
    if table.dtype.kind not in "fiub":
        raise ValueError(f"similarity must hold numbers, not {table.dtype}")
    return [clean_label(str(label)) for label in labels], table.astype(np.float64)


def _check(labels: list[str], table: np.ndarray) -> None:
    """Raises a ValueError that names the row and the column of the first fault."""
    if not labels:
        raise ValueError("the table has no labels")
    if table.shape != (len(labels),) * 2:
        raise ValueError(f"{len(labels)} labels need a square table, not {table.shape}")
    for place, label in enumerate(labels):
        if not label:
            raise ValueError(f"label {place + 1} is empty")
        if label in labels[:place]:
            raise ValueError(f"label {label!r} comes twice")
    wrong = {
        "{} is not in [0, 1]": (table < 0) | (table > 1),
        "{} is not 1, which a label's similarity to itself is": np.eye(len(labels), dtype=bool)
        & (np.abs(table - 1.0) > _TOLERANCE),
        "{} differs from {} the other way round": ~np.isclose(
            table, table.T, rtol=0.0, atol=_TOLERANCE, equal_nan=True
        ),
    }
    for message, cells in wrong.items():
        if cells.any():
            i, j = np.argwhere(cells)[0]
            raise ValueError(
                f"row {labels[i]!r}, column {labels[j]!r}: "
                + message.format(*(f"{value:g}" for value in (table[i, j], table[j, i])))
            )
