"""Strict reading of a CSV's text: whatever is ambiguous is an error that names its line."""

import codecs
import csv
import io
import itertools
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv as pa_csv

from masr_modules.data.labels import clean_label

#: Bytes that are scanned at once.
_CHUNK = 1 << 24

_QUOTE, _NEWLINE = ord('"'), ord("\n")
#: Characters beside a quotation mark that opens or closes a cell, or is doubled.
_OUTSIDE = np.array([ord(c) for c in ',\r\n"'], np.uint8)

_UTF8 = "save it as UTF-8 (in a spreadsheet: CSV UTF-8; else: iconv -f {} -t UTF-8)"

_QUOTE_WELL = (
    "Enclose a cell that holds a quotation mark in quotes and write the mark twice "
    '("""Yes"" he said"), as csv and pandas do, and put no line breaks into cells'
)

#: Byte order marks of other encodings than UTF-8.
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def refuse_encoding(start: bytes, where: str) -> None:
    """Refuses text in UTF-16 or UTF-32.

    Arguments
    ---------
    start : bytes
        The beginning of the text, of four bytes or more.
    where : str
        The file, for errors.

    Raises
    ------
    ValueError
        If the text has such an encoding. The message names it, and says how to change it.
    """
    for mark, name in _MARKS.items():
        if start.startswith(mark):
            raise ValueError(f"{where}: is {name}: {_UTF8.format(name)}")
    if start.count(b"\0") > len(start) / 4:
        raise ValueError(f"{where}: is not text, or is UTF-16: {_UTF8.format('UTF-16')}")


def text_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yields the number and the text of each line, with its end.

    Arguments
    ---------
    path : str or Path
        A text file.

    Yields
    ------
    (int, str)
        Number, from 1 on, and text.

    Raises
    ------
    ValueError
        If it is not a regular file, not UTF-8, or holds a null byte. The message names file, line
        and remedy.

    Example
    -------
    >>> path = getfixture("tmp_path") / "t.csv"
    >>> _ = path.write_bytes(b"\\xef\\xbb\\xbfa\\r\\nb")
    >>> list(text_lines(path))
    [(1, 'a\\r\\n'), (2, 'b')]
    """
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise not_utf8(f"{path}, line {number}") from error
            if "\0" in text:
                raise ValueError(
                    f"{path}, line {number}: holds a null byte: the file is damaged, write it again"
                )
            yield number, text


def open_text(path: str | Path) -> io.BufferedReader:
    """Opens a text file for reading its bytes, which should be UTF-8.

    Raises
    ------
    ValueError
        If it is not a regular file, or UTF-16 or UTF-32.
    """
    file = open_regular(path)
    try:
        refuse_encoding(file.peek(4), str(path))
    except ValueError:
        file.close()
        raise
    return file


def open_regular(path: str | Path) -> io.BufferedReader:
    """Opens a file for reading.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a regular file: opening a pipe would wait for a writer.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path}: is a pipe, device or folder; give the path of a regular file")
    return open(path, "rb")


def not_utf8(where: str) -> ValueError:
    """Returns the error for a line that cannot be decoded."""
    return ValueError(f"{where}: is not UTF-8, but perhaps Latin-1: {_UTF8.format('LATIN1')}")


def clean_header(cells: Sequence[str], where: str) -> list[str]:
    """Returns the names of the columns from the first row of a CSV.

    Arguments
    ---------
    cells : sequence of str
        Cells of the first row.
    where : str
        The file, for errors.

    Returns
    -------
    list of str
        Names without blanks around them.

    Raises
    ------
    ValueError
        If a column occurs twice, or another delimiter stands between the columns.

    Example
    -------
    >>> clean_header(["ID", " wav"], "a.csv")
    ['ID', 'wav']
    """
    names = [clean_label(cell) for cell in cells]
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(cells) == 1 and mark in cells[0]:
            raise ValueError(
                f"{where}: {name} stand between the columns ({cells[0][:60]!r}); save it with "
                "commas (or as .tsv with tabs), and with a point in numbers"
            )
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise ValueError(f"{where}: column {twice[0]!r} comes twice; rename or remove one")
    return names


