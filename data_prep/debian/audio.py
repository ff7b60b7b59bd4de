"""Conversion of recordings of any format to 16 kHz mono WAV files of one level."""

import hashlib
from dataclasses import dataclass

import numpy as np
import soundfile
import torch
import torchaudio

from data_prep.common.audio import save_wav
from masr_modules.config.extras import extra
from masr_modules.data.headers import BrokenAudio

#: Sample rate of the WAV files (Hz).
SAMPLE_RATE = 16000
#: Level of every file: its RMS (dB of full scale), which is lower where a peak would clip.
LEVEL = -26.0
#: Below this RMS (dB of full scale) a recording counts as silent.
SILENCE = -65.0
#: A recording that is shorter (seconds) counts as broken: it cannot hold a word.
MIN_SECONDS = 0.2


@dataclass(frozen=True)
class Audio:
    """A converted recording.

    Arguments
    ---------
    duration : float
        Duration in seconds.
    recording : str
        Fingerprint of the decoded samples: the same for copies of one recording.
    """

    duration: float
    recording: str


def decode(path: str) -> tuple[np.ndarray, int]:
    """Decode a recording and mix its channels.

    Arguments
    ---------
    path : str
        Path of an Ogg, Opus or WAV file, or of a G.722 file (no header, suffix `.g722`).

    Returns
    -------
    numpy.ndarray
        (T,) float32 samples with full scale at 1.
    int
        Sample rate (Hz).

    Raises
    ------
    BrokenAudio
        If it cannot be decoded or has samples that are not finite.
    """
    if path.endswith(".g722"):
        samples, rate = _decode_g722(path)
    else:
        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise BrokenAudio(f"cannot be decoded ({error})") from error
        samples = samples.mean(axis=1)
    if not np.isfinite(samples).all():
        raise BrokenAudio("samples that are not finite")
    return samples, rate


def _decode_g722(path: str) -> tuple[np.ndarray, int]:
    with extra("prep"):
        import av
    try:
        with av.open(path, format="g722") as container:
            rate = container.streams.audio[0].rate
            frames = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    except av.error.FFmpegError as error:
        raise BrokenAudio(f"cannot be decoded ({error})") from error
    samples = np.concatenate(frames or [np.zeros(0, np.int16)]).astype(np.float32) / 2**15
    return samples, rate


def normalise(samples: np.ndarray) -> np.ndarray:
    """Bring samples to the common level.

    Arguments
    ---------
    samples : numpy.ndarray
        (T,) float, not all zero.

    Returns
    -------
    numpy.ndarray
        (T,) float, with the RMS at `LEVEL`, or below it where the peak reaches .99 of full scale.

    Example
    -------
    >>> loud = normalise(3 * np.sin(np.arange(1600)))
    >>> round(float(20 * np.log10(np.sqrt(np.mean(loud**2)))), 1)
    -26.0
    """
    rms, peak = np.sqrt(np.mean(samples**2)), np.abs(samples).max()
    return samples * min(10 ** (LEVEL / 20) / rms, 0.99 / peak)


def read_converted(path: str, key: str) -> Audio | None:
    """Read what an earlier run made from the same recording with the same settings.

    Arguments
    ---------
    path : str
        The WAV file.
    key : str
        Identifies the recording and the settings.

    Returns
    -------
    Audio or None
        The file's duration and fingerprint; None if the file is missing, unreadable or another
        recording's.
    """
    try:
        with soundfile.SoundFile(path) as file:
            made_from, _, recording = file.comment.rpartition(" ")
            return Audio(file.frames / SAMPLE_RATE, recording) if made_from == key else None
    except (soundfile.SoundFileError, OSError):
        return None


def convert(path: str, wav: str, key: str) -> Audio:
    """Decode, resample, normalise and write a recording, unless that has been done.

    Arguments
    ---------
    path : str
        The recording.
    wav : str
        The WAV file to make: 16 kHz, mono, 16 bit. It appears when it is complete
        and records in its comment what it was made from.
    key : str
        Identifies the recording: a file that was made from another one is made again.

    Returns
    -------
    Audio
        Duration and fingerprint.

    Raises
    ------
    BrokenAudio
        If the recording is broken, silent or too short.
    """
    key = f"{key} {SAMPLE_RATE} Hz {LEVEL} dB"
    converted = read_converted(wav, key)
    if converted is not None:
        return converted
    samples, rate = decode(path)
    if len(samples) < MIN_SECONDS * rate:
        raise BrokenAudio(f"shorter than {MIN_SECONDS} s")
    if np.sqrt(np.mean(samples**2)) < 10 ** (SILENCE / 20):
        raise BrokenAudio("silent")
    recording = hashlib.sha256(samples.tobytes()).hexdigest()[:32]
    if rate != SAMPLE_RATE:
        resample = torchaudio.functional.resample
        samples = resample(torch.from_numpy(samples), rate, SAMPLE_RATE).numpy()
    samples = normalise(samples)
    save_wav(wav, samples, SAMPLE_RATE, comment=f"{key} {recording}")
    return Audio(len(samples) / SAMPLE_RATE, recording)
