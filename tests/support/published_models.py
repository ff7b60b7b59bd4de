"""Small networks of the published kinds, and folders in the layout of theirs."""

import json

import torch
import transformers
from safetensors.torch import load_file

#: Post-norm and group norm, as in Base; no dropout, so that two passes are alike.
NETWORK = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8] * 7,
    "num_conv_pos_embedding_groups": 2,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
}
WAV2VEC2 = NETWORK | {
    "model_type": "wav2vec2",
    "normalize": False,
    "num_codevectors_per_group": 8,
    "codevector_dim": 12,
    "proj_codevector_dim": 12,
    "num_negatives": 10,
    "feat_quantizer_dropout": 0.0,
}
HUBERT = NETWORK | {"model_type": "hubert", "normalize": False}
DATA2VEC = NETWORK | {"model_type": "data2vec-audio"}
#: `model_type` -> class of transformers.
CLASSES = {
    "wav2vec2": transformers.Wav2Vec2ForPreTraining,
    "hubert": transformers.HubertModel,
    "data2vec-audio": transformers.Data2VecAudioModel,
}


def theirs(config):
    """The model of transformers that a configuration names, with drawn weights."""
    values = {key: value for key, value in config.items() if key != "normalize"}
    config_class = transformers.CONFIG_MAPPING[values.pop("model_type")]
    return CLASSES[config["model_type"]](config_class(**values))


def save_as_published(model, folder):
    """A folder as facebook's: a pickle, weight norm in the names that torch had; its path."""
    model.save_pretrained(folder)
    weights = folder / "model.safetensors"
    names = {"parametrizations.weight.original0": "weight_g"}
    names |= {"parametrizations.weight.original1": "weight_v"}
    state = load_file(weights)
    for new, old in names.items():
        state = {key.replace(new, old): value for key, value in state.items()}
    torch.save(state, folder / "pytorch_model.bin")
    weights.unlink()
    group = getattr(model.config, "feat_extract_norm", "layer") == "group"
    extractor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True}
    extractor |= {"sampling_rate": 16000, "feature_size": 1, "return_attention_mask": not group}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    return str(folder)
