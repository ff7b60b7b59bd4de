#!/usr/bin/env python3
"""Trains and tests a multilingual CTC speech recogniser on a pretrained encoder.

> python recipes/asr/train.py hparams/mini_asr.yaml --pretrained FOLDER
> python recipes/asr/train.py hparams/mini_asr.yaml --pretrained FOLDER --freeze false
> python recipes/asr/train.py hparams/mini_asr.yaml --pretrained FOLDER --test_only --beam_size 20

FOLDER is what pretraining wrote, or a transformers model. `--test_only` tests the best
checkpoint again. An interrupted run resumes when the same command is given again.
"""

import sys
from functools import partial
from pathlib import Path

from speechbrain.utils.distributed import run_on_main

from masr_modules.config.files import write_atomic
from masr_modules.downstream.asr import TASK, drop_crowded, with_text
from masr_modules.downstream.brain import drop_short, load_for
from masr_modules.downstream.export import export_asr
from masr_modules.downstream.report import finish
from masr_modules.downstream.tokens import make_tokenizer
from masr_modules.metrics.transcripts import (
    Scores,
    normalise_text,
    official_text,
    write_transcripts,
)
from masr_modules.training.experiment import load_rows, start_experiment


def main(arguments: list[str]) -> None:
    """Runs the recipe: data, tokens, encoder, training, test, report."""
    hparams, run_opts = start_experiment(arguments)
    hparams["max_crop_seconds"] = None  # a crop would not fit its text
    folder = Path(hparams["output_folder"])
    kept = {split: drop_short(some, split) for split, some in load_rows(hparams).items()}
    normalised = partial(normalise_text, keep=hparams["keep"])
    written = normalised if hparams["normalise"] else official_text
    rows = {split: with_text(some, split, written) for split, some in kept.items()}
    model = folder / "tokenizer.model"
    settings = {
        "path": model,
        "texts": [row["text"] for row in rows["train"].values()],
        "model_type": hparams["model_type"],
        "vocab_size": hparams["vocab_size"],
        "character_coverage": hparams["character_coverage"],
    }
    run_on_main(make_tokenizer, kwargs=settings)
    tokenizer = make_tokenizer(**settings)
    pretrained = load_for(hparams)
    frames_per_second = pretrained.sample_rate / pretrained.encoder.frame_samples
    rows["train"] = drop_crowded(rows["train"], tokenizer, frames_per_second)
    brain = TASK.brain.build(hparams, run_opts, pretrained, rows, tokenizer)
    brain.train_on(rows["train"], rows["valid"])
    brain.test_on(rows["test"])

    def report() -> None:
        transcripts = sorted(brain.transcripts, key=lambda transcript: transcript.id)
        write_transcripts(folder / "predictions.csv", transcripts)
        scores = Scores(transcripts)
        write_atomic(folder / "languages.md", scores.table() + "\n")
        metrics = scores.metrics | {"without_text": len(kept["test"]) - len(rows["test"])}
        if not hparams["normalise"]:
            also = Scores([transcript.normalised(hparams["keep"]) for transcript in transcripts])
            metrics |= {f"{key}, normalised": rate for key, rate in also.means.items()}
        finish(brain, hparams, TASK, metrics, rows["test"])
        export_asr(brain, hparams, TASK, tokenizer.vocab_size(), model)

    run_on_main(report)


if __name__ == "__main__":
    main(sys.argv[1:])