def strict_rows(
    lines: Iterable[tuple[int, str]], where: str, delimiter: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """Reads rows whose cells may be in quotes, by RFC 4180; blanks may surround the quotes.

    Arguments
    ---------
    lines : iterable of (int, str)
        Number and text of each line, with its end.
    where : str
        The file, for errors.
    delimiter : str
        Character between cells.

    Yields
    ------
    (int, list of str)
        Number of the line on which the row begins, and its cells.

    Raises
    ------
    ValueError
        If a quotation mark is not closed or is closed within a cell, a carriage return stands in a
        cell, or a cell holds lines that look like rows. The message names the line on which the
        row begins.

    Example
    -------
    >>> list(strict_rows([(1, 'a, "b\\n'), (2, 'c" \\n')], "t.csv"))
    [(1, ['a', 'b\\nc'])]
    """
    numbers: list[int] = []
    texts = _without_blanks(lines, numbers, delimiter)
    reader = csv.reader(texts, delimiter=delimiter, strict=True)
    while True:
        problem = ""
        numbers.clear()
        remedy = _QUOTE_WELL
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"a quotation mark opens there and is not closed at a cell's end ({error})"
            if "new-line character" in str(error):
                problem, remedy = "a carriage return stands in a cell", "End lines with LF or CRLF"
        else:
            if _holds_rows(cells, delimiter):
                problem = (
                    f"a quotation mark opens there and closes on line {numbers[-1]}, and what is "
                    "between looks like rows"
                )
        if problem:
            raise ValueError(f"{where}, line {numbers[0]}: {problem}. {remedy}")
        yield numbers[0], cells


def _without_blanks(
    lines: Iterable[tuple[int, str]], numbers: list[int], delimiter: str
) -> Iterator[str]:
    """Removes blanks between quotes and delimiters; appends each line's number to `numbers`."""
    blanks = re.compile(rf'(?<=")[ \t]+(?=[{delimiter}\r\n]|$)|(?:^|(?<=[{delimiter}]))[ \t]+(?=")')
    quotes = 0  # in the row so far; after an even number, the text is outside of quotes
    for number, line in lines:
        quotes *= bool(numbers)
        numbers.append(number)
        if '"' in line:
            text, end = "", 0
            for match in blanks.finditer(line):
                if (quotes + line.count('"', 0, match.start())) % 2 == 0:
                    text, end = text + line[end : match.start()], match.end()
            quotes += line.count('"')
            line = text + line[end:]
        yield line


def _holds_rows(cells: Sequence[str], delimiter: str) -> bool:
    """Returns whether a cell holds whole rows; prose, unlike rows, has blanks after its commas."""
    for place, cell in enumerate(cells):
        if "\n" not in cell:
            continue
        spaced = any(before[:1].isspace() for before in cells[1:place])
        *inner, last = cell.split("\n")[1:]
        for line, width in [*((line, len(cells)) for line in inner), (last, place + 1)]:
            parts = line.split(delimiter)
            if len(parts) == width > 1 and (
                spaced or not all(part[:1].isspace() for part in parts[1:])
            ):
                return True
    return False


def read_columns(path: Path) -> pa.Table:
    """Reads a CSV; all columns are text.

    Arguments
    ---------
    path : Path
        The CSV. A column without a name is left out.

    Returns
    -------
    pyarrow.Table
        Cells as they are in the file; names without blanks around them.

    Raises
    ------
    ValueError
        If it is not UTF-8, has another delimiter, a column occurs twice, a quotation mark is not
        closed, or a row has another number of cells than the header. The message names the file
        and, for faults of a row, its line.
    """
    header = next(strict_rows(text_lines(path), str(path)), (1, []))[1]
    names = clean_header(header, str(path))
    if not names:
        return pa.table({})
    plain, lines = _scan(path)
    table = _read_plain(path, header) if plain else None
    if table is None or lines != len(table) + 1:
        table = _read_slowly(path, len(names))
    named = [place for place, name in enumerate(names) if name]
    return table.select(named).rename_columns([names[place] for place in named])


def _read_plain(path: Path, header: list[str]) -> pa.Table | None:
    """Reads the CSV at once; returns None if it has faults, which `_read_slowly` names."""
    options = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
    )
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    try:
        return pa_csv.read_csv(path, parse_options=parse, convert_options=options)
    except pa.ArrowInvalid:
        return None


def _read_slowly(path: Path, width: int) -> pa.Table:
    """Reads row by row with all checks, for files with faults or with quotes or breaks in cells."""
    rows = strict_rows(text_lines(path), str(path))
    next(rows)
    tables, schema = [], pa.schema([(str(place), pa.string()) for place in range(width)])
    while some := list(itertools.islice(rows, 1 << 14)):
        for line, cells in some:
            if len(cells) != width and any(map(str.strip, cells)):
                raise ValueError(
                    f"{path}, line {line}: the row's number of cells ({len(cells)}) differs from "
                    f"the header's ({width}); enclose a cell that holds a comma in quotes"
                )
        columns = zip(*(cells for _, cells in some if len(cells) == width), strict=True)
        tables.append(pa.table([pa.array(c, pa.string()) for c in columns], schema=schema))
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _scan(path: Path) -> tuple[bool, int]:
    """Returns whether a fast reader can read the file, and the number of its lines.

    It can if every quotation mark opens or closes a cell or is doubled, and no byte is null.
    """
    plain, lines, quotes, before = True, 0, 0, _NEWLINE
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            plain = plain and b"\0" not in chunk
            lines += chunk.count(b"\n")
            after = file.read(1)  # a quotation mark may be the last of the chunk
            file.seek(-len(after), 1)
            if plain and b'"' in chunk:
                text = np.frombuffer(bytes([before]) + chunk + (after or b"\n"), np.uint8)
                places = np.flatnonzero(text[1:-1] == _QUOTE) + 1
                first = quotes % 2  # if it is 1, the chunk begins within quotes
                opening, closing = places[first::2], places[1 - first :: 2]
                plain = bool(
                    np.isin(text[np.concatenate([opening - 1, closing + 1])], _OUTSIDE).all()
                )
                quotes += len(places)
            before = chunk[-1]
    return plain and quotes % 2 == 0, lines + (before != _NEWLINE)
