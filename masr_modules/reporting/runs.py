"""The record of the metrics of runs: one CSV with a row for each run and metric."""

import csv
import fcntl
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Literal, TypeVar

from masr_modules.config.files import write_atomic

Run = TypeVar("Run", bound=tuple)


class Record(Generic[Run]):
    """The runs of one kind and their metrics; several processes may add runs to one file.

    Arguments
    ---------
    path : str or Path
        The CSV; `add` makes it if it is missing.
    key : type of NamedTuple
        The key of a run. Its fields are the first columns; the last is `seed`, an int.
    extra : sequence of str
        The columns after `metric` and `value`.

    Raises
    ------
    ValueError
        If the file has other columns, or a row that does not fit them.

    Example
    -------
    >>> from typing import NamedTuple
    >>> Training = NamedTuple("Training", [("system", str), ("seed", int)])
    >>> record = Record(getfixture("tmp_path") / "runs.csv", Training, extra=["layer"])
    >>> run = Training("MASR", 1234)
    >>> record.add(run, {"knn": 0.5}, {"knn": {"layer": "2"}}, if_recorded="skip")
    >>> print(record.path.read_text().strip())
    system,seed,metric,value,layer
    MASR,1234,knn,0.5,2
    >>> found = Record(record.path, Training, extra=["layer"])
    >>> run in found, found.metrics(run), found.seeds(("MASR",))
    (True, {'knn': 0.5}, [1234])
    """

    def __init__(self, path: str | Path, key: type[Run], extra: Sequence[str] = ()):
        self.path, self.key = Path(path), key
        self.values = ("value", *extra)
        self.columns = (*key._fields, "metric", *self.values)
        #: Run -> metric -> column -> cell, in the order of the file.
        self.runs: dict[Run, dict[str, dict[str, str]]] = self._read()

    def __contains__(self, run: Run) -> bool:
        return run in self.runs

    def metrics(self, run: Run) -> dict[str, float]:
        """Returns metric -> value of a run."""
        return {metric: float(cells["value"]) for metric, cells in self.runs[run].items()}

    def seeds(self, system: tuple) -> list[int]:
        """Returns the sorted seeds of the runs whose key without the seed is `system`."""
        return sorted(run[-1] for run in self.runs if run[:-1] == tuple(system))

    def add(
        self,
        run: Run,
        metrics: Mapping[str, float],
        extra: Mapping[str, Mapping[str, str]] | None = None,
        *,
        if_recorded: Literal["skip", "replace"],
    ) -> None:
        """Records a run; runs that other processes have recorded meanwhile are kept.

        Arguments
        ---------
        run : NamedTuple
            The run's key.
        metrics : mapping of str to float
            Metric -> value.
        extra : mapping, optional
            Metric -> extra column -> cell; a cell that is not given is empty.
        if_recorded : str
            If the record has the run already, `skip` keeps that one and `replace` replaces it.
        """
        extra = extra or {}
        rows = {
            metric: dict.fromkeys(self.values, "")
            | {"value": repr(float(value)), **extra.get(metric, {})}
            for metric, value in metrics.items()
        }
        with self._locked():
            self.runs = self._read()
            if run in self.runs and if_recorded == "skip":
                return
            self.runs[run] = rows
            cells = (
                (*key, metric, *(row[name] for name in self.values))
                for key, found in self.runs.items()
                for metric, row in found.items()
            )
            write_atomic(self.path, csv_text(self.columns, cells))

    def _read(self) -> dict[Run, dict[str, dict[str, str]]]:
        runs: dict[Run, dict[str, dict[str, str]]] = {}
        if not self.path.is_file():
            return runs
        size = len(self.key._fields)
        check_tail(self.path)
        with self.path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            # An empty file counts as a new one.
            if tuple(next(reader, self.columns)) != self.columns:
                raise ValueError(
                    f"{self.path}: its columns are not {', '.join(self.columns)}: give another "
                    "record, or rename its columns with recipes/study/rekey.py"
                )
            for row in reader:
                try:
                    run = self.key(*row[: size - 1], int(row[size - 1]))
                    metric, *cells = row[size:]
                    values = dict(zip(self.values, cells, strict=True))
                    float(values["value"])
                except (IndexError, ValueError) as error:
                    raise ValueError(
                        f"{self.path}, line {reader.line_num}: not a row of "
                        f"{', '.join(self.columns)} with a whole number as seed: correct the line "
                        "or remove it"
                    ) from error
                runs.setdefault(run, {})[metric] = values
        return runs

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Locks the file, so that other writers wait."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with self.path.open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                # If a writer has replaced the file before it was locked, the new one is locked.
                if os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                    yield
                    return


def check_tail(path: Path) -> None:
    """Raises a ValueError if a file's last line has no line break: a number may be cut off."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) and file.read(1) != b"\n":
            raise ValueError(f"{path}: its last line is cut off: complete it, or remove it")


def csv_text(columns: Sequence[str], rows: Iterable[Iterable]) -> str:
    """Returns the text of a CSV with a header, as the records are written.

    Example
    -------
    >>> csv_text(["a", "b"], [[1, "x, y"]])
    'a,b\\n1,"x, y"\\n'
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return file.getvalue()
