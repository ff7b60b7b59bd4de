#!/usr/bin/env python3
"""Trains systems alike, tests them on unseen voices and sentences, and says who is above whom.

> python recipes/pretrain/compare.py --seeds 1234 1235 1236
> python recipes/pretrain/compare.py --study partial --seeds 1234 1235    # most languages hidden
> python recipes/pretrain/compare.py --ssl wav2vec2                       # another SSL method
> python recipes/pretrain/compare.py --corpus debian --systems "SSL only" LASR MASR

Every run has the same seeds, batches, encoder and number of steps. What a run measured goes to
`recipes/pretrain/runs.csv`, with a fingerprint of its settings: a run that is there is not
repeated, and an interrupted one resumes. `encoders.txt` in the output folder, beside the tables,
names the encoders for recipes/downstream/compare.py. What follows `--` goes to every run:
`... -- --number_of_steps 500`.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from masr_modules.experiment import prepare_corpus
from masr_modules.files import write_atomic
from masr_modules.results import PRETRAIN_COLUMNS, format_table, replace_block
from masr_modules.runs import Runs, compare_table, fingerprint
from masr_modules.settings import load_settings

HEADS = "!new:masr_modules.pairwise.heads."
LOSSES = "!new:masr_modules.pairwise.losses."
PAIRWISE = "input_size: !ref 2 * <d_model>, embedding_size: !ref <embedding_size>"
SOURCES = f"sources: !ref <knowledge>, loss: !ref <loss>, {PAIRWISE}"
ONE_SPACE = f"{HEADS}MASRHead {{{SOURCES}}}"
PROTOTYPES = f"{HEADS}MASRHead {{{SOURCES}, prototypes: !ref <prototypes>}}"
HARD = ["--margin", "0.5", "--masr_weight", "2.5"]


def classifier(*columns: str, weight: float = 1.0) -> list[str]:
    """Cross-entropy on columns, its mean times the weight."""
    head = f"{HEADS}ClassifierHead {{columns: [{', '.join(columns)}], {PAIRWISE}}}"
    return ["--head", head, "--masr_weight", str(weight)]


def soft_labels(loss: str) -> list[str]:
    """Another loss on the batch's pairs."""
    return ["--head", ONE_SPACE, "--masr_weight", "1.0", "--loss", f"{LOSSES}{loss}"]


#: System -> what it overrides in the YAML. LASR is our reading of arXiv 2306.04374: one
#: identity, mined by embedding distance alone, constant margin; no other knowledge enters.
SYSTEMS = {
    "SSL only": classifier("language", weight=0),  # a head without weight is not there
    "LASR": ["--head", ONE_SPACE, "--mining", "hardest", "--knowledge_weight", "0", *HARD],
    "cross-entropy": classifier("language"),
    "multi-task cross-entropy": classifier("language", "speaker", "gender", "emotion", weight=2.0),
    "MASR": [],
}
VARIANTS = {
    "MASR, no knowledge in the mining": ["--knowledge_weight", "0"],
    "MASR, language alone": ["--head", PROTOTYPES],
    "MASR, all read the last layer": ["--layers", "{}"],
    "MASR, pairs of the batch": ["--prototypes", "null"],
    "LASR with knowledge": ["--head", ONE_SPACE, "--mining", "knowledge", *HARD],
    "MultiSupCon": soft_labels("MultiSupConLoss [0.1]"),
    "X-Sample": soft_labels("XSampleLoss [0.1, 0.1]"),
}
PERMUTED = ["--permuted_columns", "[speaker, gender, emotion, family, region]"]
#: With most languages hidden, family and region are what the knowledge has to offer.
HIDDEN = ["--hidden_labels", "{language: 0.9}"]
CONTROLS = {
    "MASR, permuted metadata": PERMUTED,
    "MASR, permuted metadata, 10 % of languages": [*PERMUTED, *HIDDEN],
    "MASR, no knowledge in the mining, 10 % of languages": ["--knowledge_weight", "0", *HIDDEN],
    "MASR, random similarities": [
        *("--knowledge", "[!new:masr_modules.knowledge.RandomSimilarity [language]]"),
    ],
}
#: Systems that can use a family and a region where the language is hidden, and those that cannot.
PARTIAL = ("SSL only", "LASR", "cross-entropy", "MASR")
PARTIAL_CLASSIFIER = "cross-entropy on language, family, region"
UNSEEN = ["cat", "nld", "slk", "kan"]
UNSEEN_SYSTEMS = (*SYSTEMS, "MASR, no knowledge in the mining")

