"""A tiny VoxCeleb 1 and 2 in the layout of the releases."""

from itertools import product
from pathlib import Path

import av
import numpy as np
from trees import read_splits, write_lines, write_wav

from data_prep.voxceleb_prepare import prepare_voxceleb

#: Speaker -> gender, nationality, set. VoxCeleb1 as in vox1_meta.csv.
SPEAKERS_1 = {
    "id10001": ("m", "Ireland", "dev"),
    "id10002": ("f", "USA", "dev"),
    "id10003": ("m", "UK", "dev"),
    "id10004": ("f", "Trinidad and Tobago", "dev"),
    "id10270": ("m", "South Korea", "test"),
    "id10271": ("f", "India", "test"),
}
SPEAKERS_2 = {
    "id00012": ("m", "dev"),
    "id00015": ("f", "dev"),
    "id00016": ("m", "dev"),
    "id00017": ("f", "test"),
}
VIDEOS = ("-7gWzIy6yIIk"[:11], "a__b--c_d-e")  # names may hold dashes and underscores


def clip_files(speakers, clips=2):
    return [f"{s}/{v}/{c:05d}.wav" for s, v, c in product(speakers, VIDEOS, range(1, clips + 1))]


def trial_lines(speakers, clips=2):
    """Each clip against the first of its speaker and of the next one."""
    speakers, lines = list(speakers), []
    for place, speaker in enumerate(speakers):
        own, other = (clip_files([s], clips) for s in (speaker, speakers[place - 1]))
        lines += [f"1 {own[0]} {file}" for file in own[1:]]
        lines += [f"0 {other[0]} {file}" for file in own]
    return lines


def split_lines(speakers):
    """The split for identification: a clip trains, one of its video validates, two are tested."""
    return [
        f"{code} {file}"
        for speaker in speakers
        for code, file in zip("1233", clip_files([speaker]), strict=True)
    ]


def voxceleb1_tree(root, seconds=0.2):
    root = Path(root)
    for number, file in enumerate(clip_files(SPEAKERS_1)):
        write_wav(root / "wav" / file, seconds, seed=number)
    lines = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"]
    lines += [f"{s}\tName_{s}\t{g}\t{n}\t{side}" for s, (g, n, side) in SPEAKERS_1.items()]
    write_lines(root / "meta/vox1_meta.csv", lines)
    for name in ("veri_test.txt", "veri_test2.txt"):
        write_lines(root / "meta" / name, trial_lines(["id10270", "id10271"]))
    for name in ("list_test_all", "list_test_hard"):
        lines = trial_lines(SPEAKERS_1)
        write_lines(root / f"meta/{name}.txt", lines)
        write_lines(root / f"meta/{name}2.txt", lines[:-2])  # cleaned
    write_lines(root / "meta/iden_split.txt", split_lines(SPEAKERS_1))
    return root


def voxceleb2_tree(root, seconds=0.2, folder="dev/wav"):
    root = Path(root)
    for number, file in enumerate(clip_files(SPEAKERS_2)):
        write_wav(root / folder / file, seconds, seed=100 + number)
    lines = ["VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set"]
    lines += [f"{s} ,n000{s[2:]} ,{g} ,{side}" for s, (g, side) in SPEAKERS_2.items()]
    write_lines(root / "meta/vox2_meta.csv", lines)
    return root


def write_m4a(path, seconds=1.0, sample_rate=16000, options=None):
    """A tone as AAC."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.sin(2 * np.pi * 440 * np.arange(int(seconds * sample_rate)) / sample_rate)
    with av.open(str(path), "w", format="mp4", options=options or {}) as container:
        stream = container.add_stream("aac", rate=sample_rate, layout="mono")
        for block in np.array_split((0.5 * samples).astype(np.float32), len(samples) // 1000):
            frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
            frame.sample_rate = sample_rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def prepare(root, save_folder, **options):
    """Rows of each side, prepared."""
    prepare_voxceleb(str(root), str(save_folder), **options)
    return read_splits(save_folder)


def speakers(rows):
    """VoxCeleb's IDs of them."""
    return {row["speaker"].split("_")[1] for row in rows}
