"""Converts VoxCeleb2's .m4a files to 16 kHz WAV.

``…/aac/SPEAKER/VIDEO/CLIP.m4a`` becomes ``…/wav/SPEAKER/VIDEO/CLIP.wav``; the originals stay.
A file takes its name when it is complete, and clips that have a .wav in any folder are skipped: run
the same command again to resume. The WAV files of about 2 400 hours take 270 GB.

Example
-------
``python -m data_prep.voxceleb_convert --data_folder /corpora/voxceleb --num_workers 16``
"""

import argparse
import logging
import os
import sys
from multiprocessing import Pool

import numpy as np
from tqdm import tqdm

from data_prep.common.audio import save_wav
from data_prep.common.skips import SkipRegister
from data_prep.voxceleb.files import find_speakers, list_files, list_videos
from masr_modules.config.extras import extra
from masr_modules.data.headers import PADDING

with extra("prep"):
    import av

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16000


def decode(path: str) -> np.ndarray:
    """Decodes the first audio stream of a file.

    Arguments
    ---------
    path : str
        Path of a file in any format that FFmpeg's libraries read.

    Returns
    -------
    numpy.ndarray
        (time,) int16 samples at 16 kHz, mixed down to mono.

    Raises
    ------
    ValueError
        If the file has no audio or is broken.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    blocks = []
    if not os.path.isfile(path):
        raise ValueError("not a regular file")
    try:
        with av.open(path) as container:
            stream = container.streams.audio[0]
            promised = float((stream.duration or 0) * stream.time_base)
            for frame in container.decode(audio=0):
                blocks += resampler.resample(frame)
            blocks += resampler.resample(None)
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"cannot be decoded ({error})") from error
    if not blocks:
        raise ValueError("no samples")
    samples = np.concatenate([block.to_ndarray()[0] for block in blocks])
    if len(samples) / SAMPLE_RATE < promised - 2 * PADDING:
        raise ValueError(f"truncated: {len(samples) / SAMPLE_RATE:.2f} s of {promised:.2f} s")
    return samples


def convert(source: str, destination: str) -> None:
    """Converts a file, which takes its name when it is complete.

    Arguments
    ---------
    source : str
        Path of the .m4a file.
    destination : str
        Path of the .wav file.

    Raises
    ------
    ValueError
        If the file has no audio or is broken.
    """
    save_wav(destination, decode(source), SAMPLE_RATE)


def plan_conversion(data_folder: str, folders: list[str]) -> dict[str, str]:
    """Lists the files of a speaker that are not converted yet.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    folders : list of str
        The speaker's folders.

    Returns
    -------
    dict of str to str
        Path of each .m4a file without a .wav -> path of its .wav: in `wav` beside `aac`, or
        in the folder of the .m4a where that is not below `aac`.
    """
    jobs = {}
    for inside in list_videos(data_folder, folders).values():
        _, waiting = list_files(data_folder, inside)
        for file, *_ in waiting.values():
            *root, speaker, video, name = file.split("/")
            if root[-1:] == ["aac"]:
                root[-1] = "wav"
            wav = os.path.join(*root, speaker, video, name.removesuffix("m4a") + "wav")
            jobs[os.path.join(data_folder, file)] = os.path.join(data_folder, wav)
    return jobs


def _convert_speaker(jobs: dict[str, str]) -> tuple[int, list[tuple[str, str]]]:
    """Converts files; returns the number converted, and path and reason of each broken file."""
    broken = []
    for source, destination in jobs.items():
        try:
            convert(source, destination)
        except (ValueError, OSError) as error:
            broken.append((source, str(error)))
    return len(jobs) - len(broken), broken


def convert_voxceleb(data_folder: str, num_workers: int = 8, skip_limit: float = 0.01) -> None:
    """Converts all files that are not converted yet.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    num_workers : int
        Number of processes.
    skip_limit : float
        Largest fraction of files that may be broken.

    Raises
    ------
    ValueError
        If there is nothing to convert, or too many files are broken.
    """
    speakers = find_speakers(data_folder).values()
    jobs = [job for folders in speakers if (job := plan_conversion(data_folder, folders))]
    if not jobs:
        raise ValueError(f"{data_folder}: no .m4a file of a speaker waits to be converted")
    skips = SkipRegister(skip_limit)
    with Pool(num_workers) as pool:
        results = pool.imap_unordered(_convert_speaker, jobs)
        for count, broken in tqdm(results, "converting", len(jobs), unit="speaker"):
            skips.kept += count
            for path, reason in broken:
                skips.skip(reason, path)
    logger.info("%d files converted\n%s", skips.kept, skips.report())
    skips.check()


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data_folder", required=True, help="folder of the corpus")
    parser.add_argument(
        "--num_workers", type=int, default=8, help="number of processes (default: %(default)s)"
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        convert_voxceleb(**vars(parser.parse_args(arguments)))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
