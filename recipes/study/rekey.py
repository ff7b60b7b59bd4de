#!/usr/bin/env python3
"""Gives every recorded run its present name and fingerprint, after a change that only renames.

> python recipes/study/rekey.py --since REVISION
> python recipes/study/rekey.py --since REVISION --rename "system:old name=new name" metric:a=b

Runs are recorded under a fingerprint of their settings and under the name of their arm. A change
that renames a class, a key of a YAML or an arm, without changing the training, may change both.
This script asks `run.py --list` of that revision and of the working tree for the fingerprint of
every recorded arm, and replaces the old ones by the new. Commit the result together with the
renaming. `--rename COLUMN:OLD=NEW` changes cells of a column in both records, and in the column
`system` also a part of an arm's name ("MASR, OLD, 10 % of languages"). `--rename :OLD=NEW` renames
a column itself.
"""

import argparse
import csv
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from masr_modules.config.files import write_atomic
from masr_modules.reporting.pretrain_record import UTTERANCE_EMBEDDING
from masr_modules.reporting.runs import csv_text
from masr_modules.reporting.study import BASELINES, Studies

ROOT = Path(__file__).parents[2]
RECORDS = ("recipes/pretrain/runs.csv", "recipes/downstream/runs.csv")
FIRST = Studies(Path(__file__).with_name("studies.yaml")).first

Rows = list[dict[str, str]]


def check_out(revision: str, folder: Path) -> None:
    """Writes the repository, as it is at a revision, to a folder."""
    command = ["git", "archive", revision]
    archive = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        file.extractall(folder, filter="data")


def list_keys(tree: Path, ssl: str, arms: Sequence[str]) -> dict[str, str]:
    """Returns the fingerprint of each arm, as `run.py --list` of a tree prints it.

    Raises
    ------
    RuntimeError
        If run.py fails, such as for an arm that the tree's studies do not have.
    """
    command = [sys.executable, "recipes/study/run.py", "--list", "--ssl", ssl, "--seeds", "0"]
    done = subprocess.run(
        # No record is read, because the existing one may have the columns of the other tree.
        [*command, "--record", os.devnull, "--systems", *arms],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"run.py --list --ssl {ssl} in {tree} failed:\n{done.stderr}")
    found = (line.split(maxsplit=2) for line in done.stdout.splitlines())
    return {arm: key.partition("/")[0] for key, _, arm in found}


def rename_arm(name: str, renamed: Mapping[str, str]) -> str:
    """Renames an arm's system or conditions.

    Example
    -------
    >>> rename_arm("a, b, c", {"b": "d"}), rename_arm("a, b, c", {"a, b": "d"})
    ('a, d, c', 'd, c')
    """
    for old, new in renamed.items():
        name = f", {name}, ".replace(f", {old}, ", f", {new}, ")[2:-2]
    return name


def new_keys(
    rows: Rows, renamed: Mapping[str, str], list_old: Callable, list_new: Callable
) -> dict[tuple[str, str, str], str]:
    """Maps SSL method, old fingerprint and old arm of each row to the new fingerprint.

    Arguments
    ---------
    rows : list of dict
        Rows of the record.
    renamed : mapping of str to str
        Old -> new name of a system or condition.
    list_old, list_new : callable
        Functions from SSL method and arms to the fingerprint of each arm, then and now.

    Raises
    ------
    ValueError
        If a row has a fingerprint that its arm did not have then.
    """
    found = {}
    for ssl in sorted({row["ssl"] for row in rows}):
        own = {(row["settings"], row["system"]) for row in rows if row["ssl"] == ssl}
        named = {name.removesuffix(UTTERANCE_EMBEDDING) for _, name in own}
        arms = sorted({FIRST, *named} - {*BASELINES})
        then = list_old(ssl, arms)
        now = list_new(ssl, [rename_arm(arm, renamed) for arm in arms])
        for key, name in own:
            arm = FIRST if name in BASELINES else name.removesuffix(UTTERANCE_EMBEDDING)
            if then[arm] != key:
                raise ValueError(f"{ssl}, {name}: recorded as {key}, but it was {then[arm]}")
            found[ssl, key, name] = now[rename_arm(arm, renamed)]
    return found


def read(path: Path) -> Rows:
    """Reads the rows of a CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Rows) -> None:
    """Writes a CSV, complete or not at all."""
    write_atomic(path, csv_text(list(rows[0]), (row.values() for row in rows)))


def rename(rows: Rows, renames: Mapping[str, Mapping[str, str]]) -> Rows:
    """Renames cells and columns of rows."""
    columns = renames.get("", {})
    renamed = []
    for row in rows:
        cells = {name: renames.get(name, {}).get(cell, cell) for name, cell in row.items()}
        if "system" in row:
            cells["system"] = rename_arm(row["system"], renames.get("system", {}))
        renamed.append({columns.get(name, name): cell for name, cell in cells.items()})
    return renamed


def parse_renames(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Parses COLUMN:OLD=NEW of the command line to column -> old -> new."""
    renames: dict[str, dict[str, str]] = {}
    for text in texts:
        column, colon, rest = text.partition(":")
        old, equals, new = rest.partition("=")
        if not (colon and equals and old):
            raise SystemExit(f"--rename {text!r}: write COLUMN:OLD=NEW")
        renames.setdefault(column, {})[old] = new
    return renames


def main() -> None:
    """Replaces names and fingerprints in the records in place."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--since", required=True, help="git revision whose names the record has")
    parser.add_argument(
        "--rename",
        nargs="*",
        default=[],
        metavar="COLUMN:OLD=NEW",
        help="rename cells of a column, or with an empty COLUMN the column OLD itself",
    )
    args = parser.parse_args()
    renames = parse_renames(args.rename)
    pretrain = ROOT / RECORDS[0]
    rows = read(pretrain)
    with tempfile.TemporaryDirectory() as folder:
        check_out(args.since, Path(folder))
        keys = new_keys(
            rows,
            renames.get("system", {}),
            lambda ssl, arms: list_keys(Path(folder), ssl, arms),
            lambda ssl, arms: list_keys(ROOT, ssl, arms),
        )
    changed = [(row["ssl"], row["settings"], row["system"]) for row in rows]
    rows = [{**row, "settings": keys[run]} for row, run in zip(rows, changed, strict=True)]
    write(pretrain, rename(rows, renames))
    for record in RECORDS[1:]:
        write(ROOT / record, rename(read(ROOT / record), renames))
    others = sum(key != new for (_, key, _), new in keys.items())
    print(f"{RECORDS[0]}: {len(keys)} runs' settings, {others} with another fingerprint")


if __name__ == "__main__":
    main()
