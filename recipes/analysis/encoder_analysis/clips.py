"""Short clips of the audio, small enough to be part of an HTML page."""

import base64
import io
from collections.abc import Mapping

import numpy as np
import soundfile
from tqdm import tqdm

from masr_modules.data.dataio import read_audio, read_segment

SAMPLE_RATE = 16000  # Hz
SECONDS = 3.0
MIME = "audio/ogg"


def make_clips(rows: Mapping[str, Mapping]) -> dict[str, str]:
    """Encodes the first seconds of each utterance; utterances that cannot be read are left out.

    Arguments
    ---------
    rows : mapping of str to mapping
        ID -> row with `wav`, and `start` and `stop` where it is a part of a file.

    Returns
    -------
    dict of str to str
        ID -> Ogg Opus in base64.

    Example
    -------
    >>> path = str(getfixture("tmp_path") / "a.wav")
    >>> soundfile.write(path, np.zeros(16000), 16000)
    >>> clips = make_clips({"a": {"wav": path}, "b": {"wav": "missing.wav"}})
    >>> list(clips), base64.b64decode(clips["a"])[:4]
    (['a'], b'OggS')
    """
    clips = {}
    for utterance, row in tqdm(rows.items(), "clips", leave=False, disable=None):
        try:
            wav = read_audio(row["wav"], SAMPLE_RATE, None, 0, read_segment(row)).numpy()
        except ValueError:
            continue
        clips[utterance] = encode_clip(wav[: int(SECONDS * SAMPLE_RATE)])
    return clips


def encode_clip(wav: np.ndarray) -> str:
    """Encodes (T,) samples at SAMPLE_RATE as Ogg Opus in base64."""
    file = io.BytesIO()
    soundfile.write(file, wav, SAMPLE_RATE, format="OGG", subtype="OPUS")
    return base64.b64encode(file.getvalue()).decode()
