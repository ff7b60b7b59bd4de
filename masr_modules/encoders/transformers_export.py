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
    """Saves an encoder for `AutoModel.from_pretrained` and HuggingFaceEncoder, without changing it.

    If the encoder has a pretraining head, whose training was continued too, the head is saved with
    it. A Whisper gets the decoder and the tokenizer of its source. Weights are float32, in
    safetensors.

    Arguments
    ---------
    encoder : HuggingFaceEncoder
        An encoder that was loaded from a source.
    folder : str or Path
        An empty folder.
    merge_adapters : bool
        Whether LoRA's adapters are merged into the weights. If not, the weights are those of the
        start, and `peft.PeftModel.from_pretrained` loads the adapters from `adapter/` in the
        folder; HuggingFaceEncoder adds them by itself.

    Raises
    ------
    OSError
        If the source of a Whisper, whose decoder is needed, is no longer there.
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
    for path in folder.rglob("*.safetensors"):  # they were written readable by their owner alone
        path.chmod(0o644)


def _preprocessor(encoder: HuggingFaceEncoder):
    """Returns the preprocessor of transformers whose output is the encoder's input."""
    if encoder.input_kind == "whisper":
        return WhisperFeatureExtractor(feature_size=encoder.model.config.num_mel_bins)
    if encoder.input_kind == "kaldi":
        return SeamlessM4TFeatureExtractor()
    return Wav2Vec2FeatureExtractor(
        sampling_rate=encoder.sample_rate,
        do_normalize=encoder.normalize,
        return_attention_mask=not encoder.padding_sensitive,
    )
