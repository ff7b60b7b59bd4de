#!/usr/bin/env python3
"""Analyses the languages and speakers in an encoder's embeddings: tables, pictures, an audio map.

> python recipes/analysis/analyse.py results/pretrain/masr/1234 data/mini/csv/test.csv
> python recipes/analysis/analyse.py CHECKPOINT CSV --against OTHER_CHECKPOINT

The probe learns from `--labelled`, and the layer is chosen on `--valid`. Embeddings are kept in the
output folder: run the same command again to resume.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from encoder_analysis.clips import make_clips
from encoder_analysis.embeddings import embed_cached
from encoder_analysis.mantel import PERMUTATIONS
from encoder_analysis.measures import Languages, measure
from encoder_analysis.page import Points, write_page
from encoder_analysis.pictures import (
    draw_confusions,
    draw_distances,
    draw_map,
    draw_trees,
    save_picture,
)
from encoder_analysis.report import Findings, as_json, as_markdown
from encoder_analysis.systems import System, look_at
from encoder_analysis.tsne import MOST_POINTS, choose_evenly, project
from encoder_analysis.utterances import Utterances, check_analysable, read_utterances

from masr_modules.config.files import write_atomic
from masr_modules.encoders.pretrained import PretrainedEncoder, load_encoder
from masr_modules.knowledge.language_distances import DISTANCE_KINDS
from masr_modules.metrics.embeddings import LabelledEmbeddings
from masr_modules.metrics.probes import NEIGHBOURS
from masr_modules.metrics.tables import replace_block


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parses the command line and fills in defaults."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("checkpoint", help="folder of a pretraining, or of its encoder")
    parser.add_argument("csv", type=Path, help="the utterances, such as data/mini/csv/test.csv")
    parser.add_argument("--against", help="another checkpoint, to compare with")
    parser.add_argument(
        "--data_root", help="folder of $data_root in the CSVs (default: parent of the CSV's folder)"
    )
    parser.add_argument(
        "--labelled", type=Path, help="CSV that the probe learns from (default: labelled.csv)"
    )
    parser.add_argument(
        "--valid", type=Path, help="CSV on which the layer is chosen (default: valid.csv)"
    )
    parser.add_argument(
        "--output_folder", type=Path, help="folder to write (default: results/analysis/NAME)"
    )
    parser.add_argument("--probe", choices=("knn", "linear"), default="knn")
    parser.add_argument(
        "--layer", type=int, help="layer to analyse, 0 is the front end (default: the probe's best)"
    )
    parser.add_argument(
        "--kinds", nargs="+", choices=DISTANCE_KINDS, default=["genetic", "geographic", "featural"]
    )
    parser.add_argument("--neighbours", type=int, default=NEIGHBOURS)
    parser.add_argument("--permutations", type=int, default=PERMUTATIONS)
    parser.add_argument(
        "--points", type=int, default=MOST_POINTS, help="largest number of points of the map"
    )
    parser.add_argument(
        "--clips", type=int, default=200, help="largest number of points that play audio"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--readme", type=Path, help="file whose block <!-- analysis --> gets the tables"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    for name in ("neighbours", "permutations", "points"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1")
    args.data_root = args.data_root or str(args.csv.parent.parent)
    args.labelled = args.labelled or args.csv.with_name("labelled.csv")
    args.valid = args.valid or args.csv.with_name("valid.csv")
    for name in ("csv", "labelled", "valid"):
        if not getattr(args, name).is_file():
            parser.error(f"{getattr(args, name)}: no such file; give another --{name}")
    return args


def load_systems(args: argparse.Namespace) -> dict[str, PretrainedEncoder]:
    """Loads the encoders by name: the other checkpoint's, where one is given, then this one's."""
    found = {}
    for source in filter(None, (args.against, args.checkpoint)):
        loaded = load_encoder(source)
        loaded.encoder.eval().to(args.device)
        name = loaded.facts.get("system") or Path(source).name
        found[name if name not in found else f"{name} (2)"] = loaded
    return found


def embed_all(
    args: argparse.Namespace, encoders: dict[str, PretrainedEncoder]
) -> tuple[dict[str, System], Utterances, np.ndarray]:
    """Embeds the CSVs; returns the systems, readable utterances and languages of the probe."""
    csvs = {"labelled": args.labelled, "valid": args.valid, "test": args.csv}
    read = {split: read_utterances(path, args.data_root) for split, path in csvs.items()}
    systems = {}
    for name, loaded in encoders.items():
        splits = {}
        for split, utterances in read.items():
            title, folder = f"{name}, {csvs[split].name}", args.output_folder / "embeddings"
            layers, kept = embed_cached(loaded, utterances, folder, args.device, title)
            check_analysable(kept, csvs[split])
            splits[split] = LabelledEmbeddings.of(layers, kept.rows)
        systems[name] = look_at(name, splits, args.probe, args.layer)
    return systems, kept, splits["labelled"]["label"]


def analyse(args: argparse.Namespace) -> Findings:
    """Embeds the utterances and measures every encoder."""
    encoders = load_systems(args)
    if args.output_folder is None:
        name = " against ".join(reversed(encoders)) + f" {args.csv.stem}"
        args.output_folder = Path("results/analysis") / name.replace(" ", "_").replace("/", "_")
    systems, utterances, predictable = embed_all(args, encoders)
    languages = Languages.of(utterances.column("language"), predictable, args.kinds)
    settings = (args.kinds, args.permutations, args.neighbours, args.seed)
    measured = {
        name: (system, measure(system, utterances, languages, *settings))
        for name, system in systems.items()
    }
    return Findings(str(args.csv), args.probe, utterances, languages, measured)


def draw(args: argparse.Namespace, found: Findings) -> None:
    """Draws the pictures of all systems, and writes the page of the last."""
    folder, codes, group_of = args.output_folder, found.languages.codes, found.languages.coloured
    matrices = {name: measured.confusion for name, (_, measured) in found.systems.items()}
    save_picture(draw_confusions(matrices, codes, group_of), folder / "confusion")
    chosen = choose_evenly(found.utterances.column("language"), args.points)
    for place, (name, (system, measured)) in enumerate(found.systems.items(), 1):
        ending = "" if place == len(found.systems) else "_against"
        kinds = {kind: found.languages.distances[kind] for kind in args.kinds}
        figure = draw_distances(
            measured.centroids, kinds, measured.correlations, codes, group_of, name
        )
        save_picture(figure, folder / f"distances{ending}")
        if measured.trees:
            placed = [c for c, there in zip(codes, found.languages.placed, strict=True) if there]
            figure = draw_trees(measured.trees, placed, group_of, name)
            save_picture(figure, folder / f"trees{ending}")
        places = project(system.points[chosen], args.seed)
        save_picture(
            draw_map(places, system.truth[chosen], group_of, name), folder / f"map{ending}"
        )
    listen(args, found, name, places, chosen)


def listen(
    args: argparse.Namespace, found: Findings, name: str, places: np.ndarray, chosen: np.ndarray
) -> None:
    """Writes the page of the map, whose points play audio."""
    ids = np.array(list(found.utterances.rows))[chosen]
    rows = {utterance: found.utterances.rows[utterance] for utterance in ids.tolist()}
    languages = np.array([row["language"] for row in rows.values()])
    sounding = choose_evenly(languages, args.clips) if args.clips > 0 else []
    group_of = found.languages.coloured
    points = Points(
        places,
        list(rows),
        [row["wav"].removeprefix(args.data_root).lstrip("/") for row in rows.values()],
        languages.tolist(),
        [row.get("speaker") or "" for row in rows.values()],
        [group_of[language] for language in languages],
    )
    clips = make_clips({utterance: rows[utterance] for utterance in ids[sounding].tolist()})
    title = f"{name} on {args.csv.name}"
    write_page(args.output_folder / "map.html", title, points, clips, [*group_of.values()])


def main(arguments: list[str]) -> None:
    """Analyses the encoders, and writes and prints the results."""
    args = parse(arguments)
    found = analyse(args)
    text = as_markdown(found)
    write_atomic(args.output_folder / "analysis.md", text)
    write_atomic(args.output_folder / "analysis.json", json.dumps(as_json(found), indent=1) + "\n")
    print(text)
    if args.readme:
        replace_block(args.readme, "analysis", text.partition("\n")[2].replace("\n## ", "\n### "))
    draw(args, found)
    print(f"Pictures and map.html, the map that plays audio: {args.output_folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
