"""Speech files from eSpeak NG, made by worker processes.

The engine (GPL-3) runs in processes of its own (``espeak_worker.py``); this
module gives them jobs, resamples their speech and writes WAV files. Each
file has the key of its job in its header, by which a later run recognises
files that it need not make again.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import espeakng_loader
import numpy as np
import soundfile

from data_prep.common.audio import save_wav
from data_prep.mini.espeak_worker import SAMPLE_RATE as ENGINE_RATE

SAMPLE_RATE = 16000  # Hz, of the files
WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "espeak_worker.py")


@functools.cache
def engine_version() -> str:
    """Return the version of the packaged engine; other versions may sound different.

    Returns
    -------
    str
        The version of espeakng-loader.
    """
    return importlib.metadata.version("espeakng-loader")


def job_key(job: dict) -> str:
    """Compute a fingerprint of everything that a job's sound depends on.

    Arguments
    ---------
    job : dict
        A job for the worker.

    Returns
    -------
    str
        A hexadecimal digest.

    Example
    -------
    >>> len(job_key({"id": "a", "voice": "fr", "text": "deux"}))
    32
    """
    content = {name: value for name, value in job.items() if name not in ("id", "output")}
    text = json.dumps([engine_version(), SAMPLE_RATE, content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def duration_if_made(path: str, key: str) -> float | None:
    """Return the duration of a file that an earlier run made from the same job.

    Arguments
    ---------
    path : str
        Path of the WAV file.
    key : str
        The job's key.

    Returns
    -------
    float or None
        Duration in seconds, or None if the file is missing, unreadable or another job's.
    """
    try:
        with soundfile.SoundFile(path) as file:
            return file.frames / file.samplerate if file.comment == key else None
    except (soundfile.LibsndfileError, OSError):
        return None


def write_wav(path: str, samples: np.ndarray, key: str) -> float:
    """Resample the engine's speech and write it as a 16 kHz, 16-bit WAV file.

    The level stays as it is, since it is part of the emotion.

    Arguments
    ---------
    path : str
        Path of the file, which appears when it is complete.
    samples : numpy.ndarray
        int16 samples at 22050 Hz, shape (time,).
    key : str
        The job's key, kept in the header.

    Returns
    -------
    float
        Duration of the file in seconds.
    """
    from scipy.signal import resample_poly  # slow to import, and a rerun does not need it

    divisor = int(np.gcd(SAMPLE_RATE, ENGINE_RATE))
    sound = resample_poly(
        samples.astype(np.float64), SAMPLE_RATE // divisor, ENGINE_RATE // divisor
    )
    sound = np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
    save_wav(path, sound, SAMPLE_RATE, comment=key)
    return len(sound) / SAMPLE_RATE


@contextlib.contextmanager
def start_worker() -> Iterator[Callable[[dict], dict]]:
    """Start a worker process.

    Yields
    ------
    callable
        Function that sends a job to the worker and returns its answer. It
        raises RuntimeError if the worker has died.
    """
    arguments = ["--library", espeakng_loader.get_library_path()]
    arguments += ["--data", espeakng_loader.get_data_path()]
    process = subprocess.Popen(
        [sys.executable, WORKER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )

    def speak(job: dict) -> dict:
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"the eSpeak NG worker ended at {job['id']} ({job['voice']})")
        return json.loads(line)

    try:
        yield speak
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def run_jobs(jobs: list[dict], num_workers: int, handle: Callable[[dict, dict], None]) -> None:
    """Speak jobs in worker processes.

    Arguments
    ---------
    jobs : list of dict
        The jobs, see ``espeak_worker.py``.
    num_workers : int
        Number of processes to start.
    handle : callable
        Function that is called with each job and its answer, from several threads.

    Raises
    ------
    RuntimeError
        If a worker dies.
    """
    waiting = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    stop = threading.Event()

    def serve() -> None:
        with start_worker() as speak, contextlib.suppress(queue.Empty):
            while not stop.is_set():
                job = waiting.get_nowait()
                handle(job, speak(job))

    with ThreadPoolExecutor(max(1, min(num_workers, len(jobs)))) as pool:
        servers = [pool.submit(serve) for _ in range(min(num_workers, len(jobs)))]
        try:
            for server in servers:
                server.result()
        finally:
            stop.set()


def measure(jobs: list[dict], num_workers: int) -> dict[str, float]:
    """Measure the duration of jobs' speech, without writing it.

    Arguments
    ---------
    jobs : list of dict
        The jobs.
    num_workers : int
        Number of processes to start.

    Returns
    -------
    dict of str to float
        ID of each job -> duration in seconds.

    Raises
    ------
    RuntimeError
        If the engine cannot speak one of them; the message names it and its voice.
    """
    seconds = {}

    def handle(job: dict, answer: dict) -> None:
        if "error" in answer:
            raise RuntimeError(f"{job['id']} (voice {job['voice']}): {answer['error']}")
        seconds[job["id"]] = answer["samples"] / ENGINE_RATE

    run_jobs(jobs, num_workers, handle)
    return seconds


def synthesise(
    jobs: list[dict], paths: dict[str, str], num_workers: int, progress: Callable[[], None]
) -> tuple[dict[str, float], dict[str, str]]:
    """Speak jobs into files.

    Arguments
    ---------
    jobs : list of dict
        The jobs, without ``output``.
    paths : dict of str to str
        ID of each job -> path of its WAV file.
    num_workers : int
        Number of processes to start.
    progress : callable
        Function that is called after each job, by one thread at a time.

    Returns
    -------
    dict of str to float
        ID of each job with a file -> duration of the file (seconds).
    dict of str to str
        ID of each job without a file -> the reason, with the voice.
    """
    durations, errors, lock = {}, {}, threading.Lock()
    with tempfile.TemporaryDirectory() as folder:

        def handle(job: dict, answer: dict) -> None:
            if "error" in answer:
                errors[job["id"]] = f"voice {job['voice']}: {answer['error']}"
            else:
                samples = np.fromfile(job["output"], np.int16)
                os.remove(job["output"])
                durations[job["id"]] = write_wav(paths[job["id"]], samples, job_key(job))
            with lock:
                progress()

        outputs = [os.path.join(folder, f"{number}.raw") for number in range(len(jobs))]
        spoken = [{**job, "output": output} for job, output in zip(jobs, outputs, strict=True)]
        run_jobs(spoken, num_workers, handle)
    return durations, errors
