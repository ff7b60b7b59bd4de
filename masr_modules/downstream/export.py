"""Exported folders that SpeechBrain's inference interfaces load."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import indent

import torch
from torch import nn

from masr_modules.config.files import write_atomic
from masr_modules.config.markdown import one_line, portable, portable_sources
from masr_modules.distributed import unwrap
from masr_modules.downstream.brain import DownstreamBrain
from masr_modules.downstream.task import Task
from masr_modules.encoders.model_card import LICENCE, front_matter
from masr_modules.inference import TokenPosteriors, UtteranceEmbedding


def new_block(key: str, build: Callable, **arguments: object) -> str:
    """Writes the YAML that builds an object of a class, or of a `!name:` block, again.

    Example
    -------
    >>> import functools
    >>> from masr_modules.downstream.heads import ECAPAHead
    >>> print(new_block("head", functools.partial(ECAPAHead, channels=8), input_size=4))
    head: !new:masr_modules.downstream.heads.ECAPAHead
        channels: 8
        input_size: 4
    """
    keywords = {**getattr(build, "keywords", {}), **arguments}
    build = getattr(build, "func", build)
    lines = [f"{key}: !new:{build.__module__}.{build.__qualname__}"]
    return "\n".join(lines + [f"    {name}: {json.dumps(v)}" for name, v in keywords.items()])


#: Without this block, SpeechBrain's interfaces resample files to 16 kHz.
AUDIO_NORMALIZER = """\
audio_normalizer: !new:speechbrain.dataio.preprocess.AudioNormalizer
    sample_rate: !ref <sample_rate>"""

CLASSIFIER = """\
embedding_model: !new:masr_modules.inference.UtteranceEmbedding
    encoder: !ref <encoder>
    mixer: !ref <mixer>
    head: !ref <head>
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
mean_var_norm_emb: !new:masr_modules.inference.Unchanged

modules:
    compute_features: !new:torch.nn.Identity
    mean_var_norm: !new:masr_modules.inference.Unchanged
    embedding_model: !ref <embedding_model>
    classifier: !ref <classifier>
    mean_var_norm_emb: !ref <mean_var_norm_emb>

pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
        classifier: !ref <classifier>
        label_encoder: !ref <label_encoder>
"""

ASR = """\
asr_encoder: !new:masr_modules.inference.TokenPosteriors
    encoder: !ref <encoder>
    mixer: !ref <mixer>
    head: !ref <head>
tokenizer: !new:masr_modules.downstream.tokens.Tokenizer
decoding_function: !name:speechbrain.decoders.ctc_greedy_decode
    blank_id: 0

modules:
    encoder: !ref <asr_encoder>

pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        asr_encoder: !ref <asr_encoder>
        tokenizer: !ref <tokenizer>
"""


def export_classifier(brain: DownstreamBrain, hparams: dict, task: Task) -> Path:
    """Saves `inference/` for EncoderClassifier or SpeakerRecognition.

    Arguments
    ---------
    brain : DownstreamBrain
        The Brain, with the modules `head` and `classifier`, and `labels`.
    hparams : dict
        The recipe's settings.
    task : Task
        The task, for the model card.

    Returns
    -------
    Path
        The folder.
    """
    labels = brain.labels
    head = unwrap(brain.modules.head)
    blocks = [
        new_block("head", hparams["head"], input_size=brain.pretrained.d_model),
        new_block(
            "classifier",
            hparams["classifier"],
            input_size=head.embedding_size,
            out_neurons=len(labels.lab2ind),
        ),
        CLASSIFIER,
    ]
    whole = UtteranceEmbedding(unwrap(brain.modules.encoder), unwrap(brain.modules.mixer), head)
    parts = {"embedding_model": whole, "classifier": unwrap(brain.modules.classifier)}
    folder = save_inference(brain, hparams, task, blocks, parts)
    labels.save(folder / "label_encoder.ckpt")
    return folder


def export_asr(
    brain: DownstreamBrain, hparams: dict, task: Task, out_neurons: int, tokenizer: Path
) -> Path:
    """Saves `inference/` for EncoderASR.

    Arguments
    ---------
    brain : DownstreamBrain
        The Brain, with the module `head`.
    hparams : dict
        The recipe's settings.
    task : Task
        The task, for the model card.
    out_neurons : int
        Number of tokens.
    tokenizer : Path
        The SentencePiece model, which is copied to the folder.

    Returns
    -------
    Path
        The folder.
    """
    sizes = {"input_size": brain.pretrained.d_model, "out_neurons": out_neurons}
    blocks = [new_block("head", hparams["head"], **sizes), ASR]
    modules = (unwrap(brain.modules[name]) for name in ("encoder", "mixer", "head"))
    parts = {"asr_encoder": TokenPosteriors(*modules)}
    folder = save_inference(brain, hparams, task, blocks, parts)
    (folder / "tokenizer.ckpt").write_bytes(tokenizer.read_bytes())
    return folder


def save_inference(
    brain: DownstreamBrain,
    hparams: Mapping,
    task: Task,
    blocks: Sequence[str],
    parts: Mapping[str, nn.Module],
) -> Path:
    """Saves `inference/` for any of SpeechBrain's interfaces: weights, YAML and model card.

    Arguments
    ---------
    brain : DownstreamBrain
        The Brain, after training.
    hparams : Mapping
        The settings of the recipe, whose results.json must be there.
    task : Task
        The task, for the model card.
    blocks : sequence of str
        YAML that follows the keys `encoder`, `audio_normalizer` and `mixer`: the keys that the
        interface needs, with a `pretrainer` that loads the parts.
    parts : Mapping
        Name of a loadable -> module, whose weights are saved as NAME.ckpt.

    Returns
    -------
    Path
        The folder.
    """
    folder = Path(hparams["output_folder"], "inference")
    folder.mkdir(exist_ok=True)
    for name, module in parts.items():
        partial = folder / f".{name}.ckpt"
        torch.save({k: v.cpu() for k, v in module.state_dict().items()}, partial)
        partial.replace(folder / f"{name}.ckpt")
    mixer = new_block("mixer", type(unwrap(brain.modules.mixer)), num_layers=brain.num_layers)
    description = brain.pretrained.description.strip()
    text = "\n\n".join([description, AUDIO_NORMALIZER, mixer, *blocks])
    write_atomic(folder / "hyperparams.yaml", "# For inference: see README.md\n" + text)
    write_atomic(folder / "README.md", downstream_card(hparams, task))
    return folder


def downstream_card(hparams: Mapping, task: Task) -> str:
    """Makes the model card of a downstream recipe from its results.json and results.md.

    Arguments
    ---------
    hparams : Mapping
        The recipe's settings.
    task : Task
        The task, whose title and use the card shows.

    Returns
    -------
    str
        The card in Markdown.
    """
    folder = Path(hparams["output_folder"])
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    csv = {
        split: one_line(portable_sources(hparams[f"{split}_csv"]))
        for split in ("train", "valid", "test")
    }
    note = f"\n{task.use.note(results['metrics'])}\n" if task.use.note else ""
    return f"""{front_matter([task.name])}
# {task.title}

{indent(task.use.code(), " " * 4)}
{note}
This needs the package `masr_modules`. The encoder, which was
{"frozen" if results["freeze"] else "fine-tuned"}, is {one_line(portable(results["encoder"]))}.

## Data

The model was trained on {csv["train"]} and tested on {csv["test"]};
its epoch was chosen on {csv["valid"]}.

## Results

{(folder / "results.md").read_text(encoding="utf-8")}
{LICENCE}"""
