#!/usr/bin/env python3
"""Finds HuBERT's units by k-means over frames of the training set.

> python recipes/pretrain/kmeans.py hparams/pretrain_hubert.yaml

The frames of HuBERT's first iteration are MFCC. Those of the second are a layer of a model that was
trained before: `--teacher_checkpoint .../CKPT... --teacher_layer 2 --centroids units2.npz`.
An interrupted run resumes when the same command is given again; a complete one is not repeated.
"""

import functools
import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from torch.utils.data import DataLoader
from tqdm import tqdm

from masr_modules.config.command_line import parse_arguments
from masr_modules.config.files import write_atomic
from masr_modules.config.settings import load_settings
from masr_modules.data.audio_check import drop_unreadable, name_left_out
from masr_modules.data.corpus import load_corpora
from masr_modules.data.dataio import length_sorted_batches, make_dataset, utterance_seed
from masr_modules.encoders.pooling import valid_frames
from masr_modules.training.experiment import run_preparation
from masr_modules.training.loading import collate
from masr_modules.training.starter import end_with_starter


def plan_of(hparams: dict, rows: dict) -> dict:
    """Lists everything that frames and units depend on; another plan needs other frames."""
    extract = hparams["ssl"].unit_features
    durations = {utterance: row["duration"] for utterance, row in rows.items()}
    plan = {
        "features": extract.name,
        "frame_samples": extract.frame_samples,
        "utterances": hashlib.sha256(json.dumps(durations).encode()).hexdigest(),
        "max_frames": hparams["kmeans_frames"],
        "max_crop_seconds": hparams["max_crop_seconds"],
        "seed": hparams["kmeans_seed"],
        "units": hparams["num_units"],
    }
    if "kmeans" in hparams:
        plan["kmeans"] = hparams["kmeans"].keywords
    return plan


def open_folder(folder: Path, plan: dict) -> None:
    """Keeps the frames of an interrupted run of the same plan, and removes others."""
    file = folder / "plan.json"
    if folder.is_dir() and not (file.is_file() and json.loads(file.read_text()) == plan):
        print(f"{folder}: removing frames of other settings")
        shutil.rmtree(folder)
    write_atomic(file, json.dumps(plan, indent=1))


def choose_frames(features, lens, utterances, share: float, seed: int) -> np.ndarray:
    """Draws a fraction of each utterance's valid frames by the utterance's own seed."""
    valid = valid_frames(lens, features.shape[1]).cpu().numpy()
    for row, utterance in zip(valid, utterances, strict=True):
        row &= np.random.default_rng(utterance_seed(seed, 0, utterance)).random(len(row)) < share
    return features.float().cpu().numpy()[valid]


def dump_frames(hparams: dict, rows: dict, folder: Path, device: str) -> list[Path]:
    """Writes one file of frames per batch, and keeps existing files."""
    extract = hparams["ssl"].unit_features.to(device).eval()
    crop = hparams["max_crop_seconds"]
    lengths = {u: {"duration": min(row["duration"], crop)} for u, row in rows.items()}
    seconds = sum(row["duration"] for row in lengths.values())
    frames = seconds * hparams["sample_rate"] / extract.frame_samples
    share = hparams["kmeans_frames"] / frames
    batches = length_sorted_batches(lengths, hparams["max_batch_seconds"])
    files = [folder / f"{i:06}.npy" for i in range(len(batches))]
    missing = [i for i, file in enumerate(files) if not file.is_file()]
    seed = hparams["kmeans_seed"]
    dataset = make_dataset(rows, hparams["sample_rate"], crop, seed, tolerant=True)
    loader = DataLoader(dataset, batch_sampler=[batches[i] for i in missing], collate_fn=collate)
    unreadable: dict[str, str] = {}
    for i, batch in zip(missing, tqdm(loader, "frames"), strict=True):
        unreadable |= batch.unreadable
        wavs, lens = batch.sig
        features, frame_lens = extract(wavs.to(device), lens.to(device))
        part = files[i].with_suffix(".part")
        with part.open("wb") as file:
            np.save(
                file,
                choose_frames(features, frame_lens, batch.id, share, seed),
            )
        part.replace(files[i])
    name_left_out(rows, unreadable, hparams["max_unreadable"])
    return files


#: The clustering for a YAML without the key `kmeans`.
KMEANS = functools.partial(MiniBatchKMeans, batch_size=10_000, n_init=5, max_no_improvement=50)


def cluster(frames: np.ndarray, num_units: int, seed: int, make=KMEANS) -> MiniBatchKMeans:
    """Clusters frames by k-means in mini-batches."""
    if len(frames) < num_units:
        raise ValueError(
            f"{len(frames)} frames cannot give {num_units} units: lower num_units or raise "
            "kmeans_frames"
        )
    return make(num_units, random_state=seed).fit(frames)


def main(arguments: list[str]) -> None:
    """Runs the recipe: data, frames, clusters, file."""
    end_with_starter()
    path, run_opts, overrides = parse_arguments(arguments)
    hparams = load_settings(path, overrides)
    run_preparation(hparams)
    rows = load_corpora(hparams["train_csv"], hparams["data_folder"])
    rows = drop_unreadable(rows, hparams["max_unreadable"])
    plan, target = plan_of(hparams, rows), Path(hparams["centroids"])
    if target.is_file():
        with np.load(target, allow_pickle=False) as file:
            if json.loads(str(file["plan"])) == plan:
                print(f"{target}: is there already; nothing to do")
                return
    folder = target.with_suffix(".frames")
    open_folder(folder, plan)
    files = dump_frames(hparams, rows, folder, run_opts.get("device", "cpu"))
    frames = np.concatenate([np.load(file, allow_pickle=False) for file in files])
    kmeans = cluster(frames, plan["units"], plan["seed"], hparams.get("kmeans", KMEANS))
    used = len(np.unique(kmeans.labels_))
    explained = 1 - kmeans.inertia_ / ((frames - frames.mean(axis=0)) ** 2).sum()
    part = target.with_suffix(".part.npz")
    centroids = kmeans.cluster_centers_.astype(np.float32)
    np.savez(part, centroids=centroids, features=plan["features"], plan=json.dumps(plan))
    part.replace(target)
    shutil.rmtree(folder)
    print(
        f"{target}: {used} of {plan['units']} units in use on {len(frames)} frames of "
        f"{plan['features']}, {100 * explained:.1f} % of their variance explained"
    )


if __name__ == "__main__":
    with torch.no_grad():
        main(sys.argv[1:])
