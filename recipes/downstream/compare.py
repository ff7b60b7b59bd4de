#!/usr/bin/env python3
"""Trains all tasks on a corpus, with several encoders, frozen and fine-tuned, and prints one table.

> python recipes/downstream/compare.py --encoders MASR=results/pretrain/masr/1234
> python recipes/downstream/compare.py --jobs 2 --encoders \\
>     "SSL only=results/compare/SSL_only/KEY/1234" LASR=results/compare/LASR/KEY/1234 \\
>     MASR=results/compare/MASR/KEY/1234
> python recipes/downstream/compare.py --corpus debian --seeds 1234 1235 \\
>     --encoders @results/compare_debian/encoders.txt

A task is a recipe whose train.py has a `TASK` with a `mini_yaml`; on another corpus, tasks that
have a YAML for it run. `{seed}` in an encoder's folder stands for the run's seed; @FILE has an
encoder on each line, as study/run.py writes it. The first encoder is compared untrained too, unless
`--no-untrained` is given. A complete run is not repeated, and an interrupted one resumes. The
results go to runs.csv of the output folder, or to --record: the repository's is
recipes/downstream/runs.csv, and recipes/study/tables.py puts its tables into the documents. Options
after `--` go to every run.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

from masr_modules.config.command_line import parse_arguments
from masr_modules.config.files import write_atomic
from masr_modules.config.provenance import check_same, facts_of
from masr_modules.config.settings import resolve_settings
from masr_modules.downstream.tables import (
    DownstreamRun,
    downstream_record,
    joint_table,
    recorded_metrics,
    task_table,
)
from masr_modules.downstream.task import Task, find_tasks
from masr_modules.training.experiment import prepare_corpus
from masr_modules.training.starter import STARTER_LOCK, hold, run_child

RECIPES = Path(__file__).parents[1]
HPARAMS = RECIPES.parent / "hparams"
MODES = {"frozen": "true", "fine-tuned": "false"}


def yaml_of(task: Task, corpus: str) -> Path:
    """Returns a task's YAML: mini_NAME.yaml for the synthetic corpus, else CORPUS_NAME.yaml."""
    name = task.mini_yaml
    return HPARAMS / (name if corpus == "mini" else f"{corpus}_{name.removeprefix('mini_')}")


def folder_of(run: DownstreamRun, root: Path) -> Path:
    """Returns the folder to which a run writes."""
    return root / run.task / run.row.replace(", ", "_").replace(" ", "_") / str(run.seed)


def train(
    run: DownstreamRun, task: Task, source: str, root: Path, threads: int, extra: list[str]
) -> None:
    """Trains and tests, unless results are there; refuses results of other settings or data."""
    folder = folder_of(run, root)
    settings = {
        "pretrained": source.replace("{seed}", str(run.seed)),
        "random_init": str(run.encoder == "untrained").lower(),
        "freeze": MODES[run.tuning],
        "system": run.encoder,
        "seed": run.seed,
        "output_folder": folder,
    }
    overrides = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
    yaml = str(yaml_of(task, run.corpus))
    if (folder / "results.json").is_file():
        path, _, changes = parse_arguments([yaml, *overrides, *extra])
        check_same(folder, facts_of(resolve_settings(path, changes)))
        return
    command = [sys.executable, str(RECIPES / run.task / "train.py"), yaml, *overrides]
    hold(folder / STARTER_LOCK)
    print(f"{run.task}: {run.row}, seed {run.seed}: {folder}/output.txt", flush=True)
    with open(folder / "output.txt", "w") as log:
        done = run_child(
            [*command, *extra],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
    if done.returncode:
        raise RuntimeError(f"{run.task}, {run.row} failed: see {folder}/output.txt")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parses the command line, with `encoders` as a dict and `tasks` as a list of Task."""
    tasks = find_tasks(RECIPES)
    about = __doc__.split("\n\n")[0]
    parser = argparse.ArgumentParser(description=about, fromfile_prefix_chars="@")
    parser.add_argument(
        "--corpus", default="mini", help="corpus of the tasks' YAMLs, such as CORPUS_asr.yaml"
    )
    parser.add_argument(
        "--encoders",
        nargs="+",
        required=True,
        metavar="NAME=FOLDER",
        help="encoders to compare; {seed} in FOLDER stands for the run's seed",
    )
    parser.add_argument(
        "--untrained",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compare the first encoder without its training too (default: yes)",
    )
    parser.add_argument("--tasks", nargs="+", choices=list(tasks), default=list(tasks))
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1234], help="seeds of the runs")
    parser.add_argument(
        "--output_folder", type=Path, help="folder to write (default: results/downstream[_CORPUS])"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, help="number of runs at a time, which share the cores evenly"
    )
    parser.add_argument(
        "--record", type=Path, help="CSV of all runs' results (default: OUTPUT_FOLDER/runs.csv)"
    )
    parser.add_argument("overrides", nargs="*", help="options after --, passed to every run")
    args = parser.parse_args(arguments)
    for text in args.encoders:
        if "=" not in text or text.startswith("="):
            parser.error(f"--encoders takes NAME=FOLDER, got {text!r}")
    args.tasks = [tasks[name] for name in tasks if name in args.tasks]
    args.tasks = [task for task in args.tasks if yaml_of(task, args.corpus).is_file()]
    if not args.tasks:
        parser.error(f"--corpus {args.corpus}: no task asked for has a YAML for it in {HPARAMS}")
    args.encoders = dict(text.split("=", 1) for text in args.encoders)
    if args.untrained:
        args.encoders = {"untrained": next(iter(args.encoders.values())), **args.encoders}
    suffix = "" if args.corpus == "mini" else f"_{args.corpus}"
    args.output_folder = args.output_folder or Path(f"results/downstream{suffix}")
    return args


def main(arguments: list[str] | None = None) -> None:
    """Does the runs that are missing, then prints and saves the tables."""
    args = parse(arguments)
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    for task in args.tasks:
        prepare_corpus([str(yaml_of(task, args.corpus)), "--pretrained", "", *args.overrides])
    runs = [
        (DownstreamRun(args.corpus, task.name, encoder, mode, seed), task)
        for mode, task, encoder, seed in product(args.modes, args.tasks, args.encoders, args.seeds)
    ]
    root = args.output_folder
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = [
            pool.submit(train, run, task, args.encoders[run.encoder], root, threads, args.overrides)
            for run, task in runs
        ]
    for future in futures:
        future.result()
    record = downstream_record(args.record or root / "runs.csv")
    for run, task in runs:
        results = json.loads((folder_of(run, root) / "results.json").read_text(encoding="utf-8"))
        record.add(run, recorded_metrics(results, task.chance(results)), if_recorded="replace")
    table = joint_table(record, args.corpus, args.tasks)
    print(f"\nTest sets of {args.corpus}, seeds {args.seeds}:\n\n{table}")
    write_atomic(root / "results.md", table + "\n")
    for task in args.tasks:
        write_atomic(root / f"{task.name}.md", task_table(record, args.corpus, task) + "\n")


if __name__ == "__main__":
    main()
