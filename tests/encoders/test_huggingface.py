"""Checkpoints of transformers in other precisions, with adapters, or with code."""

import json
import logging

import pytest
import torch
import transformers
from hf_models import MODELS, SMALL, save_small

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.inference import MASREncoder

WAVS, LENS = torch.sin(torch.arange(16000) / 9.0).repeat(2, 1), torch.tensor([1.0, 0.5])


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_checkpoint_in_half_precision_trains_and_gives_nearly_the_same(family, dtype, tmp_path):
    source = save_small(family, tmp_path / "whole")
    half = save_small(family, tmp_path / "half")  # with the preprocessor
    model = getattr(transformers, MODELS[family][0]).from_pretrained(source, dtype=dtype)
    model.save_pretrained(half)
    assert json.loads((tmp_path / "half/config.json").read_text())["dtype"] != "float32"
    expected = MASREncoder.from_hparams(source).embed_batch(WAVS, LENS)
    encoder = MASREncoder.from_hparams(half)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    found = encoder.embed_batch(WAVS, LENS)
    assert torch.cosine_similarity(found, expected).min() > 0.99
    # And where it is to run in half precision.
    found = MASREncoder.from_hparams(source).to(dtype).embed_batch(WAVS, LENS)
    assert torch.cosine_similarity(found.float(), expected).min() > 0.99


@pytest.mark.parametrize("family", ["xls_r", "wav2vec2 without head", "wavlm", "wav2vec2-bert"])
def test_an_adapter_is_left_out_and_told(family, tmp_path, caplog):
    plain, adapted = save_small(family, tmp_path / "a"), save_small(family, tmp_path / "b")
    name, config = MODELS[family]
    model_class = getattr(transformers, name)
    config = model_class.config_class(**SMALL, **config, add_adapter=True, output_hidden_size=16)
    model = model_class(config)
    model.load_state_dict(model_class.from_pretrained(plain).state_dict(), strict=False)
    model.save_pretrained(adapted)
    expected, lens = MASREncoder.from_hparams(plain).encode_batch(WAVS, LENS)
    with caplog.at_level(logging.WARNING):
        found, found_lens = MASREncoder.from_hparams(adapted).encode_batch(WAVS, LENS)
    assert "the adapter behind its encoder" in caplog.text
    assert torch.equal(found_lens, lens)
    torch.testing.assert_close(found, expected)


def test_a_strangers_folder_with_code_runs_none_and_asks_nothing(tmp_path, monkeypatch):
    source = save_small("hubert", tmp_path / "m")
    config = json.loads((tmp_path / "m/config.json").read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Config"}}
    (tmp_path / "m/config.json").write_text(json.dumps(config))
    code = f"open({str(tmp_path / 'HACKED')!r}, 'w')\nclass Config: pass\n"
    (tmp_path / "m/theirs.py").write_text(code)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ValueError, match="trust_remote_code|theirs"):
        HuggingFaceEncoder(source)
    assert not (tmp_path / "HACKED").exists()


@pytest.mark.parametrize("name, value", [("num_hidden_layers", 10**6), ("hidden_size", 2**40)])
def test_sizes_that_no_model_has_are_refused_before_memory_is_taken(name, value, tmp_path):
    source = save_small("hubert", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {name: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"config.json says {name}: {value}"):
        HuggingFaceEncoder(source)
