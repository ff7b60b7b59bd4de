"""Small, randomly initialised models of each `transformers` family, saved to a folder."""

import torch
import transformers

#: Enough for the interface; the strides make frames of 20 ms, as published.
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "attention_dropout": 0.0,
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
}
CONV = {
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
LAYER = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
HEAD = {
    "num_codevectors_per_group": 8,
    "codevector_dim": 16,
    "proj_codevector_dim": 16,
    "num_negatives": 10,
}
#: Name -> (model class, its configuration, whether waveforms are normalised).
MODELS = {
    "xls_r": ("Wav2Vec2ForPreTraining", CONV | LAYER | HEAD),
    "wav2vec2": ("Wav2Vec2ForPreTraining", CONV | HEAD),
    "wav2vec2 without head": ("Wav2Vec2Model", CONV | LAYER),
    "hubert": ("HubertModel", CONV),
    "wavlm": ("WavLMModel", CONV | LAYER),
    "wav2vec2-bert": ("Wav2Vec2BertModel", {"feature_projection_input_dim": 160}),
    "data2vec": ("Data2VecAudioModel", CONV | {"num_conv_pos_embeddings": 2, "conv_bias": True}),
    "unispeech-sat": ("UniSpeechSatModel", CONV | LAYER),
    "wav2vec2-conformer": ("Wav2Vec2ConformerModel", CONV | LAYER),
    "mms": ("Wav2Vec2Model", CONV | LAYER | {"adapter_attn_dim": 4}),
}


#: Of a Whisper with its decoder.
WHISPER = {
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 48,
    "vocab_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "decoder_start_token_id": 1,
    "begin_suppress_tokens": None,
    "suppress_tokens": None,
}


def save_whisper(folder, n_mels: int = 80) -> str:
    """Saves a small Whisper with its preprocessor; the folder as a str."""
    torch.manual_seed(0)
    config = transformers.WhisperConfig(**WHISPER, num_mel_bins=n_mels)
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=n_mels).save_pretrained(folder)
    return str(folder)


def padded_whisper(encoder, wav, num_frames: int) -> list:
    """Layers of transformers' own pass over 30 s, where no frame attends to the silence.

    Arguments
    ---------
    encoder : transformers.WhisperEncoder
        In eval mode.
    wav : torch.Tensor
        (T,) samples.
    num_frames : int
        Of the utterance: all else is silence.

    Returns
    -------
    list of torch.Tensor
        (1, num_frames, D) each.
    """
    extractor = transformers.WhisperFeatureExtractor(feature_size=encoder.config.num_mel_bins)
    features = extractor(wav.numpy(), sampling_rate=16000, return_tensors="pt").input_features
    unseen = torch.zeros(1, 1, 1, encoder.config.max_source_positions)
    unseen[..., num_frames:] = -torch.inf
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: (given[0], unseen))
        for layer in encoder.layers
    ]
    with torch.no_grad():
        output = encoder(features, output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    layers = [*output.hidden_states[:-1], output.last_hidden_state]
    return [layer[:, :num_frames] for layer in layers]


def save_small(name: str, folder) -> str:
    """Saves a small model of the family with its preprocessor; the folder as a str."""
    if name.startswith("whisper"):
        return save_whisper(folder, 128 if name.endswith("128") else 80)
    torch.manual_seed(0)
    model_class, config = MODELS[name]
    model = getattr(transformers, model_class)
    config = model.config_class(**SMALL, **config)
    model(config).save_pretrained(folder)
    if name == "wav2vec2-bert":
        transformers.SeamlessM4TFeatureExtractor().save_pretrained(folder)
    else:
        normalize = getattr(config, "feat_extract_norm", "layer") == "layer"
        transformers.Wav2Vec2FeatureExtractor(do_normalize=normalize).save_pretrained(folder)
    return str(folder)
