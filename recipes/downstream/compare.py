#!/usr/bin/env python3
"""All tasks on a corpus, with several encoders, frozen and fine-tuned; one table.

> python recipes/downstream/compare.py --encoders MASR=results/pretrain/masr/1234
> python recipes/downstream/compare.py --jobs 2 --readme recipes/downstream/README.md --encoders \\
>     "SSL only=results/compare/SSL_only/KEY/1234" LASR=results/compare/LASR/KEY/1234 \\
>     MASR=results/compare/MASR/KEY/1234
> python recipes/downstream/compare.py --corpus debian --seeds 1234 1235 \\
>     --encoders @results/compare_debian/encoders.txt

A task is a recipe whose train.py has a `TASK` with a `mini_yaml`; on another corpus, those that
have a YAML for it. `{seed}` in an encoder's folder is the run's; @FILE has an encoder a line, as
study/run.py writes it. The untrained encoder goes along. A run that is complete is not
repeated, and an interrupted one resumes. What follows `--` goes to every run.
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

from masr_modules.downstream.task import Task
from masr_modules.experiment import prepare_corpus
from masr_modules.files import write_atomic
from masr_modules.provenance import check_same, facts_of
from masr_modules.results import align, column_title, format_cell, format_table, replace_block
from masr_modules.settings import parse_arguments, resolve_settings

RECIPES = Path(__file__).parents[1]
HPARAMS = RECIPES.parent / "hparams"
MODES = {"frozen": "true", "fine-tuned": "false"}
AT_CHANCE = " †"
LEGEND = (
    "† no better than a guess that does not listen: within two standard errors of it, or worse."
)


def yaml_of(task: Task, corpus: str) -> Path:
    """The task on a corpus: mini_NAME.yaml on the embedded one, CORPUS_NAME.yaml on another."""
    name = task.mini_yaml
    return HPARAMS / (name if corpus == "mini" else f"{corpus}_{name.removeprefix('mini_')}")


def find_tasks(recipes: Path = RECIPES) -> dict[str, Task]:
    """Name -> task of every recipe that is compared, in the order of the joint table.

    Arguments
    ---------
    recipes : Path
        A folder of recipes, NAME/train.py.

    Raises
    ------
    ValueError
        If a task is not called like the folder of its recipe.
    """
    tasks = []
    for path in sorted(recipes.glob("*/train.py")):
        task = runpy.run_path(str(path), run_name="recipe").get("TASK")
        if task is None or not task.mini_yaml:
            continue
        if task.name != path.parent.name:
            raise ValueError(f"{path}: its task is called {task.name!r}, unlike its folder")
        tasks.append(task)
    return {task.name: task for task in sorted(tasks, key=lambda task: task.place)}


class Run(NamedTuple):
    """One training."""

    corpus: str
    task: Task
    encoder: str
    mode: str
    seed: int

    @property
    def row(self) -> str:
        """Name of the table's row."""
        return f"{self.encoder}, {self.mode}"

    def folder(self, root: Path) -> Path:
        """Where it writes."""
        return (
            root / self.task.name / self.row.replace(", ", "_").replace(" ", "_") / str(self.seed)
        )

    def results(self, root: Path) -> dict:
        """Its results.json."""
        return json.loads((self.folder(root) / "results.json").read_text(encoding="utf-8"))


