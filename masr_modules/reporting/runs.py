"""The record of what runs measured: one CSV, a row for each run and metric."""

import base64
import csv
import fcntl
import io
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from masr_modules.config.files import write_atomic
from masr_modules.metrics.intervals import Difference, paired_bootstrap, pseudo_values
from masr_modules.metrics.tables import KINDS, PRETRAIN_COLUMNS, align

COLUMNS = ("settings", "ssl", "system", "seed", "metric", "value", "layer", "answers")


def pack(answers: Sequence[float | None]) -> str:
    """Right (1), wrong (0) and not asked (None): five to a byte, deflated, in base 85.

    Example
    -------
    >>> unpack(pack([1.0, None, 0.0])).tolist()
    [1.0, nan, 0.0]
    """
    trits = np.array([2 if x is None or x != x else int(x) for x in answers], dtype=np.uint8)
    whole = np.zeros(-len(trits) % 5 + len(trits), dtype=np.uint8)
    whole[: len(trits)] = trits
    data = (whole.reshape(-1, 5) @ 3 ** np.arange(5)).astype(np.uint8)
    return f"{len(trits)}:{base64.b85encode(zlib.compress(data.tobytes(), 9)).decode()}"


def unpack(text: str) -> np.ndarray:
    """(N,) float, NaN where not asked; see `pack`."""
    count, data = text.split(":", 1)
    numbers = np.frombuffer(zlib.decompress(base64.b85decode(data)), dtype=np.uint8).astype(int)
    trits = (numbers[:, None] // 3 ** np.arange(5) % 3).reshape(-1)[: int(count)]
    return np.where(trits == 2, np.nan, trits.astype(float))


class Runs:
    """The record; a file that grows by whole runs, from several processes too.

    Arguments
    ---------
    path : str or Path
        The CSV; made where it is missing.

    Raises
    ------
    ValueError
        If the file has other columns.

    Example
    -------
    >>> runs = Runs(getfixture("tmp_path") / "runs.csv")
    >>> found = {"knn": {"layer": 2, "answers": [1.0, 0.0]}}
    >>> runs.add("ab12", "best_rq", "MASR", 1234, {"knn": 0.5, "ssl_loss": 4.0}, found)
    >>> Runs(runs.path).metrics("ab12", "MASR", 1234)
    {'knn': 0.5, 'ssl_loss': 4.0}
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.rows: dict[tuple[str, str, int], dict[str, dict]] = {}
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError(f"{self.path}: its columns are not {', '.join(COLUMNS)}")
            for row in reader:
                run = (row["settings"], row["system"], int(row["seed"]))
                self.rows.setdefault(run, {})[row["metric"]] = row

    def has(self, settings: str, system: str, seed: int) -> bool:
        """Whether a run is recorded."""
        return (settings, system, seed) in self.rows

    def add(
        self,
        settings: str,
        ssl: str,
        system: str,
        seed: int,
        metrics: Mapping[str, float],
        answers: Mapping[str, Mapping],
    ) -> None:
        """Records a run: its metrics, and of some the layer and the answers (answers.json)."""
        if self.has(settings, system, seed):
            return
        rows = {}
        for metric, value in metrics.items():
            found = answers.get(metric, {"layer": "", "answers": []})
            text = pack(found["answers"])
            if metric == "speaker_eer":
                text = " ".join(f"{rate:.5f}" for rate in found["answers"])
            cells = (settings, ssl, system, seed, metric, repr(float(value)), found["layer"])
            rows[metric] = dict(
                zip(COLUMNS, (*cells, text if found["answers"] else ""), strict=True)
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerows(rows.values())
        self.rows[settings, system, seed] = rows

    def metrics(self, settings: str, system: str, seed: int) -> dict[str, float]:
        """Metric -> value of a run."""
        run = self.rows[settings, system, seed]
        return {metric: float(row["value"]) for metric, row in run.items()}

    def seeds(self, settings: str, system: str) -> list[int]:
        """Those that are recorded."""
        return sorted(seed for key, name, seed in self.rows if (key, name) == (settings, system))

    def values(self, settings: str, system: str, metric: str) -> dict[int, np.ndarray]:
        """Seed -> value of each test item: right or wrong, or a voice's part of the EER."""
        found = {}
        for seed in self.seeds(settings, system):
            row = self.rows[settings, system, seed].get(metric)
            if row is None or not row["answers"]:
                continue
            if metric == "speaker_eer":
                rates = np.array(row["answers"].split(), dtype=float)
                found[seed] = pseudo_values(float(row["value"]), rates)
            else:
                found[seed] = unpack(row["answers"])
        return found


#: Metric -> the column of the test set that its macro mean is over.
STRATA = {
    "knn": "language",
    "linear": "language",
    "within_family": "language",
    "gender": "gender",
    "emotion": "emotion",
}


def save_labels(rows: Mapping[str, Mapping[str, str]], path: str | Path) -> None:
    """Keeps the labels of the test set beside the record, which holds its answers in their order.

    Arguments
    ---------
    rows : mapping
        The test set, from load_csv.
    path : str or Path
        The CSV: ID and the columns of STRATA.

    Raises
    ------
    ValueError
        If the file is of another test set.

    Example
    -------
    >>> path = getfixture("tmp_path") / "test_labels.csv"
    >>> save_labels({"a": {"language": "fra", "gender": "", "emotion": "sad", "text": "Oui"}}, path)
    >>> load_labels(path)
    {'a': {'language': 'fra', 'gender': '', 'emotion': 'sad'}}
    """
    columns = list(dict.fromkeys(STRATA.values()))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["ID", *columns])
    for utterance, row in rows.items():
        writer.writerow([utterance, *(row.get(column) or "" for column in columns)])
    path = Path(path)
    if not path.is_file():
        write_atomic(path, file.getvalue())
    elif path.read_text(encoding="utf-8") != file.getvalue():
        raise ValueError(f"{path} is of another test set: name another --record for this one")


