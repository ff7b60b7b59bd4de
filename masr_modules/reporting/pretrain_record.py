"""The record of pretraining: metrics, and per-utterance correctness beside them."""

import base64
import csv
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from masr_modules.config.files import write_atomic
from masr_modules.metrics.embeddings import age_group
from masr_modules.metrics.intervals import pseudo_values
from masr_modules.reporting.runs import Record, csv_text

#: Metric -> the column of the test set that its macro mean is over.
STRATA = {
    "knn": "language",
    "linear": "language",
    "within_family": "language",
    "gender": "gender",
    "age": "age",
    "emotion": "emotion",
    "emotion_unheard": "emotion",
}
#: Equal error rates; instead of correctness, the rate without each speaker in turn is recorded.
RATES = ("speaker_eer", "speaker_eer_within")

#: Suffix of a system's name for the row of its head's embeddings; the row with the name alone is
#: that of the encoder's pooled layers.
UTTERANCE_EMBEDDING = ", utterance embedding"

#: Largest number of test utterances whose correctness is read.
MAX_PACKED = 10_000_000
#: Decimals of a recorded rate.
RATE_DIGITS = 5

#: Fingerprint, SSL method and name of a system: the key of a run without its seed.
System = tuple[str, str, str]


class PretrainRun(NamedTuple):
    """The key of a training: fingerprint of its settings, SSL method, system name and seed."""

    settings: str
    ssl: str
    system: str
    seed: int


def pretrain_record(path: str | Path) -> Record[PretrainRun]:
    """Opens the record of pretraining in a CSV.

    Example
    -------
    >>> record = pretrain_record(getfixture("tmp_path") / "runs.csv")
    >>> system = ("ab12", "best_rq", "MASR")
    >>> found = {"knn": {"layer": 2, "correct": [1.0, 0.0]}}
    >>> metrics = {"knn": 0.5, "ssl_loss": 4.0}
    >>> run = PretrainRun(*system, 1234)
    >>> record.add(run, metrics, extra_columns(found), if_recorded="skip")
    >>> correctness(pretrain_record(record.path), system, "knn")
    {1234: array([1., 0.])}
    """
    return Record(path, PretrainRun, extra=("layer", "correct"))


def extra_columns(correct: Mapping[str, Mapping]) -> dict[str, dict[str, str]]:
    """Converts a system's part of correct.json to columns of the record.

    Arguments
    ---------
    correct : mapping
        Metric -> `layer` and `correct`: whether each test utterance is right (1), wrong (0) or not
        evaluated (None); for RATES, the rate without each speaker in turn.

    Returns
    -------
    dict
        Metric -> column -> cell.
    """
    columns = {}
    for metric, found in correct.items():
        values, text = found["correct"], ""
        if values:
            text = pack_rates(values) if metric in RATES else pack(values)
        columns[metric] = {"layer": str(found["layer"]), "correct": text}
    return columns


def correctness(record: Record[PretrainRun], system: System, metric: str) -> dict[int, np.ndarray]:
    """Reads a system's per-utterance correctness, or each speaker's part of the EER.

    Arguments
    ---------
    record : Record
        The record of pretraining.
    system : (str, str, str)
        Fingerprint, SSL method and name of the system.
    metric : str
        A key of STRATA, or one of RATES.

    Returns
    -------
    dict
        Seed -> (N,) correctness of N test utterances (NaN where not evaluated), or, for RATES, the
        jackknife's pseudo-values of N speakers.
    """
    found = {}
    for seed in record.seeds(system):
        row = record.runs[PretrainRun(*system, seed)].get(metric)
        if row is None or not row["correct"]:
            continue
        if metric in RATES:
            found[seed] = pseudo_values(float(row["value"]), unpack_rates(row["correct"]))
        else:
            found[seed] = unpack(row["correct"])
    return found


def pack(correct: Sequence[float | None]) -> str:
    """Packs correctness as text: right (1), wrong (0) and not evaluated (None).

    Five values go into a byte; the bytes are compressed by zlib and written in base 85.

    Example
    -------
    >>> unpack(pack([1.0, None, 0.0])).tolist()
    [1.0, nan, 0.0]
    """
    trits = np.array([2 if x is None or x != x else int(x) for x in correct], dtype=np.uint8)
    whole = np.zeros(-len(trits) % 5 + len(trits), dtype=np.uint8)
    whole[: len(trits)] = trits
    data = (whole.reshape(-1, 5) @ 3 ** np.arange(5)).astype(np.uint8)
    return _deflate(len(trits), data)


