"""Audio files that can be read, and the others."""

import hashlib
import logging
from pathlib import Path

import pyarrow.compute as pc

from masr_modules.config.files import write_atomic
from masr_modules.data.corpus import Rows
from masr_modules.data.headers import read_headers

logger = logging.getLogger(__name__)


def drop_unreadable(
    rows: Rows, limit: float = 0.01, num_workers: int = 8, memory: str | Path | None = None
) -> Rows:
    """Leaves out rows whose audio file is missing or has no readable header.

    Reads headers only, in processes. The first 20 dropped rows are logged by ID and file.

    Arguments
    ---------
    rows : Rows
        From load_csv.
    limit : float
        Largest fraction of rows that may be dropped.
    num_workers : int
        Processes at most.
    memory : str or Path, optional
        A file that remembers that all of these files were readable: the next run does not look
        again.

    Returns
    -------
    Rows
        The readable ones.

    Raises
    ------
    ValueError
        If more than `limit` of the rows are unreadable.
    """
    key = "" if memory is None else _digest(rows)
    if memory is not None and _recall(Path(memory)) == key:
        return rows
    broken = _broken(rows, num_workers)
    if not broken:
        if memory is not None:
            _remember(Path(memory), key)
        return rows
    for utterance, problem in list(broken.items())[:20]:
        logger.warning("left out %s: %s: %s", utterance, rows[utterance]["wav"], problem)
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
    return rows.without(broken)


def _broken(rows: Rows, num_workers: int) -> dict[str, str]:
    """ID -> problem; a file that several rows are part of is looked at once."""
    files = pc.unique(rows.table["wav"]).to_pylist()
    found = read_headers(files, str, num_workers)
    problems = {file: problem for file, problem in found if isinstance(problem, str)}
    if not problems:
        return {}
    each = zip(rows, rows.column("wav"), strict=True)
    return {utterance: problems[file] for utterance, file in each if file in problems}


def _digest(rows: Rows) -> str:
    digest = hashlib.sha256()
    for name in ("ID", "wav"):
        for buffer in rows.table[name].combine_chunks().buffers():
            digest.update(b"" if buffer is None else buffer)
    return digest.hexdigest()


def _recall(memory: Path) -> str | None:
    """Digest of the files that were all readable."""
    return memory.read_text(encoding="utf-8", errors="replace") if memory.is_file() else None


def _remember(memory: Path, key: str) -> None:
    try:
        write_atomic(memory, key)
    except OSError as error:  # a corpus that cannot be written to is looked at every time
        logger.info("%s: %s", memory, error)
