"""Text tables as real corpora hold them: BOM, CRLF, empty and malformed lines."""

import csv
from collections.abc import Iterator, Sequence

from data_prep.common.skips import SkipRegister


def read_table(
    path: str,
    skips: SkipRegister,
    delimiter: str = "\t",
    columns: Sequence[str] | None = None,
    quoted: bool = False,
    required: Sequence[str] = (),
) -> Iterator[tuple[str, dict[str, str]]]:
    """Reads a table row by row.

    A BOM, CRLF and blanks around a cell do no harm. An empty line is passed over.
    A line that is not UTF-8 or has another number of cells than the header is left
    out and counted.

    Arguments
    ---------
    path : str
        The table.
    skips : SkipRegister
        Where malformed lines are counted.
    delimiter : str
        Between cells.
    columns : sequence of str, optional
        Names of the columns where the file has no header.
    quoted : bool
        Whether quotes enclose cells (CSV). If False, quotes are text.
    required : sequence of str
        Columns that the header must have.

    Yields
    ------
    (str, dict of str to str)
        Where the row stands (`path, line N`), and column -> cell.

    Raises
    ------
    ValueError
        If the header lacks a required column.
    FileNotFoundError
        If there is no such file.

    Example
    -------
    >>> path = getfixture("tmp_path") / "t.tsv"
    >>> _ = path.write_bytes(b'\\xef\\xbb\\xbfid\\ttext\\r\\n\\r\\n1\\tso "quoted\\r\\n2\\r\\n')
    >>> skips = SkipRegister()
    >>> [row for _, row in read_table(str(path), skips)]
    [{'id': '1', 'text': 'so "quoted'}]
    >>> print(skips.report()[:44])
    left out 1 of 1: malformed line in the table
    """
    names = list(columns) if columns else None
    for where, cells in _read_cells(path, skips, delimiter, quoted):
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if names is None:
            names = cells
            missing = [name for name in required if name not in names]
            if missing:
                raise ValueError(
                    f"{where}: no column {', '.join(missing)} (found: {', '.join(names)})"
                )
        elif len(cells) != len(names):
            case = f"{where}: {len(cells)} cells, expected {len(names)}"
            skips.skip("malformed line in the table", case)
        else:
            yield where, dict(zip(names, cells, strict=True))


def _read_cells(
    path: str, skips: SkipRegister, delimiter: str, quoted: bool
) -> Iterator[tuple[str, list[str]]]:
    lines = _Lines(path, skips)
    with lines.file:
        if quoted:
            for cells in csv.reader(lines, delimiter=delimiter):
                yield lines.where, cells
        else:
            for line in lines:
                yield lines.where, line.split(delimiter)


class _Lines:
    """The file's decoded lines, and the place of the last one."""

    def __init__(self, path: str, skips: SkipRegister):
        self.path, self.skips, self.number = path, skips, 0
        self.file = open(path, "rb")  # noqa: SIM115 closed by the reader

    @property
    def where(self) -> str:
        return f"{self.path}, line {self.number}"

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(self.file, start=1):
            self.number = number
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                self.skips.skip("line is not UTF-8", f"{self.where}: {error.reason}")
                continue
            yield text.rstrip("\r\n") if not text.endswith("\r\n") else text[:-2]
