"""Synthesis worker that runs eSpeak NG in a process of its own, with the standard library alone.

eSpeak NG is licensed under the GPL-3. It is therefore never imported by the
project: this script runs as a separate process, receives jobs as JSON lines on
stdin and answers with JSON lines on stdout.

By default the engine is not bit-exact: breathy voices draw from a random
generator, and every voice depends on the utterances before it. Each utterance
is therefore made in a child forked from a freshly initialised parent, which
seeds both generators first. The bytes then depend on the job alone, not on the
order, the number of workers or the process.

A job has the keys ``id``, ``voice`` (``"fr+f2"``), ``text``, ``rate`` (words per
minute), ``pitch`` (0-100), ``range`` (0-100), ``volume`` (0-200), ``seed`` and
``output`` (path of the raw int16 samples, or null to measure only). The answer
has ``id`` and ``samples`` (count, 22050 Hz), or ``id``, ``voice`` and ``error``.

Example
-------
>>> parse_job('{"id": "a", "voice": "fr", "text": "deux", "seed": 1}')["rate"]
175
"""

import argparse
import ctypes
import json
import os
import sys

SAMPLE_RATE = 22050  # Hz, fixed by the engine
MIN_SECONDS = 0.3  # shorter speech means that the voice cannot read the text

AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
CHARS_UTF8 = 1
PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}
DEFAULTS = {"rate": 175, "volume": 100, "pitch": 50, "range": 50, "seed": 0, "output": None}

CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def load_engine(library: str, data: str) -> ctypes.CDLL:
    """Load and initialise eSpeak NG.

    Arguments
    ---------
    library : str
        Path of the shared library.
    data : str
        Path of the folder ``espeak-ng-data``.

    Returns
    -------
    ctypes.CDLL
        The engine, initialised and not yet used.

    Raises
    ------
    RuntimeError
        If the engine does not start or has another sampling rate.
    """
    engine = ctypes.CDLL(library)
    rate = engine.espeak_Initialize(
        AUDIO_OUTPUT_SYNCHRONOUS, 0, os.fsencode(data), INITIALIZE_DONT_EXIT
    )
    if rate != SAMPLE_RATE:
        raise RuntimeError(f"eSpeak NG did not start from {data!r}: espeak_Initialize gave {rate}")
    engine.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    return engine


def parse_job(line: str) -> dict:
    """Read a job from its JSON line, with the engine's defaults filled in.

    Arguments
    ---------
    line : str
        One JSON object.

    Returns
    -------
    dict
        The job.
    """
    return {**DEFAULTS, **json.loads(line)}


def synthesise(engine: ctypes.CDLL, job: dict) -> bytes:
    """Speak one job; call it once per process.

    Arguments
    ---------
    engine : ctypes.CDLL
        An engine that has not spoken yet.
    job : dict
        The job, see the module's description.

    Returns
    -------
    bytes
        int16 samples at 22050 Hz in the machine's byte order.

    Raises
    ------
    ValueError
        If the engine does not know the voice or rejects the text.
    """
    chunks = []

    def collect(samples, count, _events):
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = CALLBACK(collect)
    engine.espeak_SetSynthCallback(callback)
    if engine.espeak_SetVoiceByName(job["voice"].encode()) != 0:
        raise ValueError("eSpeak NG does not know this voice")
    for name, number in PARAMETERS.items():
        engine.espeak_SetParameter(number, int(job[name]), 0)
    engine.espeak_ng_SetRandSeed(job["seed"])
    ctypes.CDLL(None).srand(ctypes.c_uint(job["seed"]))
    text = job["text"].encode() + b"\0"
    if engine.espeak_Synth(text, len(text), 0, 1, 0, CHARS_UTF8, None, None) != 0:
        raise ValueError("eSpeak NG refused the text")
    return b"".join(chunks)


def answer_job(engine: ctypes.CDLL, job: dict) -> dict:
    """Speak one job, write its samples and return the answer.

    Arguments
    ---------
    engine : ctypes.CDLL
        An engine that has not spoken yet.
    job : dict
        The job.

    Returns
    -------
    dict
        The answer, see the module's description.
    """
    try:
        sound = synthesise(engine, job)
        seconds = len(sound) / 2 / SAMPLE_RATE
        if seconds < MIN_SECONDS:
            raise ValueError(f"only {seconds:.2f} s of sound")
        if not any(sound):
            raise ValueError("nothing but silence")
        if job["output"]:
            with open(job["output"], "wb") as file:
                file.write(sound)
    except (ValueError, OSError) as error:
        return {"id": job["id"], "voice": job["voice"], "error": str(error)}
    return {"id": job["id"], "samples": len(sound) // 2}


def run_in_child(engine: ctypes.CDLL, job: dict) -> dict:
    """Fork a child for one job, so that the engine in this process stays fresh.

    Arguments
    ---------
    engine : ctypes.CDLL
        The engine, initialised and never used.
    job : dict
        The job.

    Returns
    -------
    dict
        The child's answer; an error if the child died.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read_end)
            os.write(write_end, json.dumps(answer_job(engine, job)).encode())
            status = 0
        finally:
            os._exit(status)  # never run the parent's clean-up
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0 or not answer:
        error = f"eSpeak NG crashed (wait status {status})"
        return {"id": job["id"], "voice": job["voice"], "error": error}
    return json.loads(answer)


def main() -> None:
    """Answer the jobs on stdin until it is closed."""
    parser = argparse.ArgumentParser(description="Speak JSON jobs from stdin with eSpeak NG.")
    parser.add_argument("--library", required=True, help="path of the eSpeak NG library")
    parser.add_argument("--data", required=True, help="path of its espeak-ng-data folder")
    arguments = parser.parse_args()
    engine = load_engine(arguments.library, arguments.data)
    for line in sys.stdin:
        if line.strip():
            print(json.dumps(run_in_child(engine, parse_job(line))), flush=True)


if __name__ == "__main__":
    main()
