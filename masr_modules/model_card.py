"""README.md of folders that are ready to share."""

import json
from collections.abc import Mapping
from pathlib import Path

LICENCE = """\
## Licence

The code is Apache-2.0. What the weights may be used for hangs on the licences of the recordings:
**state it here, and in `license` above, before you share this folder.**

A `hyperparams.yaml` can name any code, and SpeechBrain's `from_hparams` runs it: load folders of
people you trust. `masr_modules.inference.MASREncoder` builds encoders of this library only.
"""

#: Task -> title, SpeechBrain's interface, the line that uses it.
USES = {
    "language_id": ("Language identification", "classifiers", "EncoderClassifier", "classify_file"),
    "emotion": ("Emotion recognition", "classifiers", "EncoderClassifier", "classify_file"),
    "asr": ("Speech recognition", "ASR", "EncoderASR", "transcribe_file"),
    "speaker": ("Speaker verification", "speaker", "SpeakerRecognition", "verify_files"),
}


def _front_matter(tags: list[str], languages: list[str]) -> str:
    lines = ["---", "license: other", "library_name: speechbrain", "tags:"]
    lines += [f"- {tag}" for tag in ["speechbrain", "masr", *tags]]
    if languages:
        lines += ["language:", *(f"- {code}" for code in languages)]
    return "\n".join([*lines, "---", ""])


def encoder_card(facts: Mapping, table: str) -> str:
    """Card of a pretrained encoder.

    Arguments
    ---------
    facts : Mapping
        As PretrainedEncoder.facts.
    table : str
        Results in Markdown.
    """
    sources = "\n".join(f"- {source}" for source in facts["sources"]) or "- none: plain SSL"
    return f"""{_front_matter(["speech-encoder", facts["method"]], facts["languages"])}
# {facts["system"]}

A speech encoder, pretrained with {facts["method"]} and MASR (Multi-label Aware Speech
Representation learning, arXiv 2307.10982).

    from masr_modules.inference import MASREncoder

    encoder = MASREncoder.from_hparams("THIS_FOLDER")
    frames = encoder.encode_file("speech.wav")  # (frames, {facts["d_model"]})

## Data

{facts["utterances"]} utterances, {facts["hours"]:.1f} hours, of {len(facts["languages"])} languages
({", ".join(facts["languages"]) or "not known"}); the list is `{facts["train_csv"]}`.

## Metadata used

{sources}

## Results

{table}

{LICENCE}"""


def _decision(threshold: float) -> str:
    return f"""
It prints a cosine, and a decision at SpeechBrain's threshold of 0.25. On the trials of the test
set both kinds of errors are as frequent at a threshold of {threshold:.3f}: compare the cosine with
it, or with one that was chosen on recordings like yours.
"""


def downstream_card(hparams: Mapping, task: str) -> str:
    """Card of what a downstream recipe trained; reads its results.json and results.md.

    Arguments
    ---------
    hparams : Mapping
        Of the recipe.
    task : str
        Name of the recipe's folder.
    """
    folder = Path(hparams["output_folder"])
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    title, module, interface, method = USES[task]
    two = '"one.wav", "other.wav"' if task == "speaker" else '"speech.wav"'
    decision = _decision(results["figures"]["threshold"]) if task == "speaker" else ""
    return f"""{_front_matter([task], [])}
# {title}

    from speechbrain.inference.{module} import {interface}

    model = {interface}.from_hparams(source="THIS_FOLDER", savedir="THIS_FOLDER")
    print(model.{method}({two}))
{decision}
`masr_modules` must be installed. The encoder ({"frozen" if results["freeze"] else "fine-tuned"}) is
{results["encoder"]}.

## Data

Trained on `{hparams["train_csv"]}`, chosen on `{hparams["valid_csv"]}`, tested on
`{hparams["test_csv"]}`.

## Results

{(folder / "results.md").read_text(encoding="utf-8")}
{LICENCE}"""
