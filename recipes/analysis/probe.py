#!/usr/bin/env python3
"""Probes frozen encoders, such as before and after training, for languages, speakers and emotions.

> python recipes/analysis/probe.py --data_root FOLDER --train train.csv --valid valid.csv \\
>     --test test.csv --encoders start=data/whisper_tiny_en "MASR=results/pretrain/w/{seed}" \\
>     --seeds 1 2 --output results/probes.json

The probes are those of pretraining's table: nearest neighbours and logistic regression learn from
`--train`, layers and strengths are chosen on `--valid`, and every metric is on `--test`. With
`{seed}` in an encoder's folder, its metrics are means over seeds. Differences are to the first
encoder; their 95 % intervals are over test speakers, for these encoders alone (seeds are fixed).
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from masr_modules.config.files import write_atomic
from masr_modules.data.audio_check import drop_undecodable
from masr_modules.data.corpus import load_csv
from masr_modules.encoders.pretrained import load_encoder
from masr_modules.metrics.embeddings import LabelledEmbeddings, embed
from masr_modules.metrics.intervals import Difference, paired_difference, pseudo_values
from masr_modules.metrics.probes import Evaluation, evaluate
from masr_modules.metrics.tables import align
from masr_modules.reporting.comparison import format_difference

#: Metric -> title, and label over whose values its mean is taken ("": none).
METRICS = {
    "linear": ("{} linear", "label"),
    "knn": ("{} kNN", "label"),
    "within_family": ("within family", "label"),
    "gender": ("gender", "gender"),
    "emotion": ("emotion", "emotion"),
    "speaker_eer": ("speaker EER", ""),
    "speaker_eer_within": ("speaker EER, same language and gender", ""),
}
#: Shorter utterances (seconds) are left out.
MIN_SECONDS = 0.4


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--encoders", nargs="+", required=True, help="NAME=FOLDER, with the start first"
    )
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[1234], help="values of {seed} in a FOLDER"
    )
    parser.add_argument("--data_root", required=True, help="folder that $data_root stands for")
    for split in ("train", "valid", "test"):
        parser.add_argument(f"--{split}", nargs="+", required=True, help=f"CSVs of the {split} set")
    parser.add_argument("--by", default="source", help="column whose values are probed separately")
    parser.add_argument(
        "--probe_column", default="language", help="label that kNN and linear probe predict"
    )
    parser.add_argument(
        "--most", type=int, default=3000, help="largest number of utterances of a value and split"
    )
    parser.add_argument(
        "--max_seconds", type=float, default=10.0, help="seconds of an utterance that are embedded"
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--output", type=Path, required=True, help="JSON to write; encoders in it are not repeated"
    )
    return parser.parse_args(arguments)


def read_groups(args: argparse.Namespace) -> dict[str, dict[str, dict]]:
    """Reads the rows by value of `--by` and split: at most `--most`, long enough, decodable."""
    groups: dict[str, dict[str, dict]] = {}
    for split in ("train", "valid", "test"):
        for path in getattr(args, split):
            for key, row in load_csv(path, args.data_root).items():
                if row["duration"] >= MIN_SECONDS:
                    group = groups.setdefault(row.get(args.by) or "all", {})
                    group.setdefault(split, {})[key] = row
    whole = {name: group for name, group in groups.items() if len(group) == 3}
    for name in groups.keys() - whole.keys():
        print(f"{name}: left out, as it is not in all of train, valid and test")
    for group in whole.values():
        for split, rows in group.items():
            keys = list(rows)
            at = np.unique(np.linspace(0, len(keys) - 1, min(len(keys), args.most)).astype(int))
            group[split] = drop_undecodable({keys[i]: rows[keys[i]] for i in at}, 0.01)
    return whole


def probe(
    source: str, groups: Mapping[str, Mapping[str, dict]], args: argparse.Namespace
) -> dict[str, Evaluation]:
    """Evaluates an encoder's probes for each value of `--by`."""
    loaded = load_encoder(source)
    encoder = loaded.encoder.eval().to(args.device)

    def encode(wavs: torch.Tensor, lens: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16"):
            return encoder(wavs, lens)

    found = {}
    for name, group in groups.items():
        splits = [
            LabelledEmbeddings.of(
                embed(
                    encode,
                    group[split],
                    loaded.sample_rate,
                    args.device,
                    max_seconds=args.max_seconds,
                    progressbar=True,
                ),
                group[split],
                args.probe_column,
            )
            for split in ("train", "valid", "test")
        ]
        labels = [column for column in ("label", "gender") if (splits[2][column] != "").any()]
        found[name] = evaluate(*splits, within=labels)
    return found


def differences(
    mine: list[dict], first: list[dict], metric: str, rows: Mapping[str, dict], label: str
) -> Difference:
    """Computes the difference of an encoder's results to the first encoder's, one for each seed.

    The EER's difference is of its jackknife pseudo-values. The interval of other metrics is over
    labels with at least two test speakers.
    """
    values = [
        {
            seed: pseudo_values(result["metrics"][metric], result["correct"][metric])
            if metric.startswith("speaker_eer")
            else np.array(result["correct"][metric], dtype=float)
            for seed, result in enumerate(results)
        }
        for results in (mine, first * len(mine) if len(first) == 1 else first)
    ]
    if metric.startswith("speaker_eer"):
        count = len(values[0][0])
        found = paired_difference(
            *values, [""] * count, [str(i) for i in range(count)], given_encoders=True
        )
    else:
        strata = [row.get(label) or "" for row in rows.values()]
        speakers = [row.get("speaker") or "" for row in rows.values()]
        heard: dict[str, set[str]] = {}
        for stratum, speaker in zip(strata, speakers, strict=True):
            heard.setdefault(stratum, set()).add(speaker)
        # One speaker has no spread, so labels with one count in the mean alone.
        several = np.array([len(heard[stratum]) > 1 for stratum in strata])
        if several.any():
            values = [
                {seed: np.where(several, value, np.nan) for seed, value in run.items()}
                for run in values
            ]
        found = paired_difference(*values, strata, speakers, given_encoders=True)
    mean = np.mean([r["metrics"][metric] for r in mine])
    mean -= np.mean([r["metrics"][metric] for r in first])
    return Difference(*(value + mean - found.mean for value in found))


def make_table(results: Mapping, groups: Mapping, probe_column: str) -> str:
    """Makes a table in Markdown with the metrics of each value and encoder, and their differences.

    Arguments
    ---------
    results : mapping
        Encoder -> seed -> value of `--by` -> {metrics, correct}.
    groups : mapping
        Rows, from `read_groups`.
    probe_column : str
        Label that kNN and linear probe predict.
    """
    body, used = [], []
    for metric in METRICS:
        if any(
            np.isfinite(r["metrics"].get(metric) or np.nan)
            for seeds in results.values()
            for group in seeds.values()
            for r in group.values()
        ):
            used.append(metric)
    first = next(iter(results))
    for name, group in groups.items():
        for encoder, seeds in results.items():
            runs = [seeds[seed][name] for seed in seeds]
            cells = []
            for metric in used:
                values = [run["metrics"].get(metric) for run in runs]
                if any(value is None or not np.isfinite(value) for value in values):
                    cells.append("")
                    continue
                cell = f"{100 * np.mean(values):.1f}"
                if encoder != first and metric in runs[0]["correct"]:
                    starts = [results[first][seed][name] for seed in results[first]]
                    label = METRICS[metric][1].replace("label", probe_column)
                    gap = differences(runs, starts, metric, group["test"], label)
                    cell += f" ({format_difference(gap, 'share')})"
                cells.append(cell)
            body.append([name, encoder, str(len(runs)), *cells])
    titles = [METRICS[metric][0].format(probe_column) for metric in used]
    return align(["corpus", "encoder", "seeds", *titles], body)


def main(arguments: list[str] | None = None) -> None:
    """Probes the encoders that are not in the output yet, then prints the table."""
    args = parse(arguments)
    groups = read_groups(args)
    done = json.loads(args.output.read_text(encoding="utf-8")) if args.output.is_file() else {}
    results: dict[str, dict] = {}
    for entry in args.encoders:
        name, _, folder = entry.partition("=")
        for seed in args.seeds if "{seed}" in folder else args.seeds[:1]:
            key = folder.format(seed=seed)
            if key not in done:
                print(f"{name}: {key}", flush=True)
                done[key] = {
                    group: {
                        "metrics": evaluation.metrics,
                        "layers": evaluation.layers,
                        "correct": {k: v.tolist() for k, v in evaluation.correct.items()},
                    }
                    for group, evaluation in probe(key, groups, args).items()
                }
                write_atomic(args.output, json.dumps(done) + "\n")
            results.setdefault(name, {})[seed] = done[key]
    print(make_table(results, groups, args.probe_column))


if __name__ == "__main__":
    main(sys.argv[1:])