def load_labels(path: str | Path) -> dict[str, dict[str, str]]:
    """ID -> labels of each test utterance; see `save_labels`."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return {row.pop("ID"): row for row in csv.DictReader(file)}


def difference(
    runs: Runs,
    ours: tuple[str, str],
    theirs: tuple[str, str],
    metric: str,
    rows: Mapping[str, Mapping[str, str]],
    only: Sequence[str] | None = None,
) -> Difference | None:
    """How far a system is above another, with its interval; None where it was not measured.

    Arguments
    ---------
    runs : Runs
        The record.
    ours, theirs : (str, str)
        Fingerprint and name of each system.
    metric : str
        A key of STRATA, or speaker_eer.
    rows : mapping
        The test set, from load_labels.
    only : sequence of str, optional
        Values of the metric's column: the mean is over these alone.
    """
    mine, other = runs.values(*ours, metric), runs.values(*theirs, metric)
    if not set(mine) & set(other):
        return None
    count = len(next(iter(mine.values())))
    strata = _strata(metric, rows, count)
    asked = _asked(strata, only)
    mine, other = ({s: v[asked] for s, v in run.items()} for run in (mine, other))
    return paired_bootstrap(mine, other, strata[asked])


def _strata(metric: str, rows: Mapping[str, Mapping[str, str]], count: int) -> np.ndarray:
    """(count,) label of each test utterance; of the EER's voices, all alike."""
    if metric == "speaker_eer":
        return np.array([""] * count)
    strata = np.array([row[STRATA[metric]] for row in rows.values()])
    if len(strata) != count:
        raise ValueError(f"{metric}: {count} answers, but {len(strata)} test utterances")
    return strata


def _asked(strata: np.ndarray, only: Sequence[str] | None) -> np.ndarray:
    """(count,) bool: which items the mean is over."""
    return np.ones(len(strata), dtype=bool) if only is None else np.isin(strata, only)


def estimate(
    runs: Runs,
    system: tuple[str, str],
    metric: str,
    rows: Mapping[str, Mapping[str, str]],
    seeds: Sequence[int],
    only: Sequence[str] | None = None,
) -> Difference | None:
    """A system's mean over seeds with its interval; None where it was not measured.

    Seeds and test items are drawn as in `difference`. The interval of the EER, whose mean of
    jackknife values is without its bias, is laid around the mean that was measured.

    Arguments
    ---------
    runs, system, metric, rows, only
        As of `difference`.
    seeds : sequence of int
        Those to use, as far as they are recorded.
    """
    values = {s: v for s, v in runs.values(*system, metric).items() if s in seeds}
    if not values:
        return None
    strata = _strata(metric, rows, len(next(iter(values.values()))))
    asked = _asked(strata, only)
    nothing = {seed: np.zeros(asked.sum()) for seed in values}
    found = paired_bootstrap({s: v[asked] for s, v in values.items()}, nothing, strata[asked])
    if only is not None:
        return found
    mean = float(np.mean([runs.metrics(*system, seed)[metric] for seed in values]))
    return Difference(*(value + mean - found.mean for value in found))


def compare_table(
    runs: Runs,
    ours: tuple[str, str],
    others: Sequence[tuple[str, str]],
    rows: Mapping[str, Mapping[str, str]],
    only: Sequence[str] | None = None,
) -> str:
    """A Markdown table: ours less each other system, with 95 % intervals.

    Arguments
    ---------
    runs, ours, others, rows
        As of `difference`.
    only : sequence of str, optional
        Languages that the language's metrics are over.
    """
    columns = [c for c in PRETRAIN_COLUMNS if c[1] in STRATA or c[1] == "speaker_eer"]
    header = [f"{ours[1]} less", "seeds", *(title for title, _, _ in columns)]
    body = []
    for other in others:
        cells = []
        for _, metric, kind in columns:
            languages = only if STRATA.get(metric) == "language" else None
            found = difference(runs, ours, other, metric, rows, languages)
            scale, digits, _ = KINDS[kind]
            cells.append(
                ""
                if found is None
                else "{} [{}, {}]".format(*(f"{scale * x:+.{digits}f}" for x in found))
            )
        common = set(runs.seeds(*ours)) & set(runs.seeds(*other))
        body.append([other[1], str(len(common)), *cells])
    return align(header, body)
