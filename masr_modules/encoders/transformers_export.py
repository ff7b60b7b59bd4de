"""Saves a continued encoder as a folder that `transformers` loads."""

import copy
from pathlib import Path

from masr_modules.config.extras import extra
from masr_modules.encoders.adapters import ADAPTER, save_adapter
from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.transformers_files import load_decoder, load_tokenizer

with extra("hub"):
    from transformers import (
        SeamlessM4TFeatureExtractor,
        Wav2Vec2FeatureExtractor,
        WhisperFeatureExtractor,
    )


def save_transformers(
    encoder: HuggingFaceEncoder, folder: str | Path, merge_adapters: bool = True
) -> None:
    """Saves what `AutoModel.from_pretrained` and HuggingFaceEncoder load; the encoder stays as is.

    The pretraining head that a checkpoint came with, continued too, goes along; a Whisper gets the
    decoder and the tokenizer of its source. Weights are float32, in safetensors.

    Arguments
    ---------
    encoder : HuggingFaceEncoder
        Loaded from a source.
    folder : str or Path
        An empty one.
    merge_adapters : bool
        Whether LoRA's adapters go into the weights. Else the weights are those of the start, and
        `adapter/` in the folder is for `peft.PeftModel.from_pretrained`; HuggingFaceEncoder adds it
        by itself.

    Raises
    ------
    OSError
        If a Whisper's source is no longer there, whose decoder is needed.
    """
    folder = Path(folder)
    saved = copy.deepcopy(encoder)
    if saved.lora is not None and not merge_adapters:
        save_adapter(saved.lora, saved.model, folder / ADAPTER)
    saved.remove_adapters(merge_adapters)
    if saved.input_kind == "whisper":
        complete = load_decoder(saved.source)
        complete.get_encoder().load_state_dict(saved.model.encoder.state_dict())
        tokenizer = load_tokenizer(saved.source)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
    elif saved.head is not None:
        complete = saved.head
        setattr(complete, complete.base_model_prefix, saved.model)
    else:
        complete = saved.model
    for key, value in saved.published.items():
        setattr(complete.config, key, value)
    complete.save_pretrained(folder)
    _preprocessor(saved).save_pretrained(folder)
    for path in folder.rglob("*.safetensors"):  # written for their owner alone
        path.chmod(0o644)


def _preprocessor(encoder: HuggingFaceEncoder):
    """That of transformers whose output is what the encoder hears."""
    if encoder.input_kind == "whisper":
        return WhisperFeatureExtractor(feature_size=encoder.model.config.num_mel_bins)
    if encoder.input_kind == "kaldi":
        return SeamlessM4TFeatureExtractor()
    return Wav2Vec2FeatureExtractor(
        sampling_rate=encoder.sample_rate,
        do_normalize=encoder.normalize,
        return_attention_mask=not encoder.padding_sensitive,
    )
