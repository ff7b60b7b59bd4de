#!/usr/bin/env python3
"""Trains the systems of a study under the same conditions, tests them, and compares them.

> python recipes/study/run.py                                   # MASR and its baselines
> python recipes/study/run.py --study partial10 --jobs 2        # most labels missing
> python recipes/study/run.py --study known --list              # runs recorded and missing
> python recipes/study/run.py --study wav2vec2 --jobs 2         # another SSL method
> python recipes/study/run.py --ssl hubert --seeds 1234         # a method without a study
> python recipes/study/run.py --corpus debian --systems "SSL only" LASR MASR

`studies.yaml`, beside this file, declares the studies. All systems have the same seeds, batches,
encoder and number of steps. A run's results go to `recipes/pretrain/runs.csv`, with a
fingerprint of its settings: a recorded run is not repeated, and an interrupted one resumes.
`encoders.txt` in the output folder, beside the tables, names the encoders for
recipes/downstream/compare.py. Options after `--` go to every run: `... -- --number_of_steps 500`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from ruamel.yaml import YAML

from masr_modules.config.command_line import parse_arguments
from masr_modules.config.files import write_atomic
from masr_modules.config.settings import resolve_settings
from masr_modules.data.corpus import load_corpora
from masr_modules.reporting.pretrain_record import (
    UTTERANCE_EMBEDDING,
    PretrainRun,
    extra_columns,
    load_labels,
    pretrain_record,
    save_labels,
)
from masr_modules.reporting.study import BASELINES, METHODS, PEERS, Comparison, Studies
from masr_modules.training.experiment import keep_per_speaker, prepare_corpus
from masr_modules.training.starter import STARTER_LOCK, hold, release, run_child

ROOT = Path(__file__).parents[2]
HPARAMS = ROOT / "hparams"
RECIPE = ROOT / "recipes/pretrain/train.py"
STUDIES = Studies(Path(__file__).with_name("studies.yaml"))


def prepare(yaml: Path, arms: list[str], extra: list[str]) -> None:
    """Makes the corpus, and the corpora of other hours on which arms train."""
    other = {arm: STUDIES.overrides(arm) for arm in arms if "csv_folder" in STUDIES.changes(arm)}
    for overrides in ([], *other.values()):
        prepare_corpus([str(yaml), *overrides, *extra])


def find_units(yaml: Path, extra: list[str]) -> None:
    """Finds HuBERT's units by k-means, once for all runs; a complete result is kept."""
    recipe = RECIPE.with_name("kmeans.py")
    run_child([sys.executable, str(recipe), str(yaml), *extra], check=True)


def keep_labels(yaml: Path, extra: list[str], path: Path) -> dict[str, dict[str, str]]:
    """Saves the labels of the test set beside the record, and returns them."""
    _, _, overrides = parse_arguments([str(yaml), *extra])
    settings = YAML().load(resolve_settings(yaml, overrides))
    rows = load_corpora(settings["test_csv"], settings["data_folder"])
    if settings.get("evaluated_per_speaker"):
        rows = keep_per_speaker(rows, settings["evaluated_per_speaker"])
    save_labels(rows, path, corpora=bool(settings.get("questions")))
    return load_labels(path)


class Training:
    """Runs that differ in arm and seed.

    Arguments
    ---------
    comparison : Comparison
        The arms, and the record.
    root : Path
        Folder to which runs write.
    threads : int
        Number of threads of each run.
    """

    def __init__(self, comparison: Comparison, root: Path, threads: int):
        self.comparison, self.root, self.threads = comparison, root, threads

    def folder(self, arm: str, seed: int | str) -> Path:
        """Returns the folder to which an arm with a seed writes."""
        name = arm.replace(",", "").replace("%", "percent").replace(" ", "_")
        return self.root / name / self.comparison.key(arm) / str(seed)

    def train(self, arm: str, seed: int) -> None:
        """Trains and tests one arm with one seed, unless the record has it."""
        if self.comparison.recorded(arm, [seed]):
            return
        folder = self.folder(arm, seed)
        command = [sys.executable, str(RECIPE), str(self.comparison.yaml)]
        command += ["--seed", str(seed), "--output_folder", str(folder), "--system", arm]
        command += ["--baselines", str(arm == STUDIES.first).lower()]
        hold(folder / STARTER_LOCK)
        self.reuse_encoder(arm, seed, folder)
        print(f"training {arm}, seed {seed}: {folder}/output.txt", flush=True)
        with open(folder / "output.txt", "w") as log:
            done = run_child(
                [*command, *STUDIES.overrides(arm), *self.comparison.extra],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": str(self.threads)},
            )
        if done.returncode:
            raise RuntimeError(f"{arm}, seed {seed} failed: see {folder}/output.txt")
        self.record(arm, seed, folder)
        release(folder / STARTER_LOCK)

    def reuse_encoder(self, arm: str, seed: int, folder: Path) -> None:
        """Copies the checkpoint of a finished run that trained the same encoder, if any."""
        if (folder / "save").is_dir():
            return
        alike = [name for name in STUDIES.arms if STUDIES.same_encoder(name, arm)]
        for other in (self.folder(name, seed) for name in alike if name != arm):
            if (other / "results.json").is_file() and (other / "save").is_dir():
                shutil.copytree(other / "save", folder / "copy", dirs_exist_ok=True)
                (folder / "copy").rename(folder / "save")
                return

    def record(self, arm: str, seed: int, folder: Path) -> None:
        """Enters a run's results into the record."""
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        correct = json.loads((folder / "correct.json").read_text(encoding="utf-8"))
        key, ssl, _ = self.comparison.system(arm)
        for row in (arm, arm + UTTERANCE_EMBEDDING, *BASELINES):
            if row in results:
                run, extra = PretrainRun(key, ssl, row, seed), extra_columns(correct[row])
                self.comparison.record.add(run, results[row], extra, if_recorded="skip")


