"""Converts VoxCeleb2's .m4a files to 16 kHz WAV, once.

From ``…/aac/SPEAKER/VIDEO/CLIP.m4a`` to ``…/wav/SPEAKER/VIDEO/CLIP.wav``; the originals stay.
A speaker's folder takes its name when it is complete, and an interrupted run goes on with the
speakers that are not converted. About 2 400 hours of audio: 270 GB.

Example
-------
``python -m data_prep.voxceleb_convert --data_folder /corpora/voxceleb --num_workers 16``
"""

import argparse
import logging
import os
import shutil
import sys
from multiprocessing import Pool

import av
import numpy as np
import soundfile
from tqdm import tqdm

from data_prep.common.skips import SkipRegister
from data_prep.voxceleb.files import find_speakers

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16000


def decode(path: str) -> np.ndarray:
    """Decodes the first audio stream of a file.

    Arguments
    ---------
    path : str
        Any format that FFmpeg's libraries read.

    Returns
    -------
    numpy.ndarray
        (time,) int16 samples at 16 kHz, mixed down to mono.

    Raises
    ------
    ValueError
        If it has no audio or is broken.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    blocks = []
    try:
        with av.open(path) as container:
            for frame in container.decode(audio=0):
                blocks += resampler.resample(frame)
            blocks += resampler.resample(None)
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"cannot be decoded ({error})") from error
    if not blocks:
        raise ValueError("no samples")
    return np.concatenate([block.to_ndarray()[0] for block in blocks])


def convert_speaker(source: str, destination: str) -> tuple[int, list[tuple[str, str]]]:
    """Converts all of a speaker's files.

    Arguments
    ---------
    source : str
        The speaker's folder with .m4a files.
    destination : str
        The speaker's folder to make.

    Returns
    -------
    int
        Number of files converted.
    list of (str, str)
        File and reason of each that could not be.
    """
    parent, speaker = os.path.split(destination)
    temporary = os.path.join(parent, f".{speaker}.converting")
    shutil.rmtree(temporary, ignore_errors=True)  # of an interrupted run
    count, broken = 0, []
    for folder, _, names in sorted(os.walk(source)):
        for name in sorted(names):
            stem, extension = os.path.splitext(name)
            if name.startswith(".") or extension != ".m4a":
                continue
            path = os.path.join(folder, name)
            target = os.path.join(temporary, os.path.relpath(folder, source), f"{stem}.wav")
            try:
                samples = decode(path)
            except (ValueError, OSError) as error:
                broken.append((path, str(error)))
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            soundfile.write(target, samples, SAMPLE_RATE)
            count += 1
    os.makedirs(temporary, exist_ok=True)
    os.replace(temporary, destination)
    return count, broken


def _work(job: tuple[str, str]) -> tuple[int, list[tuple[str, str]]]:
    return convert_speaker(*job)


def convert_voxceleb(data_folder: str, num_workers: int = 8, skip_limit: float = 0.01) -> None:
    """Converts all that is not converted.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    num_workers : int
        Processes.
    skip_limit : float
        Largest share of broken files.

    Raises
    ------
    ValueError
        If there is nothing to convert, or too much is broken.
    """
    jobs = []
    for speaker, folders in find_speakers(data_folder).items():
        for folder in folders:
            above, kind = os.path.split(os.path.dirname(folder))
            if kind == "aac":
                wav = os.path.join(data_folder, above, "wav")
                os.makedirs(wav, exist_ok=True)
                jobs.append((os.path.join(data_folder, folder), os.path.join(wav, speaker)))
    if not jobs:
        raise ValueError(f"{data_folder}: no speaker in a folder aac waits to be converted")
    skips = SkipRegister(skip_limit)
    with Pool(num_workers) as pool:
        results = pool.imap_unordered(_work, jobs)
        for count, broken in tqdm(results, "converting", len(jobs), unit="speaker"):
            skips.kept += count
            for path, reason in broken:
                skips.skip(reason, path)
    logger.info("%d files converted\n%s", skips.kept, skips.report())
    skips.check()


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data_folder", required=True)
    parser.add_argument("--num_workers", type=int, default=8)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        convert_voxceleb(**vars(parser.parse_args(arguments)))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
