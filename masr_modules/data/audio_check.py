"""Checks that audio files can be read, and leaves out those that cannot."""

import hashlib
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from masr_modules.config.files import write_atomic
from masr_modules.data.corpus import Rows
from masr_modules.data.dataio import read_audio, read_segment
from masr_modules.data.durations import find_disagreements
from masr_modules.data.headers import BrokenAudio, file_state, read_header, read_headers

logger = logging.getLogger(__name__)

#: Prefix of the digest of files that were decoded, and not only their headers read.
DECODED = "decoded "
#: Threads that decode; each holds one file in memory.
THREADS = 4


def drop_unreadable(
    rows: Rows,
    limit: float = 0.01,
    num_workers: int = 8,
    memory: str | Path | None = None,
    decode: bool = False,
) -> Rows:
    """Leaves out rows whose audio is missing, unreadable or not what the row says.

    It reads the headers, in several processes, and compares `duration`, `start` and `stop` with
    them, see `find_disagreements`. The log names the first 20 dropped rows by ID and file.

    Arguments
    ---------
    rows : Rows
        Rows from load_csv.
    limit : float
        Largest fraction of rows that may be dropped.
    num_workers : int
        Largest number of processes.
    memory : str or Path, optional
        A file that records that all of these files were readable. The next run then skips the
        check, unless a file is gone or has another size or modification time.
    decode : bool
        Whether to decode the audio as well, see `find_undecodable`. Evaluation needs this, because
        it does not leave out files that it cannot read, as training does.

    Returns
    -------
    Rows
        The readable rows.

    Raises
    ------
    ValueError
        If more than `limit` of the rows are unreadable, durations are in another unit than
        seconds, or a `start` or `stop` is not a number of samples.
    """
    wav = rows.table["wav"].combine_chunks().dictionary_encode()
    files, place = wav.dictionary.to_pylist(), wav.indices.to_numpy()
    key = "" if memory is None else _digest(rows, files)
    known = {DECODED + key} if decode else {key, DECODED + key}
    if memory is not None and _recall(Path(memory)) in known:
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
    if decode:
        broken |= find_undecodable(rows.without(broken))
    if not broken:
        if memory is not None and not shorter:  # else the next run has to warn again
            _remember(Path(memory), DECODED * decode + key)
        return rows
    name_left_out(rows, broken, limit)
    return rows.without(broken)


def find_undecodable(rows: Mapping[str, Mapping]) -> dict[str, str]:
    """Finds the utterances that `read_audio` cannot read, such as truncated ones, in threads.

    Arguments
    ---------
    rows : mapping of str to mapping
        ID -> row.

    Returns
    -------
    dict of str to str
        ID -> reason, of the utterances that cannot be read.

    Example
    -------
    >>> find_undecodable({"a": {"wav": "/nowhere/a.wav"}})
    {'a': 'no such file'}
    """

    def reason(row: Mapping) -> str:
        try:
            rate = read_header(row["wav"]).sample_rate  # so that nothing is resampled
            read_audio(row["wav"], rate, None, 0, read_segment(row))
        except BrokenAudio as error:
            return str(error)
        except ValueError as error:
            return str(error).removeprefix(f"{row['wav']}: ")
        return ""

    with ThreadPoolExecutor(THREADS) as pool:
        reasons = pool.map(reason, rows.values())
        return {utterance: text for utterance, text in zip(rows, reasons, strict=True) if text}


def drop_undecodable(rows: Mapping[str, dict], limit: float) -> dict[str, dict]:
    """Leaves out the training utterances that `find_undecodable` finds.

    Raises
    ------
    ValueError
        If they are more than the fraction `limit` of the rows. With a limit above 0, a single one
        is always left out without an error.
    """
    broken = find_undecodable(rows)
    name_left_out(rows, broken, limit, least=1 if limit else 0)
    return {utterance: row for utterance, row in rows.items() if utterance not in broken}


def name_left_out(
    rows: Mapping[str, Mapping], broken: Mapping[str, str], limit: float, least: int = 0
) -> None:
    """Logs the number of utterances that are left out, and the first 20 with reasons.

    Arguments
    ---------
    rows : mapping of str to mapping
        ID -> row, of all utterances.
    broken : mapping of str to str
        ID -> reason, of those that are left out.
    limit : float
        Largest fraction of the rows that may be left out.
    least : int
        Number of utterances that may be left out even if they exceed the limit.

    Raises
    ------
    ValueError
        If more are left out than `least` and than the fraction `limit`.
    """
    if not broken:
        return
    for utterance, problem in list(broken.items())[:20]:
        logger.warning("left out %s: %s: %s", utterance, rows[utterance]["wav"], problem)
    first = next(iter(broken))
    summary = (
        f"{len(broken)} of {len(rows)} audio files are missing, unreadable or not what a row says "
        f"(first: {first}: {rows[first]['wav']}: {broken[first]})"
    )
    if len(broken) > max(least, limit * len(rows)):
        raise ValueError(
            f"{summary}, more than the limit of {limit:.1%}: check data_folder, run the prepare "
            "script again, or raise max_unreadable"
        )
    logger.warning("%s; going on without them (max_unreadable is %.1f%%)", summary, 100 * limit)


def _digest(rows: Rows, files: list[str]) -> str:
    """Returns a digest of the rows and of the size and time of each file."""
    digest = hashlib.sha256()
    for name in ("ID", "wav", "duration", "start", "stop"):
        if name in rows.table.column_names:
            for buffer in rows.table[name].combine_chunks().buffers():
                digest.update(b"" if buffer is None else buffer)
    digest.update(np.array([file_state(file) for file in files], np.int64).tobytes())
    return digest.hexdigest()


def _recall(memory: Path) -> str | None:
    """Returns the digest in a memory file, None if there is no such file."""
    return memory.read_text(encoding="utf-8", errors="replace") if memory.is_file() else None


def _remember(memory: Path, key: str) -> None:
    try:
        write_atomic(memory, key)
    except OSError as error:  # in a read-only corpus, each run checks again
        logger.info("%s: %s", memory, error)