#: Study -> its rows, each with what it overrides.
STUDIES = {
    "systems": SYSTEMS,
    "losses": VARIANTS,
    "controls": CONTROLS,
    **{
        f"partial{known}": {
            f"{name}, {known} % of languages": [*overrides, "--hidden_labels", hidden]
            for name, overrides in {
                **{name: SYSTEMS[name] for name in PARTIAL},
                PARTIAL_CLASSIFIER: classifier("language", "family", "region", weight=2.0),
            }.items()
        }
        for known, hidden in ((10, "{language: 0.9}"), (25, "{language: 0.75}"))
    },
    "unseen": {
        f"{name}, 4 languages unseen": [
            *((SYSTEMS | VARIANTS)[name]),
            *("--left_out", f"{{language: [{', '.join(UNSEEN)}]}}"),
        ]
        for name in UNSEEN_SYSTEMS
    },
}
ARMS = {name: arm for rows in STUDIES.values() for name, arm in rows.items()}

COLUMNS = (("seeds", "seeds", "count"), *PRETRAIN_COLUMNS)

#: SSL method -> its YAML for the embedded corpus.
METHODS = {"best_rq": "masr.yaml"} | {
    name: f"pretrain_{name}.yaml" for name in ("wav2vec2", "w2v_bert", "hubert", "data2vec")
}
#: Rows that train nothing: once a seed, beside the first system.
BASELINES = ("untrained", "log-mel statistics", "MFCC statistics")
RECIPE = Path(__file__).with_name("train.py")
RECORD = Path(__file__).with_name("runs.csv")
HPARAMS = RECIPE.parents[2] / "hparams"


def find_units(yaml: str, extra: list[str]) -> None:
    """HuBERT's k-means, once for all runs; does nothing where it is done."""
    recipe = RECIPE.with_name("kmeans.py")
    subprocess.run([sys.executable, str(recipe), str(HPARAMS / yaml), *extra], check=True)


class Study:
    """Runs of one SSL method that differ in system and seed.

    Arguments
    ---------
    ssl : str
        Key of METHODS.
    yaml : Path
        The experiment.
    root : Path
        Where runs write.
    runs : Runs
        The record.
    extra : list of str
        Overrides of every run.
    """

    def __init__(self, ssl: str, yaml: Path, root: Path, runs: Runs, extra: list[str]):
        self.ssl, self.yaml, self.root, self.runs, self.extra = ssl, yaml, root, runs, extra

    def key(self, system: str) -> str:
        """Fingerprint of the settings of a system, seed aside."""
        return fingerprint(self.yaml, [*ARMS[system], *self.extra])

    def folder(self, system: str, seed: int | str) -> Path:
        """Where a system with a seed writes."""
        name = system.replace(",", "").replace("%", "percent").replace(" ", "_")
        return self.root / name / self.key(system) / str(seed)

    def train(self, system: str, seed: int, threads: int) -> None:
        """Trains and tests one system with one seed, unless the record has it."""
        key = self.key(system)
        if self.runs.has(key, system, seed):
            return
        folder = self.folder(system, seed)
        command = [sys.executable, str(RECIPE), str(self.yaml)]
        command += ["--seed", str(seed), "--output_folder", str(folder), "--system", system]
        command += ["--baselines", str(system == next(iter(SYSTEMS))).lower()]
        folder.mkdir(parents=True, exist_ok=True)
        print(f"training {system}, seed {seed}: {folder}/output.txt", flush=True)
        with open(folder / "output.txt", "w") as log:
            done = subprocess.run(
                [*command, *ARMS[system], *self.extra],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            )
        if done.returncode:
            raise RuntimeError(f"{system}, seed {seed} failed: see {folder}/output.txt")
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        answers = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
        for row in (system, *BASELINES):
            if row in results:
                self.runs.add(key, self.ssl, row, seed, results[row], answers[row])

    def metrics(self, systems: list[str], seeds: list[int]) -> dict[str, list[dict]]:
        """System -> its metrics with each seed that the record has; baselines last."""
        first = self.key(next(iter(SYSTEMS)))
        rows = {system: (self.key(system), system) for system in systems}
        rows |= {baseline: (first, baseline) for baseline in BASELINES}
        found = {}
        for row, (key, name) in rows.items():
            there = [self.runs.metrics(key, name, s) for s in seeds if self.runs.has(key, name, s)]
            if there:
                found[row] = [there[0] | {"seeds": len(there)}, *there[1:]]
        return found