def unpack(text: str) -> np.ndarray:
    """Unpacks correctness that `pack` wrote: (N,) float, NaN where not evaluated.

    Raises
    ------
    ValueError
        If the text is not what `pack` writes; it is never unpacked beyond its stated size.
    """
    count, packed = _inflate(text, lambda count: -(-count // 5))
    numbers = np.frombuffer(packed, dtype=np.uint8).astype(int)
    trits = (numbers[:, None] // 3 ** np.arange(5) % 3).reshape(-1)[:count]
    return np.where(trits == 2, np.nan, trits.astype(float))


def pack_rates(rates: Sequence[float]) -> str:
    """Packs rates in [0, 1] as text, rounded to five decimals.

    The differences of successive rates are compressed by zlib and written in base 85.

    Example
    -------
    >>> unpack_rates(pack_rates([0.125, 0.1, 0.25])).tolist()
    [0.125, 0.1, 0.25]
    """
    steps = np.diff(np.rint(np.asarray(rates) * 10**RATE_DIGITS), prepend=0).astype("<i4")
    return _deflate(len(steps), steps)


def unpack_rates(text: str) -> np.ndarray:
    """Unpacks rates that `pack_rates` wrote: (N,) float.

    Raises
    ------
    ValueError
        If the text is not what `pack_rates` writes; it is never unpacked beyond its stated size.
    """
    _, packed = _inflate(text, lambda count: 4 * count)
    return np.frombuffer(packed, dtype="<i4").cumsum() / 10**RATE_DIGITS


def _deflate(count: int, data: np.ndarray) -> str:
    return f"{count}:{base64.b85encode(zlib.compress(data.tobytes(), 9)).decode()}"


def _inflate(text: str, size_of: Callable[[int], int]) -> tuple[int, bytes]:
    """Returns the count and the bytes, and unpacks no more bytes than the count requires."""
    number, _, data = text.partition(":")
    try:
        count = int(number)
        if not 0 <= count <= MAX_PACKED:
            raise ValueError(f"{number} values")
        size = size_of(count)
        packed = zlib.decompressobj().decompress(base64.b85decode(data), size + 1)
        if len(packed) != size:
            raise ValueError(f"{len(packed)} bytes or more for {count} values")
    except (ValueError, zlib.error) as error:
        raise ValueError(f"{text[:40]!r} is not packed correctness: {error}") from None
    return count, packed


def save_labels(
    rows: Mapping[str, Mapping[str, str]], path: str | Path, corpora: bool = False
) -> None:
    """Saves the labels of the test set; the record holds correctness in their order.

    Speakers are numbered, because a corpus's own names of them may be long.

    Arguments
    ---------
    rows : mapping
        ID -> row of the test set.
    path : str or Path
        The CSV to write: ID, language, gender, emotion and speaker.
    corpora : bool
        Whether metrics are means over corpora; the CSV then has the age group and corpus too.

    Raises
    ------
    ValueError
        If the file is there with the labels of another test set.

    Example
    -------
    >>> path = getfixture("tmp_path") / "test_labels.csv"
    >>> save_labels({"a": {"language": "fra", "speaker": "fr7", "text": "Oui"}}, path)
    >>> load_labels(path)
    {'a': {'language': 'fra', 'gender': '', 'emotion': '', 'speaker': 's0'}}
    """
    numbers: dict[str, str] = {"": ""}
    header = ["ID", "language", "gender", "emotion", "speaker", *(["age", "corpus"] * corpora)]
    body = []
    for utterance, row in rows.items():
        speaker = row.get("speaker") or ""
        labels = [row.get(column) or "" for column in header[1:4]]
        labels.append(numbers.setdefault(speaker, f"s{len(numbers) - 1}"))
        if corpora:
            labels += [age_group(row.get("age") or ""), row.get("corpus") or ""]
        body.append([utterance, *labels])
    text, path = csv_text(header, body), Path(path)
    if not path.is_file():
        write_atomic(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{path} is of another test set, or was written by an older version: give another "
            "--record for this test set, or remove the file"
        )


def load_labels(path: str | Path) -> dict[str, dict[str, str]]:
    """Reads ID -> labels of each test utterance, which `save_labels` wrote."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return {row.pop("ID"): row for row in csv.DictReader(file)}