def train(run: Run, source: str, root: Path, threads: int, extra: list[str]) -> None:
    """Trains and tests, unless the results are there; those of another encoder are refused."""
    folder = run.folder(root)
    settings = {
        "pretrained": source.replace("{seed}", str(run.seed)),
        "random_init": str(run.encoder == "untrained").lower(),
        "freeze": MODES[run.mode],
        "system": run.encoder,
        "seed": run.seed,
        "output_folder": folder,
    }
    overrides = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
    yaml = str(yaml_of(run.task, run.corpus))
    if (folder / "results.json").is_file():
        path, _, changes = parse_arguments([yaml, *overrides, *extra])
        check_same(folder, facts_of(resolve_settings(path, changes)))
        return
    command = [sys.executable, str(RECIPES / run.task.name / "train.py"), yaml, *overrides]
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{run.task.name}: {run.row}, seed {run.seed}: {folder}/output.txt", flush=True)
    with open(folder / "output.txt", "w") as log:
        done = subprocess.run(
            [*command, *extra],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
    if done.returncode:
        raise RuntimeError(f"{run.task.name}, {run.row} failed: see {folder}/output.txt")


def joint_table(runs: list[Run], root: Path) -> str:
    """The first metric of every task, a row per encoder and mode."""
    tasks = {run.task.name: run.task for run in runs}
    header, body = ["encoder", "tuning"], {}
    for task in tasks.values():
        header.append(f"{task.prefix}: {column_title(task.first)}")
    for run in runs:
        body.setdefault((run.encoder, run.mode), {}).setdefault(run.task.name, []).append(run)
    lines = []
    for (encoder, mode), cells in body.items():
        line = [encoder, mode]
        for name, task in tasks.items():
            results = [run.results(root) for run in cells[name]]
            metrics = [result["metrics"][task.first.key] for result in results]
            mark = AT_CHANCE if task.at_chance(results) else ""
            line.append(format_cell(metrics, task.first.kind) + mark)
        lines.append(line)
    return align(header, lines) + f"\n\n{LEGEND}"


def task_table(task: Task, runs: list[Run], root: Path) -> str:
    """Every metric of a task, and the time that training took."""
    rows: dict[str, list[dict]] = {}
    for run in runs:
        if run.task.name == task.name:
            results = run.results(root)
            metrics = results["metrics"] | {"minutes": results["train_seconds"]}
            rows.setdefault(run.row, []).append(metrics)
    known = set().union(*(metrics for several in rows.values() for metrics in several))
    columns = [column for column in task.columns if column.key in known]
    return format_table(rows, [*columns, ("training", "minutes", "minutes")])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; `encoders` as a dict, `tasks` as a list of Task."""
    tasks = find_tasks()
    about = __doc__.split("\n\n")[0]
    parser = argparse.ArgumentParser(description=about, fromfile_prefix_chars="@")
    parser.add_argument("--corpus", default="mini", help="of the tasks' YAMLs: CORPUS_asr.yaml")
    parser.add_argument("--encoders", nargs="+", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--tasks", nargs="+", choices=list(tasks), default=list(tasks))
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1234])
    parser.add_argument("--output_folder", type=Path, help="by default results/downstream[_CORPUS]")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, cores split evenly")
    parser.add_argument(
        "--readme", nargs="*", help="replace the tasks' tables in their READMEs, all in files given"
    )
    parser.add_argument("overrides", nargs="*", help="after --: passed to every run")
    args = parser.parse_args(arguments)
    for text in args.encoders:
        if "=" not in text or text.startswith("="):
            parser.error(f"--encoders takes NAME=FOLDER, got {text!r}")
    args.tasks = [tasks[name] for name in tasks if name in args.tasks]
    args.tasks = [task for task in args.tasks if yaml_of(task, args.corpus).is_file()]
    if not args.tasks:
        parser.error(f"--corpus {args.corpus}: no task asked for has a YAML for it in {HPARAMS}")
    args.encoders = dict(text.split("=", 1) for text in args.encoders)
    suffix = "" if args.corpus == "mini" else f"_{args.corpus}"
    args.output_folder = args.output_folder or Path(f"results/downstream{suffix}")
    return args


def main(arguments: list[str] | None = None) -> None:
    """Runs what is missing, then prints and saves the tables."""
    args = parse(arguments)
    encoders = {"untrained": next(iter(args.encoders.values())), **args.encoders}
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    for task in args.tasks:
        prepare_corpus([str(yaml_of(task, args.corpus)), "--pretrained", "", *args.overrides])
    runs = [
        Run(args.corpus, task, encoder, mode, seed)
        for mode, task, encoder, seed in product(args.modes, args.tasks, encoders, args.seeds)
    ]
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = [
            pool.submit(
                train, run, encoders[run.encoder], args.output_folder, threads, args.overrides
            )
            for run in runs
        ]
    for future in futures:
        future.result()
    table = joint_table(runs, args.output_folder)
    print(f"\nTest sets of {args.corpus}, seeds {args.seeds}:\n\n{table}")
    write_atomic(args.output_folder / "results.md", table + "\n")
    prefix = "" if args.corpus == "mini" else f"{args.corpus}-"
    for readme in args.readme or ():
        replace_block(readme, f"{prefix}downstream-results", table)
    for task in args.tasks:
        table = task_table(task, runs, args.output_folder)
        write_atomic(args.output_folder / f"{task.name}.md", table + "\n")
        if args.readme is not None:
            readme = RECIPES / task.name / "README.md"
            replace_block(readme, f"{prefix}{task.name}-results", table)


if __name__ == "__main__":
    main()
