"""Encoders of the transformers library: what is heard, what is trained, what is refused."""

import copy
import json
import pickle

import pytest
import torch
import transformers
from hf_models import MODELS, save_small
from small_models import small_huggingface, speech, step

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.pretrained import load_encoder
from masr_modules.objectives.huggingface import HuggingFaceSSL

pytestmark = pytest.mark.slow


def trained(module):
    return {name for name, p in module.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", MODELS)
def test_frames_are_those_of_transformers_with_its_own_preprocessor(name, tmp_path):
    folder = save_small(name, tmp_path)
    wavs, lens = speech(16000)
    layers, frame_lens = HuggingFaceEncoder(folder).eval()(wavs, lens)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(wavs[0].numpy(), sampling_rate=16000, return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    expected = model(**inputs, output_hidden_states=True)
    assert len(layers) == len(expected.hidden_states) == 3
    assert frame_lens.tolist() == [expected.last_hidden_state.shape[1]]
    torch.testing.assert_close(layers[0], expected.hidden_states[0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(layers[-1], expected.last_hidden_state, atol=1e-3, rtol=1e-3)


def test_group_norm_and_unmasked_convolutions_make_a_model_padding_sensitive(tmp_path):
    sensitive = {
        name: HuggingFaceEncoder(save_small(name, tmp_path / name)).padding_sensitive
        for name in (*MODELS, "whisper")
    }
    expected = {"wav2vec2", "hubert", "data2vec", "wav2vec2-conformer"}
    assert {name for name, value in sensitive.items() if value} == expected


def test_a_shipped_pretraining_head_is_used_with_its_weights(tmp_path):
    folder = save_small("xls_r", tmp_path)
    saved = transformers.AutoModelForPreTraining.from_pretrained(folder)
    ssl = HuggingFaceSSL(HuggingFaceEncoder(folder))
    assert torch.equal(ssl.encoder.head.quantizer.codevectors, saved.quantizer.codevectors)
    assert "contrastive_accuracy" in ssl(*speech(16000), [1]).stats


def test_a_head_that_the_weights_lack_is_replaced(tmp_path):
    folder = save_small("wav2vec2 without head", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["architectures"] = ["Wav2Vec2ForPreTraining"]  # says the configuration alone
    (tmp_path / "config.json").write_text(json.dumps(config))
    ssl = HuggingFaceSSL(HuggingFaceEncoder(folder), codebook_size=16)
    assert "ssl_accuracy" in ssl(*speech(16000), [1]).stats


@pytest.mark.parametrize("name", ("xls_r", "hubert", "wavlm", "wav2vec2-bert"))
def test_lora_trains_adapters_the_mask_and_the_head(name):
    ssl = small_huggingface(name, trainable="lora", lora_rank=2)
    inside = {n for n in trained(ssl) if n.startswith("encoder.model.")}
    assert all("lora_" in n or n.endswith("masked_spec_embed") for n in inside)
    assert any("lora_A" in n for n in inside) and trained(ssl) > inside
    optimizer = torch.optim.SGD(ssl.parameters(), lr=0.01)
    step(ssl, optimizer, 1, *speech(16000))  # moves B away from zero
    ssl(*speech(16000), [1]).loss.backward()
    reached = {n for n, p in ssl.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == trained(ssl)


def test_layer_norm_alone():
    ssl = small_huggingface("wavlm", trainable="layer_norm")
    inside = {n for n in trained(ssl) if n.startswith("encoder.model.")}
    assert len(inside) > 5
    assert all("norm" in n or n.endswith("masked_spec_embed") for n in inside)


@pytest.mark.parametrize("name", ("hubert", "wav2vec2-bert"))
def test_frozen_layers_are_the_first_and_what_is_below_them(name):
    ssl = small_huggingface(name, frozen_layers=1)
    names = trained(ssl.encoder.model)
    assert not any(n.startswith(("feature_extractor", "encoder.layers.0.")) for n in names)
    assert any(n.startswith("encoder.layers.1.") for n in names)


def test_gradient_checkpointing_changes_no_gradient():
    plain, saving = (
        small_huggingface("xls_r", gradient_checkpointing=value).train() for value in (False, True)
    )
    saving.load_state_dict(plain.state_dict())
    for ssl in (plain, saving):
        torch.manual_seed(3)
        ssl(*speech(16000, 12000), [1, 2]).loss.backward()
    assert saving.encoder.model.encoder.layers[0].gradient_checkpointing
    for expected, got in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad)


def test_a_copy_encodes_alike():
    """The recipe keeps a copy of the encoder before training."""
    ssl = small_huggingface("xls_r").eval()
    expected, got = ssl.encode(*speech(16000))[0], copy.deepcopy(ssl).encode(*speech(16000))[0]
    assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


def test_another_sample_rate(tmp_path):
    folder = save_small("hubert", tmp_path)
    with pytest.raises(ValueError, match="was trained on 16000 Hz, but sample_rate is 8000"):
        HuggingFaceEncoder(folder, sample_rate=8000)


def test_an_unknown_family(tmp_path):
    transformers.BertConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ValueError, match="is a 'bert' model; .* are wav2vec2, hubert, wavlm"):
        HuggingFaceEncoder(str(tmp_path))


def test_a_folder_without_weights_configuration_or_existence(tmp_path):
    save_small("hubert", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no weights \(model\*.safetensors"):
        HuggingFaceEncoder(str(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="has no config.json"):
        HuggingFaceEncoder(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        HuggingFaceEncoder(str(tmp_path / "nowhere"))


class Payload:
    """Pickles as a call."""

    def __reduce__(self):
        return (print, ("code of the checkpoint ran",))


def test_a_pickle_with_code_does_not_run(tmp_path, capsys):
    save_small("hubert", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    hostile = {"a": Payload(), "b": torch.zeros(50_000)}  # as large as the model's own
    torch.save(hostile, tmp_path / "pytorch_model.bin", pickle_module=pickle)
    with pytest.raises(ValueError, match="hold more than weights, so they are not read"):
        HuggingFaceEncoder(str(tmp_path))
    assert "code of the checkpoint ran" not in capsys.readouterr().out


def test_an_utterance_shorter_than_one_frame():
    for name in ("hubert", "wav2vec2-bert"):
        with pytest.raises(ValueError, match="of 300 samples is shorter than one frame"):
            small_huggingface(name).encode(*speech(300, 16000))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"trainable": "some"}, "trainable is 'some': choose all, layer_norm or lora"),
        ({"frozen_layers": 3}, "frozen_layers is 3: choose 0 to 2"),
    ],
)
def test_options_that_do_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        small_huggingface("hubert", **options)


@pytest.mark.parametrize("name", ["xls_r", "wav2vec2-bert", "wavlm"])
def test_an_untrained_one_shares_no_weight_matrix_with_the_trained(name, tmp_path):
    folder = save_small(name, tmp_path)
    trained, drawn = (load_encoder(folder, flag).encoder.state_dict() for flag in (False, True))
    assert trained.keys() == drawn.keys()
    matrices = [k for k, v in trained.items() if v.ndim > 1 and k.startswith("model.")]
    same = [key for key in matrices if torch.equal(trained[key], drawn[key])]
    assert not [key for key in same if trained[key].std() > 0]


def test_features_are_as_exact_under_autocast(tmp_path):
    encoder = load_encoder(save_small("wav2vec2-bert", tmp_path)).encoder.eval()
    wavs, samples = torch.randn(2, 16000), torch.tensor([16000, 9000])
    expected = encoder._kaldi_features(wavs, samples, 49)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder._kaldi_features(wavs, samples, 49), expected)
