"""Text tables as corpora have them, with BOM, CRLF, empty lines and malformed lines."""

from collections.abc import Collection, Iterator, Sequence

from data_prep.common.skips import SkipRegister
from masr_modules.data.csv_text import clean_header, not_utf8, open_text, strict_rows
from masr_modules.data.labels import NOT_KNOWN, trim_cell

#: Reason for leaving out a line that cannot be decoded; Latin-1 is the usual cause.
NOT_UTF8 = "line is not UTF-8 (save the table as UTF-8; it may be Latin-1)"


def read_table(
    path: str,
    skips: SkipRegister,
    delimiter: str = "\t",
    columns: Sequence[str] | None = None,
    quoted: bool = False,
    required: Sequence[str] = (),
) -> Iterator[tuple[str, dict[str, str]]]:
    """Reads a table row by row.

    A BOM, CRLF, blanks around a cell and line breaks in a quoted one do no harm. Empty lines are
    ignored. A line that is not UTF-8, holds a null byte or has another number of cells than the
    header is left out and counted.

    Arguments
    ---------
    path : str
        The table.
    skips : SkipRegister
        Counts malformed lines.
    delimiter : str
        Separator of the cells.
    columns : sequence of str, optional
        Names of the columns where the file has no header.
    quoted : bool
        Whether quotes enclose cells (CSV). If False, quotes are text.
    required : sequence of str
        Columns that the header must have.

    Yields
    ------
    (str, dict of str to str)
        Place of the row (`path, line N`), and column -> cell.

    Raises
    ------
    ValueError
        If the header lacks a required column or has a column twice, the first line is not UTF-8
        (as in UTF-16), a quotation mark is not closed (see `strict_rows`), or the file is a pipe
        or device.
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
    for number, cells in _read_cells(path, skips, delimiter, quoted):
        where = f"{path}, line {number}"
        cells = [trim_cell(cell) for cell in cells]
        if not any(cells):
            continue
        if names is None:
            names = clean_header(cells, path)
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
) -> Iterator[tuple[int, list[str]]]:
    lines = _lines(path, skips)
    if quoted:
        return strict_rows(lines, path, delimiter)
    return ((number, line.rstrip("\r\n").split(delimiter)) for number, line in lines)


def _lines(path: str, skips: SkipRegister) -> Iterator[tuple[int, str]]:
    """Yields number and text of each line that can be decoded; the first line has to be UTF-8."""
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                if number == 1:
                    raise not_utf8(where) from error
                skips.skip(NOT_UTF8, f"{where}: {error.reason}")
                continue
            if "\0" in text:
                skips.skip("line holds a null byte", where)
                continue
            yield number, text


def known(
    column: str,
    cell: str,
    where: str,
    skips: SkipRegister,
    words: Collection[str] = NOT_KNOWN,
) -> str:
    """Returns a cell, or "" where the cell is a word for "not known", which is noted.

    Arguments
    ---------
    column : str
        Column of the cell.
    cell : str
        Content of the cell.
    where : str
        Place of the row, for the note.
    skips : SkipRegister
        Notes the word, and how often it occurs.
    words : collection of str
        Words for "not known".

    Returns
    -------
    str
        The cell, or "".

    Example
    -------
    >>> skips = SkipRegister()
    >>> known("accent", "N/A", "t.tsv, line 2", skips), known("accent", "Bern", "line 3", skips)
    ('', 'Bern')
    >>> print(skips.report())
    noted 1: accent 'N/A' means not known, left empty (t.tsv, line 2)
    """
    if cell not in words:
        return cell
    skips.note(f"{column} {cell!r} means not known, left empty", where)
    return ""
