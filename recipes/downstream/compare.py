#!/usr/bin/env python3
"""All four tasks on the embedded corpus, with several encoders, frozen and fine-tuned; one table.

> python recipes/downstream/compare.py --encoders MASR=results/pretrain/masr/1234
> python recipes/downstream/compare.py --jobs 2 --readme README.md --encoders \\
>     "SSL only=results/compare/SSL_only/1234" LASR=results/compare/LASR/1234 \\
>     MASR=results/compare/MASR/1234

The untrained encoder goes along. A run that is complete is not repeated, and an
interrupted one resumes. What follows `--` goes to every run.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

from data_prep.mini_prepare import prepare_mini
from masr_modules.downstream.report import COLUMNS
from masr_modules.results import (
    KINDS,
    align,
    format_cell,
    format_table,
    replace_block,
    write_atomic,
)

RECIPES = Path(__file__).parents[1]
HPARAMS = RECIPES.parent / "hparams"
DATA_FOLDER = "data/mini"
#: Task -> its YAML for the embedded corpus, and its name in the joint table.
TASKS = {
    "language_id": ("mini_lid.yaml", "language: "),
    "asr": ("mini_asr.yaml", "speech: "),
    "emotion": ("mini_emotion.yaml", "emotion: "),
    "speaker": ("mini_speaker.yaml", "speaker: "),
}
MODES = {"frozen": "true", "fine-tuned": "false"}
AT_CHANCE = " †"
LEGEND = (
    "† no better than a guess that does not listen: within two standard errors of it, or worse."
)


class Run(NamedTuple):
    """One training."""

    task: str
    encoder: str
    mode: str
    seed: int

    @property
    def row(self) -> str:
        """Name of the table's row."""
        return f"{self.encoder}, {self.mode}"

    def folder(self, root: Path) -> Path:
        """Where it writes."""
        return root / self.task / self.row.replace(", ", "_").replace(" ", "_") / str(self.seed)

    def results(self, root: Path) -> dict:
        """Its results.json."""
        return json.loads((self.folder(root) / "results.json").read_text(encoding="utf-8"))


def train(run: Run, source: str, root: Path, threads: int, extra: list[str]) -> None:
    """Trains and tests, unless the results are there."""
    folder = run.folder(root)
    if (folder / "results.json").is_file():
        return
    settings = {
        "pretrained": source,
        "random_init": str(run.encoder == "untrained").lower(),
        "freeze": MODES[run.mode],
        "system": run.encoder,
        "seed": run.seed,
        "output_folder": folder,
    }
    command = [sys.executable, str(RECIPES / run.task / "train.py")]
    command.append(str(HPARAMS / TASKS[run.task][0]))
    command += [text for key, value in settings.items() for text in (f"--{key}", str(value))]
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{run.task}: {run.row}, seed {run.seed}: {folder}/output.txt", flush=True)
    with open(folder / "output.txt", "w") as log:
        done = subprocess.run(
            [*command, *extra],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
    if done.returncode:
        raise RuntimeError(f"{run.task}, {run.row} failed: see {folder}/output.txt")


def at_chance(task: str, results: list[dict]) -> bool:
    """Whether the mean of the seeds is within two standard errors of a blind guess, or worse.

    A blind guess has an accuracy of one class in all, an EER of 50 %, and writes nothing
    (a CER of 100 %, with two points of grace).
    """
    key = COLUMNS[task][0][1]
    mean = sum(result["figures"][key] for result in results) / len(results)
    if task == "asr":
        return mean > 0.98
    chance = 0.5 if task == "speaker" else 1 / results[0]["figures"]["classes"]
    error = (chance * (1 - chance) / results[0]["utterances"]) ** 0.5
    return mean > chance - 2 * error if task == "speaker" else mean < chance + 2 * error


def joint_table(runs: list[Run], root: Path) -> str:
    """The first figure of every task, a row an encoder and mode."""
    tasks = [task for task in TASKS if any(run.task == task for run in runs)]
    header, body = ["encoder", "tuning"], {}
    for task in tasks:
        title, _, kind = COLUMNS[task][0]
        header.append(TASKS[task][1] + title + KINDS[kind][2])
    for run in runs:
        body.setdefault((run.encoder, run.mode), {}).setdefault(run.task, []).append(run)
    lines = []
    for (encoder, mode), cells in body.items():
        line = [encoder, mode]
        for task in tasks:
            results = [run.results(root) for run in cells[task]]
            _, key, kind = COLUMNS[task][0]
            cell = format_cell([result["figures"][key] for result in results], kind)
            line.append(cell + (AT_CHANCE if at_chance(task, results) else ""))
        lines.append(line)
    return align(header, lines) + f"\n\n{LEGEND}"


def task_table(task: str, runs: list[Run], root: Path) -> str:
    """Every figure of a task, and the time that training took."""
    rows: dict[str, list[dict]] = {}
    for run in runs:
        if run.task == task:
            results = run.results(root)
            figures = results["figures"] | {"minutes": results["train_seconds"]}
            rows.setdefault(run.row, []).append(figures)
    return format_table(rows, [*COLUMNS[task], ("training", "minutes", "minutes")])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; `encoders` as a dict."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--encoders", nargs="+", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1234])
    parser.add_argument("--output_folder", type=Path, default=Path("results/downstream"))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, cores split evenly")
    parser.add_argument("--readme", nargs="*", default=[], help="files whose table to replace")
    parser.add_argument("overrides", nargs="*", help="after --: passed to every run")
    args = parser.parse_args(arguments)
    for text in args.encoders:
        if "=" not in text or text.startswith("="):
            parser.error(f"--encoders takes NAME=FOLDER, got {text!r}")
    args.encoders = dict(text.split("=", 1) for text in args.encoders)
    return args


def main(arguments: list[str] | None = None) -> None:
    """Runs what is missing, then prints and saves the tables."""
    args = parse(arguments)
    encoders = {"untrained": next(iter(args.encoders.values())), **args.encoders}
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    prepare_mini(DATA_FOLDER, f"{DATA_FOLDER}/csv")
    runs = [
        Run(task, encoder, mode, seed)
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
    print(f"\nUnseen voices and sentences, seeds {args.seeds}:\n\n{table}")
    write_atomic(args.output_folder / "results.md", table + "\n")
    for readme in args.readme:
        replace_block(readme, "downstream-results", table)
    for task in args.tasks:
        table = task_table(task, runs, args.output_folder)
        write_atomic(args.output_folder / f"{task}.md", table + "\n")
        if args.readme:
            replace_block(RECIPES / task / "README.md", f"{task}-results", table)


if __name__ == "__main__":
    main()
