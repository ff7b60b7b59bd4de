#!/usr/bin/env python3
"""Trains SSL-only, LASR, MASR and a cross-entropy head alike, and prints one table.

> python recipes/pretrain/compare.py --seeds 1234 1235 1236
> python recipes/pretrain/compare.py --study losses     # MASR's variants and other losses
> python recipes/pretrain/compare.py --ssl wav2vec2      # with another SSL method

Every run has the same seeds, batches, encoder and number of steps. A run that
is complete is not repeated, and an interrupted one resumes. What follows `--`
goes to every run: `... -- --number_of_steps 500`.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data_prep.mini_prepare import prepare_mini
from masr_modules.files import write_atomic
from masr_modules.results import format_table, replace_block

HEADS = "!new:masr_modules.pairwise.heads."
LOSSES = "!new:masr_modules.pairwise.losses."
SIZES = "!ref <d_model>, !ref <embedding_size>"
PER_SOURCE = (
    f"{HEADS}PerSourceHead [{{language: 1.0, speaker: 0.5, gender: 0.25}}, !ref <knowledge>, "
    f"!ref <loss>, {SIZES}, !ref <memory>]"
)
MEMORY = ["--memory", "!new:masr_modules.pairwise.memory.CrossBatchMemory [2048, 200]"]
KNOWLEDGE = ["--mining", "knowledge"]
HARDEST = ["--mining", "hardest"]

#: System -> what it overrides in the YAML. LASR is our reading of arXiv 2306.04374: one
#: identity, mined by embedding distance alone, constant margin; no other knowledge enters.
ARMS = {
    "SSL only": ["--masr_weight", "0"],
    "LASR": [*HARDEST, "--margin_mode", "constant"],
    "MASR": KNOWLEDGE,
    "cross-entropy": ["--head", f"{HEADS}ClassifierHead [[language], {SIZES}]"],
    "MASR, graded margin": [*KNOWLEDGE, "--margin_mode", "graded"],
    "MASR, memory": [*KNOWLEDGE, *MEMORY],
    "per source, hardest": ["--head", PER_SOURCE, *HARDEST],
    "per source": ["--head", PER_SOURCE, *KNOWLEDGE],
    "MultiSupCon": ["--loss", f"{LOSSES}MultiSupConLoss [0.1]"],
    "X-Sample": ["--loss", f"{LOSSES}XSampleLoss [0.1, 0.1]"],
    "multi-task cross-entropy": [
        "--head",
        f"{HEADS}ClassifierHead [[language, speaker, gender, emotion], {SIZES}]",
    ],
}
#: Cross-entropies start at ln(classes), hard mining at phi(m): weights that fit.
for name in ("cross-entropy", "multi-task cross-entropy", "MultiSupCon", "X-Sample"):
    ARMS[name] = [*ARMS[name], "--masr_weight", "1.0"]

#: Table -> its rows, and the name of its place in a README.
STUDIES = {
    "systems": list(ARMS)[:4],
    "losses": list(ARMS)[1:],
}
#: SSL method -> its YAML for the embedded corpus.
METHODS = {"best_rq": "masr.yaml"} | {
    name: f"pretrain_{name}.yaml" for name in ("wav2vec2", "w2v_bert", "hubert", "data2vec")
}
#: Rows that depend on the seed but not on the arm.
BASELINES = ("untrained", "log-mel statistics")
#: Of the embedded corpus, as in the YAMLs; made before the runs, which share it.
DATA_FOLDER = "data/mini"
RECIPE = Path(__file__).with_name("train.py")
HPARAMS = RECIPE.parents[2] / "hparams"


def folder_of(root: Path, system: str, seed: int) -> Path:
    """Where a run writes."""
    return root / system.replace(",", "").replace(" ", "_") / str(seed)


def find_units(yaml: str, extra: list[str]) -> None:
    """HuBERT's k-means, once for all runs; does nothing where it is done."""
    recipe = RECIPE.with_name("kmeans.py")
    subprocess.run([sys.executable, str(recipe), str(HPARAMS / yaml), *extra], check=True)


def run(yaml: str, system: str, seed: int, root: Path, threads: int, extra: list[str]) -> None:
    """Trains one system with one seed, unless its results are there."""
    folder = folder_of(root, system, seed)
    if (folder / "results.json").is_file():
        return
    command = [sys.executable, str(RECIPE), str(HPARAMS / yaml)]
    command += ["--seed", str(seed), "--output_folder", str(folder), "--system", system]
    folder.mkdir(parents=True, exist_ok=True)
    print(f"training {system}, seed {seed}: {folder}/output.txt", flush=True)
    with open(folder / "output.txt", "w") as log:
        done = subprocess.run(
            [*command, *ARMS[system], *extra],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
    if done.returncode:
        raise RuntimeError(f"{system}, seed {seed} failed: see {folder}/output.txt")


def collect(root: Path, systems: list[str], seeds: list[int]) -> dict[str, list[dict]]:
    """System -> the metrics of each seed, from the runs' results.json."""
    runs: dict[str, list[dict]] = {}
    for system in systems:
        for seed in seeds:
            results = json.loads((folder_of(root, system, seed) / "results.json").read_text())
            runs.setdefault(system, []).append(results[system])
            if system == systems[0]:
                for baseline in BASELINES:
                    runs.setdefault(baseline, []).append(results[baseline])
    return {name: runs[name] for name in [*systems, *BASELINES]}


def main() -> None:
    """Runs what is missing, then prints and saves the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--ssl", choices=list(METHODS), default="best_rq", help="SSL method")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1234])
    parser.add_argument("--study", choices=list(STUDIES), default="systems")
    parser.add_argument("--systems", nargs="+", choices=list(ARMS), help="rows; by default all")
    parser.add_argument("--output_folder", type=Path, help="by default results/compare[_SSL]")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, cores split evenly")
    parser.add_argument("--readme", nargs="*", default=[], help="files whose table to replace")
    parser.add_argument("overrides", nargs="*", help="after --: passed to every run")
    args = parser.parse_args()
    suffix = "" if args.ssl == "best_rq" else f"_{args.ssl}"
    root = args.output_folder or Path(f"results/compare{suffix}")
    systems = args.systems or STUDIES[args.study]
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    prepare_mini(DATA_FOLDER, f"{DATA_FOLDER}/csv")
    yaml = METHODS[args.ssl]
    if args.ssl == "hubert":
        find_units(yaml, args.overrides)
    arms = [(system, seed) for seed in args.seeds for system in systems]
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(run, yaml, *arm, root, threads, args.overrides) for arm in arms]
    for future in futures:
        future.result()
    table = format_table(collect(root, systems, args.seeds))
    print(f"\n{args.ssl}, unseen voices and sentences, seeds {args.seeds}:\n\n{table}")
    write_atomic(root / f"{args.study}.md", table + "\n")
    for readme in args.readme:
        replace_block(readme, f"pretrain-{args.study}{suffix}", table)


if __name__ == "__main__":
    main()
