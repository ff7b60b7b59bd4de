"""The record of runs."""

import csv
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from masr_modules.reporting.runs import Record


class Training(NamedTuple):
    system: str
    seed: int


def record(path):
    return Record(path, Training, extra=["layer"])


def test_a_run_that_is_there_is_skipped_or_replaced_as_is_asked(tmp_path):
    found, first, second = record(tmp_path / "runs.csv"), Training("a, b", 1), Training("c", -1)
    found.add(first, {"knn": 0.1, "eer": 1}, {"knn": {"layer": "2"}}, if_recorded="skip")
    found.add(second, {"knn": 0.2}, if_recorded="replace")
    before = found.path.read_bytes()
    found.add(first, {"knn": 0.9}, if_recorded="skip")
    assert found.path.read_bytes() == before
    assert found.metrics(first) == {"knn": 0.1, "eer": 1.0}
    found.add(first, {"knn": 0.9}, if_recorded="replace")
    assert list(record(found.path).runs.items()) == list(found.runs.items())
    assert list(found.runs) == [first, second]  # it keeps its place
    assert found.metrics(first) == {"knn": 0.9} and found.seeds(("c",)) == [-1]
    with pytest.raises(TypeError, match="if_recorded"):
        found.add(first, {"knn": 0.9})


def test_runs_of_several_writers_are_all_there_once(tmp_path):
    path = tmp_path / "folder/runs.csv"
    first, second = record(path), record(path)
    first.add(Training("MASR", 1), {"knn": 1.0}, if_recorded="skip")
    second.add(Training("LASR", 1), {"knn": 0.0}, if_recorded="skip")
    second.add(Training("MASR", 1), {"knn": 0.5}, if_recorded="skip")  # another process was first
    assert second.metrics(Training("MASR", 1)) == {"knn": 1.0}
    assert path.read_text() == "system,seed,metric,value,layer\nMASR,1,knn,1.0,\nLASR,1,knn,0.0,\n"


#: Adds eight runs of its own, each by the number of one thread.
WRITER = """
import sys
from typing import NamedTuple
from masr_modules.reporting.runs import Record

class Training(NamedTuple):
    system: str
    seed: int

for seed in range(8):
    for how in ("skip", "replace"):
        found = Record(sys.argv[1], Training, extra=["layer"])
        found.add(Training(sys.argv[2], seed), {"knn": seed / 8}, if_recorded=how)
"""


def test_processes_and_threads_that_write_at_once_lose_nothing(tmp_path):
    path = tmp_path / "runs.csv"
    commands = [[sys.executable, "-c", WRITER, str(path), name] for name in ("a", "b", "c")]
    processes = [subprocess.Popen(command) for command in commands]
    shared = record(path)
    with ThreadPoolExecutor(4) as pool:
        for seed in range(16):
            pool.submit(shared.add, Training("d", seed), {"knn": 0.5}, if_recorded="skip")
    assert [process.wait() for process in processes] == [0, 0, 0]
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = {(name, str(seed)) for name in "abc" for seed in range(8)}
    expected |= {("d", str(seed)) for seed in range(16)}
    assert len(rows) == len(expected)
    assert {(row["system"], row["seed"]) for row in rows} == expected
    assert [file.name for file in tmp_path.iterdir()] == ["runs.csv"]


def test_a_file_that_is_no_record_is_refused_and_kept(tmp_path):
    (tmp_path / "runs.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="runs.csv: its columns are not system, seed.*rekey.py"):
        record(tmp_path / "runs.csv")
    (tmp_path / "runs.csv").unlink()
    found = record(tmp_path / "runs.csv")
    (tmp_path / "runs.csv").write_text("a,b\n1,2\n")  # of another program, meanwhile
    with pytest.raises(ValueError, match="its columns are not system, seed"):
        found.add(Training("MASR", 1), {"knn": 1.0}, if_recorded="skip")
    assert (tmp_path / "runs.csv").read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize("row", ["MASR,one,knn,0.5,", "MASR,1,knn,0.5", "MASR", "MASR,1,knn,x,"])
def test_a_row_that_does_not_fit_is_named(tmp_path, row):
    header = "system,seed,metric,value,layer"
    (tmp_path / "runs.csv").write_text(f"{header}\nMASR,1,knn,0.5,\n{row}\n")
    with pytest.raises(ValueError, match="runs.csv, line 3: not a row of system, seed"):
        record(tmp_path / "runs.csv")


def test_an_empty_file_is_a_new_record(tmp_path):
    (tmp_path / "runs.csv").touch()
    found = record(tmp_path / "runs.csv")
    assert not found.runs
    found.add(Training("MASR", 1), {"knn": 1.0}, if_recorded="skip")
    assert Training("MASR", 1) in record(found.path)


#: Adds a run where a file may have no more than some bytes, as on a disk that is full.
FULL = """
import resource, signal, sys
from typing import NamedTuple
from masr_modules.reporting.runs import Record

class Training(NamedTuple):
    system: str
    seed: int

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
found = Record(sys.argv[1], Training, extra=["layer"])
resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
found.add(Training("MASR", 9), {f"metric {i}": i / 7 for i in range(40)}, if_recorded="skip")
"""


def test_a_full_disk_leaves_the_record_as_it_was(tmp_path):
    found = record(tmp_path / "runs.csv")
    found.add(Training("MASR", 1), {"knn": 0.5}, if_recorded="skip")
    before = found.path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(found.path)], capture_output=True, text=True
    )
    assert done.returncode == 1 and "OSError" in done.stderr and "runs.csv" in done.stderr
    assert found.path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]
    assert record(found.path).metrics(Training("MASR", 1)) == {"knn": 0.5}


@pytest.mark.parametrize("lost", [1, 2, 4])
def test_a_record_whose_last_line_is_cut_is_not_read(lost, tmp_path):
    found = record(tmp_path / "runs.csv")
    found.add(Training("MASR", 1), {"knn": 0.123456}, if_recorded="skip")
    found.path.write_bytes(found.path.read_bytes()[:-lost])
    with pytest.raises(ValueError, match="runs.csv: its last line is cut off"):
        record(found.path)