def one_of(arms: Sequence[str]) -> Callable[[str], str]:
    """Returns an argument's type that accepts an arm; its error names the nearest arms."""

    def check(text: str) -> str:
        if text in arms:
            return text
        near = [repr(name) for name in get_close_matches(text, arms)]
        hint = f": did you mean {' or '.join(near)}?" if near else ", see --list"
        raise argparse.ArgumentTypeError(f"no study has {text!r}{hint}")

    return check


def parse() -> argparse.Namespace:
    """Parses the command line; the study gives the values that it leaves open."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--study", choices=list(STUDIES), default="systems")
    parser.add_argument(
        "--systems",
        nargs="+",
        type=one_of(STUDIES.arms),
        metavar="ARM",
        help="arms of any study (default: those of --study)",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", help="seeds of the runs (default: the study's)"
    )
    parser.add_argument(
        "--against",
        nargs="+",
        type=one_of([*STUDIES.arms, *BASELINES, *PEERS]),
        metavar="ARM",
        help="arms with which the last arm is compared (default: the study's)",
    )
    parser.add_argument("--ssl", choices=list(METHODS), help="SSL method (default: the study's)")
    parser.add_argument(
        "--corpus", help="corpus of hparams/pretrain_CORPUS.yaml (default: the synthetic one)"
    )
    parser.add_argument(
        "--output_folder",
        type=Path,
        help="folder to write (default: results/compare, with _CORPUS, _EXPERIMENT or _SSL)",
    )
    parser.add_argument("--record", type=Path, help="CSV of all runs' results")
    parser.add_argument("--list", action="store_true", help="list the runs, and train nothing")
    parser.add_argument(
        "--recorded", action="store_true", help="print the tables of recorded runs, train nothing"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, help="number of runs at a time, which share the cores evenly"
    )
    parser.add_argument("overrides", nargs="*", help="options after --, passed to every run")
    args = parser.parse_args()
    study = STUDIES[args.study]
    study = replace(study, ssl=args.ssl or study.ssl)
    args.ssl = study.ssl
    if args.corpus and args.ssl != "best_rq":
        parser.error(
            "--ssl is for the synthetic corpus; with --corpus, hparams/pretrain_CORPUS.yaml gives "
            "the method"
        )
    args.against = args.against or ([] if args.systems else study.against)
    args.systems, args.seeds = args.systems or study.arms, args.seeds or study.seeds
    if study.experiment and args.corpus:
        parser.error(f"--corpus: the study {args.study} has an experiment of its own")
    args.yaml = HPARAMS / (f"pretrain_{args.corpus}.yaml" if args.corpus else study.yaml)
    if not args.yaml.is_file():
        parser.error(f"--ssl {args.ssl}: the study {args.study} needs {args.yaml}: no such file")
    kind = args.corpus or study.kind
    suffix = f"_{kind}" if kind != "best_rq" else ""
    args.output_folder = args.output_folder or Path(f"results/compare{suffix}")
    own = args.output_folder / "runs.csv" if args.corpus else ROOT / study.record
    args.record = args.record or own
    return args


def main() -> None:
    """Does the runs that are missing, then prints and saves the tables."""
    args = parse()
    record = pretrain_record(args.record)
    comparison = Comparison(STUDIES, args.yaml, args.ssl, record, {}, args.overrides)
    arms = [(arm, seed) for seed in args.seeds for arm in args.systems]
    if args.list:
        for arm, seed in arms:
            state = "recorded" if comparison.recorded(arm, [seed]) else "missing"
            print(f"{comparison.key(arm)}/{seed}  {state:8}  {arm}")
        return
    labels = args.record.with_name("test_labels.csv")
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    training = Training(comparison, args.output_folder, threads)
    if args.recorded:
        comparison.labels = load_labels(labels) if labels.is_file() else {}
    else:
        prepare(args.yaml, args.systems, args.overrides)
        comparison.labels = keep_labels(args.yaml, args.overrides, labels)
        if args.ssl == "hubert":
            find_units(args.yaml, args.overrides)
        with ThreadPoolExecutor(args.jobs) as pool:
            futures = [pool.submit(training.train, *arm) for arm in arms]
        for future in futures:
            future.result()
    encoders = "".join(f"{arm}={training.folder(arm, '{seed}')}\n" for arm in args.systems)
    write_atomic(args.output_folder / "encoders.txt", encoders)
    tables = comparison.tables(STUDIES[args.study], args.systems, args.seeds, args.against)
    for name, table in tables.items():
        print(f"\n{args.yaml.stem}, {name}, test set, seeds {args.seeds}:\n\n{table}")
        write_atomic(args.output_folder / f"{name}.md", table + "\n")


if __name__ == "__main__":
    main()