def main() -> None:
    """Runs what is missing, then prints and saves the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--ssl", choices=list(METHODS), default="best_rq", help="SSL method")
    parser.add_argument("--corpus", help="of hparams/pretrain_CORPUS.yaml; by default embedded")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1234])
    parser.add_argument("--study", choices=list(STUDIES), default="systems")
    parser.add_argument("--systems", nargs="+", choices=list(ARMS), help="rows; by default all")
    parser.add_argument(
        "--against",
        nargs="+",
        choices=[*ARMS, *BASELINES],
        default=[],
        help="systems that the last row is compared with, by paired bootstrap",
    )
    parser.add_argument("--output_folder", type=Path, help="by default results/compare[_SSL]")
    parser.add_argument("--record", type=Path, help="what all runs measured")
    parser.add_argument(
        "--recorded", action="store_true", help="train nothing; the tables of what is recorded"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, cores split evenly")
    parser.add_argument("--readme", nargs="*", default=[], help="files whose tables to replace")
    parser.add_argument("overrides", nargs="*", help="after --: passed to every run")
    args = parser.parse_args()
    if args.corpus and args.ssl != "best_rq":
        parser.error("--ssl is of the embedded corpus; of another, its YAML says which method")
    suffix = "" if args.ssl == "best_rq" else f"_{args.ssl}"
    suffix = f"_{args.corpus}" if args.corpus else suffix
    yaml = HPARAMS / (f"pretrain_{args.corpus}.yaml" if args.corpus else METHODS[args.ssl])
    root = args.output_folder or Path(f"results/compare{suffix}")
    record = args.record or (root / "runs.csv" if args.corpus else RECORD)
    systems = args.systems or list(STUDIES[args.study])
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    prepare_corpus([str(yaml), *args.overrides])
    if args.ssl == "hubert":
        find_units(METHODS["hubert"], args.overrides)
    study = Study(args.ssl, yaml, root, Runs(record), args.overrides)
    arms = [(system, seed) for seed in args.seeds for system in systems if not args.recorded]
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(study.train, *arm, threads) for arm in arms]
    for future in futures:
        future.result()
    encoders = "".join(f"{name}={study.folder(name, '{seed}')}\n" for name in systems)
    write_atomic(root / "encoders.txt", encoders)
    tables = {args.study: format_table(study.metrics(systems, args.seeds), COLUMNS)}
    if args.against:
        ours = (study.key(systems[-1]), systems[-1])
        first = study.key(next(iter(SYSTEMS)))
        others = [(first if n in BASELINES else study.key(n), n) for n in args.against]
        test_csv = load_settings(yaml, only=["test_csv"])["test_csv"]
        only = UNSEEN if args.study == "unseen" else None
        tables[f"{args.study}-gains"] = compare_table(study.runs, ours, others, test_csv, only)
    for name, table in tables.items():
        print(f"\n{yaml.stem}, {name}, test set, seeds {args.seeds}:\n\n{table}")
        write_atomic(root / f"{name}.md", table + "\n")
    for readme in args.readme:
        text = Path(readme).read_text(encoding="utf-8")
        blocks = {f"pretrain-{name}{suffix}": table for name, table in tables.items()}
        there = [block for block in blocks if f"<!-- {block} -->" in text]
        for block in there or blocks:  # without any, an error says what is missing
            replace_block(readme, block, blocks[block])


if __name__ == "__main__":
    main()
