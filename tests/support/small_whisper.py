"""Small random Whispers as transformers folders: bytes for tokens, two seconds of audio."""

import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

SPECIAL = ("<|endoftext|>", "<|startoftranscript|>", "<|startofprev|>", "<|notimestamps|>")
END, START, PREVIOUS, NO_TIMESTAMPS = range(256, 260)


def small_tokenizer() -> WhisperTokenizer:
    """A token for each byte, then the special ones."""
    tokens = [*sorted(bytes_to_unicode().values()), *SPECIAL]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return WhisperTokenizer(vocab=vocabulary, merges=[], extra_special_tokens=list(SPECIAL))


def small_model(vocab_size: int = 300) -> WhisperForConditionalGeneration:
    """Encoder and decoder differ in every size that may differ."""
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=vocab_size,
        num_mel_bins=8,
        d_model=12,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=2,
        decoder_attention_heads=3,
        encoder_ffn_dim=20,
        decoder_ffn_dim=28,
        max_source_positions=100,
        max_target_positions=16,
        bos_token_id=END,
        eos_token_id=END,
        pad_token_id=END,
        decoder_start_token_id=START,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config).eval()
    for value in model.parameters():  # biases too, which would all be zero
        torch.nn.init.normal_(value, std=0.5)
    return model


def save_small_whisper(folder, says: str | None = None, vocab_size: int = 300) -> str:
    """Saves all that a Whisper's folder has, and returns its name.

    Arguments
    ---------
    folder : Path
        Where to.
    says : str, optional
        Characters, twelve of which it writes, whatever it hears.
    vocab_size : int
        Tokens of the model; the tokenizer has 260.
    """
    model, tokenizer = small_model(vocab_size), small_tokenizer()
    suppressed = None
    if says is not None:
        tokens = tokenizer(says, add_special_tokens=False).input_ids
        suppressed = [n for n in range(vocab_size) if n not in tokens]
    model.generation_config = GenerationConfig(
        bos_token_id=END,
        eos_token_id=END,
        pad_token_id=END,
        decoder_start_token_id=START,
        is_multilingual=False,
        max_length=12,
        no_timestamps_token_id=NO_TIMESTAMPS,
        suppress_tokens=suppressed,
    )
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=8, chunk_length=2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
