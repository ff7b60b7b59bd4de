#!/usr/bin/env python3
"""Measures the error rates of Whispers' own transcriptions, such as before and after pretraining.

> python recipes/asr/whisper_wer.py test.csv --data_folder FOLDER --models BEFORE AFTER

Each model is a transformers folder of a Whisper, which transcribes the CSV's utterances greedily; a
multilingual one detects the language. References and transcriptions are normalised (lower case, no
punctuation; masr_modules/metrics/transcripts.py) before errors are counted. The table has the word
and character error rates of each model, and their differences to the first model's with a 95 %
interval over speakers. A folder that lacks the decoder, tokenizer, feature extractor or generation
settings gets those of `--start`, by default the first model.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from masr_modules.config.extras import extra
from masr_modules.data.corpus import load_csv
from masr_modules.data.dataio import read_audio, read_segment
from masr_modules.downstream.asr import with_text
from masr_modules.encoders.transformers_files import check_source
from masr_modules.metrics.intervals import paired_difference, ratio_values
from masr_modules.metrics.tables import align
from masr_modules.metrics.transcripts import ErrorRates, normalise_text
from masr_modules.reporting.comparison import format_difference

with extra("hub"):
    import transformers
    from transformers import (
        AutoConfig,
        GenerationConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

logger = logging.getLogger(__name__)

#: Longest audio that a Whisper transcribes at once (seconds).
MAX_SECONDS = 30.0
#: Number of utterances that are transcribed at once.
BATCH = 8


class Whisper(NamedTuple):
    """A model, with the feature extractor and tokenizer that it needs to transcribe."""

    model: WhisperForConditionalGeneration
    extractor: WhisperFeatureExtractor
    tokenizer: WhisperTokenizer


def load_whisper(source: str, start: str | None = None) -> Whisper:
    """Loads a Whisper without running code of its folder.

    Arguments
    ---------
    source : str
        Hub name or local folder.
    start : str, optional
        The Whisper from which it was continued, for the decoder and files that it lacks.

    Returns
    -------
    Whisper
        The model, in float32 and evaluation mode, with feature extractor and tokenizer.

    Raises
    ------
    FileNotFoundError
        If the folder is missing, or lacks a file that `start` lacks too.
    ValueError
        If the model is not a Whisper, lacks weights that `start` does not have or that do not fit,
        or the tokenizer is that of another Whisper.
    """
    check_source(source)
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    if config.model_type != "whisper":
        raise ValueError(f"{source}: is a {config.model_type!r} model; a Whisper can transcribe")
    model, info = WhisperForConditionalGeneration.from_pretrained(
        source,
        trust_remote_code=False,
        weights_only=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    if info["missing_keys"]:
        _add_decoder(model, info["missing_keys"], source, start)
    features = _having(source, start, "preprocessor_config.json", "processor_config.json")
    extractor = WhisperFeatureExtractor.from_pretrained(features, trust_remote_code=False)
    words = _having(source, start, "tokenizer.json", "vocab.json")
    tokenizer = WhisperTokenizer.from_pretrained(words, trust_remote_code=False)
    settings = _having(source, start, "generation_config.json")
    model.generation_config = GenerationConfig.from_pretrained(settings, trust_remote_code=False)
    if not hasattr(model.generation_config, "no_timestamps_token_id"):
        raise ValueError(
            f"{settings}: its generation_config.json has no no_timestamps_token_id; take the file "
            "of the Whisper from which it was continued"
        )
    if tokenizer.eos_token_id != config.eos_token_id:
        raise ValueError(
            f"{words}: its end-of-text token is {tokenizer.eos_token_id}, but that of "
            f"{source} is {config.eos_token_id}: it is the tokenizer of another Whisper"
        )
    return Whisper(model.eval(), extractor, tokenizer)


def _add_decoder(
    model: WhisperForConditionalGeneration, missing: set[str], source: str, start: str | None
) -> None:
    others = sorted(key for key in missing if not key.startswith(("model.decoder.", "proj_out.")))
    if others:
        raise ValueError(
            f"{source}: its weights lack {', '.join(others[:3])}; it may not be a Whisper"
        )
    if start in (None, source):
        raise ValueError(
            f"{source}: has no decoder; name the Whisper from which it was continued by --start"
        )
    state = load_whisper(start).model.state_dict()
    try:
        model.load_state_dict({key: state[key] for key in missing}, strict=False)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{source}: the decoder of {start} does not fit: {error}") from error


def _having(source: str, start: str | None, *files: str) -> str:
    """Returns the folder that has one of the files: `source`, or else `start`."""
    folder = Path(source).expanduser()
    if not folder.is_dir() or any((folder / file).is_file() for file in files):
        return source
    if start in (None, source):
        raise FileNotFoundError(
            f"{source}: has no {' or '.join(files)}; name the Whisper from which it was continued "
            "by --start"
        )
    return _having(start, None, *files)


def read_rows(
    path: str, data_folder: str, language: str | None = None, limit: int | None = None
) -> dict[str, dict]:
    """Reads the utterances that can be transcribed and scored; others are left out and counted.

    Arguments
    ---------
    path : str
        CSV with a column `text`.
    data_folder : str
        Folder that `$data_root` stands for.
    language : str, optional
        Code of the only language to read (ISO 639-3); by default, all are read.
    limit : int, optional
        Largest number of rows (of this language) to read, from the first on.

    Returns
    -------
    dict
        ID -> row, with its text normalised.

    Raises
    ------
    ValueError
        If no utterance is left.
    """
    every = load_csv(path, data_folder)
    known = zip(every, every.column("language"), strict=True)
    chosen = (key for key, spoken in known if language in (None, spoken))
    rows = {key: every[key] for key in islice(chosen, limit)}
    if language and not rows:
        raise ValueError(
            f"{path}: no utterance has the language {language!r}; there are "
            f"{', '.join(sorted({*every.column('language')}))}"
        )
    short = {key: row for key, row in rows.items() if row["duration"] <= MAX_SECONDS}
    if len(short) < len(rows):
        logger.warning(
            "%s: left out %d utterances that are longer than the %.0f s that a Whisper transcribes "
            "at once",
            *(path, len(rows) - len(short), MAX_SECONDS),
        )
    return with_text(short, path, normalise_text)


@torch.no_grad()
def transcribe(whisper: Whisper, rows: Mapping[str, Mapping], device: str = "cpu") -> list[str]:
    """Transcribes utterances greedily.

    Arguments
    ---------
    whisper : Whisper
        Model, from `load_whisper`.
    rows : mapping
        ID -> row, with `wav`.
    device : str
        Device to compute on.

    Returns
    -------
    list of str
        Normalised transcription of each row.
    """
    model, extractor, tokenizer = whisper
    model.to(device)
    rate = extractor.sampling_rate
    multilingual = getattr(model.generation_config, "is_multilingual", False)
    options = {"num_beams": 1, "do_sample": False, "return_timestamps": False}
    options |= {"task": "transcribe"} if multilingual else {}
    waiting, texts = iter(rows.values()), []
    with tqdm(desc="transcribing", total=len(rows), unit="utterance") as bar:
        while batch := list(islice(waiting, BATCH)):
            wavs = [read_audio(row["wav"], rate, None, 0, read_segment(row)) for row in batch]
            inputs = extractor(
                [wav.numpy() for wav in wavs],
                sampling_rate=rate,
                return_attention_mask=True,
                return_tensors="pt",
            )
            tokens = model.generate(**inputs.to(device), **options)
            texts += map(normalise_text, tokenizer.batch_decode(tokens, skip_special_tokens=True))
            bar.update(len(batch))
    return texts


def make_table(rows: Mapping[str, Mapping], texts: Mapping[str, Sequence[str]]) -> str:
    """Makes a table of each model's error rates and their differences to the first model's.

    Arguments
    ---------
    rows : mapping
        ID -> row, with `text`.
    texts : mapping of str to sequence of str
        Model -> transcription of each row.

    Returns
    -------
    str
        The table in Markdown.

    Example
    -------
    >>> rows = {"1": {"text": "one two"}, "2": {"text": "three"}}
    >>> print(make_table(rows, {"a": ["one two", "three"], "b": ["one too", "three"]}))
    | model | utterances | WER (%) | CER (%) | WER less the first's   | CER less the first's |
    | ----- | ---------- | ------- | ------- | ---------------------- | -------------------- |
    | a     | 2          | 0.0     | 0.0     |                        |                      |
    | b     | 2          | 33.3    | 8.3     | +33.3 [-249.0, +315.7] | +8.3 [-79.9, +96.6]  |
    """
    references = [row["text"] for row in rows.values()]
    speakers = [row.get("speaker") or "" for row in rows.values()]
    one, first = [""] * len(references), None
    body = []
    for name, hypotheses in texts.items():
        each = [ErrorRates.of([r], [h]) for r, h in zip(references, hypotheses, strict=True)]
        values = (
            ratio_values([e.word_errors for e in each], [e.words for e in each]),
            ratio_values([e.character_errors for e in each], [e.characters for e in each]),
        )
        cells = ["", ""]
        if first is None:
            first = values
        else:
            cells = [
                format_difference(
                    paired_difference({0: ours}, {0: theirs}, one, speakers, given_encoders=True),
                    "share",
                )
                for ours, theirs in zip(values, first, strict=True)
            ]
        rates = [f"{100 * value.mean():.1f}" for value in values]
        body.append([name, str(len(each)), *rates, *cells])
    header = ["model", "utterances", "WER (%)", "CER (%)"]
    return align([*header, "WER less the first's", "CER less the first's"], body)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("csv", help="CSV of utterances with a text, such as test.csv")
    parser.add_argument("--data_folder", required=True, help="folder that $data_root stands for")
    parser.add_argument(
        "--models", nargs="+", required=True, help="transformers folders, BEFORE first"
    )
    parser.add_argument(
        "--start", help="Whisper that gives what a folder lacks (default: the first model)"
    )
    parser.add_argument("--language", help="read this `language` alone, such as eng")
    parser.add_argument("--limit", type=int, help="read at most this number of these rows")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    transformers.logging.set_verbosity_error()  # else it logs the settings of every generation
    try:
        rows = read_rows(args.csv, args.data_folder, args.language, args.limit)
        texts = {}
        for source in dict.fromkeys(args.models):
            print(source, flush=True)
            whisper = load_whisper(source, args.start or args.models[0])
            texts[source] = transcribe(whisper, rows, args.device)
        print(make_table(rows, texts))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
