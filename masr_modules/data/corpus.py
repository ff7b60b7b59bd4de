"""The CSVs of a corpus: rows of what can be read."""

import csv
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile

from masr_modules.data.metadata import AUDIO_COLUMNS

logger = logging.getLogger(__name__)


def load_csv(path: str | Path, data_root: str | Path) -> dict[str, dict[str, str]]:
    """Reads a corpus CSV; substitutes `$data_root` in `wav` and nowhere else.

    SpeechBrain's loader substitutes `$name` in every column, so a "$100" in a
    transcript raises KeyError there.

    Arguments
    ---------
    path : str or Path
        The CSV, UTF-8, with at least the columns ID, duration and wav.
    data_root : str or Path
        What `$data_root` stands for; a relative `wav` is taken from here too.

    Returns
    -------
    dict[str, dict[str, str]]
        ID -> row, in the file's order; `duration` is a float in seconds.

    Raises
    ------
    FileNotFoundError
        If there is no such CSV.
    ValueError
        If the CSV has no rows, lacks a column, repeats an ID or holds a
        duration that is not a positive number: names file and line.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.csv"
    >>> _ = path.write_text("ID,duration,wav,text\\na,1.5,$data_root/a.wav,costs $100\\n")
    >>> load_csv(path, "/corpus")["a"]["wav"], load_csv(path, "/corpus")["a"]["text"]
    ('/corpus/a.wav', 'costs $100')
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such CSV; run the corpus's prepare script first")
    rows: dict[str, dict[str, str]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [c for c in AUDIO_COLUMNS if c not in (reader.fieldnames or [])]
        if missing:
            raise ValueError(
                f"{path}: no column {', '.join(missing)} (found: {reader.fieldnames}); a CSV needs "
                f"{', '.join(AUDIO_COLUMNS)}"
            )
        for row in reader:
            _check_row(row, rows, f"{path}, line {reader.line_num}")
            row["wav"] = _audio_path(row["wav"], Path(data_root))
            rows[row.pop("ID")] = row
    if not rows:
        raise ValueError(f"{path}: has a header but no rows; run the prepare script again")
    return rows


def _check_row(row: dict, rows: dict, where: str) -> None:
    if None in row or None in row.values():
        raise ValueError(f"{where}: the row's number of cells differs from the header's")
    if not row["ID"] or row["ID"] in rows:
        raise ValueError(f"{where}: ID {row['ID']!r} is empty or repeated; IDs must be unique")
    try:
        row["duration"] = float(row["duration"])
    except ValueError:
        row["duration"] = float("nan")
    if not 0 < row["duration"] < float("inf"):
        raise ValueError(f"{where}: duration of {row['ID']} is not a positive number of seconds")


def _audio_path(wav: str, data_root: Path) -> str:
    wav = wav.replace("${data_root}", str(data_root)).replace("$data_root", str(data_root))
    return wav if Path(wav).is_absolute() or str(data_root) in wav else str(data_root / wav)


def drop_unreadable(
    rows: dict[str, dict[str, str]], limit: float = 0.01, num_workers: int = 8
) -> dict[str, dict[str, str]]:
    """Leaves out rows whose audio file is missing or has no readable header.

    Reads headers only, in threads. Each dropped row is logged by ID and file.

    Arguments
    ---------
    rows : dict
        From load_csv.
    limit : float
        Largest share of rows that may be dropped.
    num_workers : int
        Threads.

    Returns
    -------
    dict
        The readable rows.

    Raises
    ------
    ValueError
        If more than `limit` of the rows are unreadable.
    """
    with ThreadPoolExecutor(num_workers) as pool:
        problems = list(pool.map(_problem, (row["wav"] for row in rows.values())))
    broken = {i: p for i, p in zip(rows, problems, strict=True) if p}
    for utterance, problem in list(broken.items())[:20]:
        logger.warning("left out %s: %s: %s", utterance, rows[utterance]["wav"], problem)
    if not broken:
        return rows
    first = next(iter(broken))
    summary = (
        f"{len(broken)} of {len(rows)} audio files are missing or unreadable "
        f"(first: {first}: {rows[first]['wav']}: {broken[first]})"
    )
    if len(broken) > limit * len(rows):
        raise ValueError(
            f"{summary}, more than the limit of {limit:.1%}: check data_folder, run the prepare "
            "script again, or raise max_unreadable"
        )
    logger.warning("%s; going on without them (max_unreadable is %.1f%%)", summary, 100 * limit)
    return {i: row for i, row in rows.items() if i not in broken}


def _problem(wav: str) -> str:
    if not Path(wav).is_file():
        return "no such file"
    try:
        return "" if soundfile.info(wav).frames > 0 else "no samples"
    except soundfile.SoundFileError as error:
        return f"unreadable ({error})"


def load_corpora(
    source: str | Path | Sequence[Mapping[str, str]], data_root: str | Path
) -> dict[str, dict[str, str]]:
    """Reads one CSV, or those of several corpora that train together.

    Arguments
    ---------
    source : str, Path or sequence of mapping
        A CSV, or for each corpus its `csv` and its `data_root`.
    data_root : str or Path
        What `$data_root` stands for in a single CSV.

    Returns
    -------
    dict[str, dict[str, str]]
        ID -> row. A column that a corpus lacks is missing in its rows.

    Raises
    ------
    ValueError
        If an entry has other keys, or an ID is in two of the CSVs: names it and both.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "a.csv").write_text("ID,duration,wav\\na_1,1.5,$data_root/1.wav\\n")
    >>> _ = (folder / "b.csv").write_text("ID,duration,wav\\nb_1,1.5,$data_root/1.wav\\n")
    >>> corpora = [
    ...     {"csv": folder / "a.csv", "data_root": "/a"},
    ...     {"csv": folder / "b.csv", "data_root": "/b"},
    ... ]
    >>> [row["wav"] for row in load_corpora(corpora, "").values()]
    ['/a/1.wav', '/b/1.wav']
    """
    if isinstance(source, str | Path):
        return load_csv(source, data_root)
    rows: dict[str, dict[str, str]] = {}
    csv_of: dict[str, str] = {}
    for corpus in source:
        if not isinstance(corpus, Mapping) or set(corpus) != {"csv", "data_root"}:
            raise ValueError(f"a corpus is {{csv: ..., data_root: ...}}, got {corpus!r}")
        more = load_csv(corpus["csv"], corpus["data_root"])
        for utterance in more.keys() & rows.keys():
            raise ValueError(f"ID {utterance!r} is in both {csv_of[utterance]} and {corpus['csv']}")
        rows |= more
        csv_of |= dict.fromkeys(more, str(corpus["csv"]))
    if not rows:
        raise ValueError("the list of corpora is empty")
    return rows
