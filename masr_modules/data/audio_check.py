"""Audio files that can be read, and the others."""

import hashlib
import logging
import os
from pathlib import Path

import numpy as np

from masr_modules.config.files import write_atomic
from masr_modules.data.corpus import Rows
from masr_modules.data.durations import find_disagreements
from masr_modules.data.headers import read_headers

logger = logging.getLogger(__name__)


def drop_unreadable(
    rows: Rows, limit: float = 0.01, num_workers: int = 8, memory: str | Path | None = None
) -> Rows:
    """Leaves out rows whose audio is missing, has no readable header or is other than they claim.

    Reads headers only, in processes, and compares `duration`, `start` and `stop` with them, see
    `find_disagreements`. The first 20 dropped rows are logged by ID and file.

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
        again, unless a file is gone or has another size or time.

    Returns
    -------
    Rows
        The readable ones.

    Raises
    ------
    ValueError
        If more than `limit` of the rows are unreadable, or durations are in another unit.
    """
    wav = rows.table["wav"].combine_chunks().dictionary_encode()
    files, place = wav.dictionary.to_pylist(), wav.indices.to_numpy()
    key = "" if memory is None else _digest(rows, files)
    if memory is not None and _recall(Path(memory)) == key:
        return rows
    headers = [found for _, found in read_headers(files, str, num_workers)]
    numbers = [
        (np.nan, np.nan) if isinstance(h, str) else (h.duration, h.sample_rate) for h in headers
    ]
    seconds, rates = np.array(numbers).reshape(-1, 2)[place].T
    gone = np.flatnonzero(np.isnan(seconds)).tolist()
    broken = {rows.table["ID"][row].as_py(): str(headers[place[row]]) for row in gone}
    others, shorter = find_disagreements(rows, seconds, rates)
    broken |= others
    if not broken:
        if memory is not None and not shorter:  # what a warning counts is counted again
            _remember(Path(memory), key)
        return rows
    for utterance, problem in list(broken.items())[:20]:
        logger.warning("left out %s: %s: %s", utterance, rows[utterance]["wav"], problem)
    first = next(iter(broken))
    summary = (
        f"{len(broken)} of {len(rows)} audio files are missing, unreadable or not what a row says "
        f"(first: {first}: {rows[first]['wav']}: {broken[first]})"
    )
    if len(broken) > limit * len(rows):
        raise ValueError(
            f"{summary}, more than the limit of {limit:.1%}: check data_folder, run the prepare "
            "script again, or raise max_unreadable"
        )
    logger.warning("%s; going on without them (max_unreadable is %.1f%%)", summary, 100 * limit)
    return rows.without(broken)


def _digest(rows: Rows, files: list[str]) -> str:
    """Of what the check looked at: it changes where a file does."""
    digest = hashlib.sha256()
    for name in ("ID", "wav", "duration", "start", "stop"):
        if name in rows.table.column_names:
            for buffer in rows.table[name].combine_chunks().buffers():
                digest.update(b"" if buffer is None else buffer)
    digest.update(np.array([_state(file) for file in files], np.int64).tobytes())
    return digest.hexdigest()


def _state(file: str) -> tuple[int, int]:
    """Size and time; 2 µs."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _recall(memory: Path) -> str | None:
    """Digest of the files that were all readable."""
    return memory.read_text(encoding="utf-8", errors="replace") if memory.is_file() else None


def _remember(memory: Path, key: str) -> None:
    try:
        write_atomic(memory, key)
    except OSError as error:  # a corpus that cannot be written to is looked at every time
        logger.info("%s: %s", memory, error)
