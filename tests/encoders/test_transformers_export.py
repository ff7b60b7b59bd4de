"""A continued model of transformers comes back as one, wherever its folder goes."""

import json
import shutil

import peft
import pytest
import torch
import transformers
from hf_models import MODELS, padded_whisper, save_small, save_whisper
from safetensors.torch import load_file
from small_models import speech
from small_whisper import small_tokenizer

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.encoders.pretrained import export_encoder, load_encoder
from masr_modules.encoders.transformers_export import save_transformers
from masr_modules.inference import MASREncoder
from masr_modules.objectives.huggingface import HuggingFaceSSL

FAMILIES = [*MODELS, "whisper", "whisper 128"]
LENGTHS = (16000, 12000)


def perturb(module):
    """As a training would: no weight is what was drawn, and no statistic."""
    with torch.no_grad():
        for value in module.state_dict().values():  # not tables that are computed anew
            if value.is_floating_point():
                value += 0.05 * torch.rand_like(value)


def continued(source, **options):
    """An encoder that was trained further; the adapters of LoRA too, which start at zero."""
    torch.manual_seed(2)
    encoder = HuggingFaceEncoder(str(source), **options).eval()
    perturb(encoder.model)
    if encoder.head is not None:
        perturb(encoder.head)
    return encoder


def moved(encoder, tmp_path, **options):
    """The folder that it was saved as, elsewhere; its source is gone."""
    save_transformers(encoder, tmp_path / "saved", **options)
    shutil.rmtree(encoder.source)
    (tmp_path / "saved").rename(tmp_path / "moved")
    return tmp_path / "moved"


def assert_same(found, expected):
    """Within a millionth of the largest."""
    assert len(found) == len(expected) > 0
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= 1e-6 * b.abs().max()


def valid_frames_of(encoder, wavs, lens):
    """All layers, of each utterance what is no padding."""
    with torch.no_grad():
        layers, counts = encoder(wavs, lens)
    return [layer[row, :count] for layer in layers for row, count in enumerate(counts.tolist())]


def frames_of_transformers(model, encoder, wavs, lens):
    """The same of transformers' model, of the values that the encoder prepares."""
    if encoder.input_kind == "whisper":
        counts = encoder.prepare(wavs, lens).frame_lens.tolist()
        samples = (lens * wavs.shape[1]).round().long().tolist()
        parts = [
            padded_whisper(model.get_encoder(), wav[:length], count)
            for wav, length, count in zip(wavs, samples, counts, strict=True)
        ]
        return [rows[0] for layers in zip(*parts, strict=True) for rows in layers]

    def run(inputs):
        with torch.no_grad():
            output = model(inputs.values, inputs.attention_mask, output_hidden_states=True)
        return [*output.hidden_states[:-1], output.last_hidden_state]

    if not encoder.padding_sensitive:
        inputs = encoder.prepare(wavs, lens)
        counts = inputs.frame_lens.tolist()
        return [layer[row, :count] for layer in run(inputs) for row, count in enumerate(counts)]
    samples = (lens * wavs.shape[1]).round().long().tolist()
    parts = [
        run(encoder.prepare(wav[None, :length], torch.ones(1)))
        for wav, length in zip(wavs, samples, strict=True)
    ]
    return [rows[0] for layers in zip(*parts, strict=True) for rows in layers]


@pytest.mark.parametrize("name", FAMILIES)
def test_transformers_and_we_load_the_same_encoder_from_a_moved_folder(name, tmp_path):
    encoder = continued(save_small(name, tmp_path / "source"))
    folder = moved(encoder, tmp_path)
    batch = speech(*LENGTHS)
    expected = valid_frames_of(encoder, *batch)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    assert_same(frames_of_transformers(model, encoder, *batch), expected)
    assert_same(valid_frames_of(load_encoder(folder).encoder.eval(), *batch), expected)
    last, counts = MASREncoder.from_hparams(folder).encode_batch(*batch)
    rows = [row[:count] for row, count in zip(last, counts, strict=True)]
    assert_same(rows, expected[-len(rows) :])


@pytest.mark.parametrize("name", ["xls_r", "wav2vec2-bert", "whisper"])
def test_no_text_in_the_folder_has_a_path_of_the_machine(name, tmp_path):
    folder = moved(continued(save_small(name, tmp_path / "source")), tmp_path)
    texts = {p.name: p.read_text() for p in folder.rglob("*") if p.suffix != ".safetensors"}
    assert {"config.json", "preprocessor_config.json"} <= texts.keys()
    assert not [file for file, text in texts.items() if str(tmp_path) in text]
    assert str(tmp_path) not in load_encoder(folder).description


def test_the_encoder_in_training_stays_as_it_is(tmp_path):
    encoder = continued(save_small("xls_r", tmp_path / "source"), trainable="lora")
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    save_transformers(encoder, tmp_path / "saved")
    assert encoder.lora is not None and encoder.head is not None
    after = encoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


#: What config.json says of masks and skipped layers is for whoever fine-tunes it elsewhere.
SAID = {"layerdrop": 0.1, "mask_time_prob": 0.0, "apply_spec_augment": False}


def test_the_configuration_says_of_masks_what_the_source_said(tmp_path):
    save_small("wavlm", tmp_path / "source")
    path = tmp_path / "source/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | SAID))
    folder = moved(continued(tmp_path / "source"), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    assert {key: config[key] for key in SAID} == SAID
    HuggingFaceEncoder(str(folder))


def test_the_pretraining_head_goes_along_and_keeps_the_contrastive_loss(tmp_path):
    encoder = continued(save_small("xls_r", tmp_path / "source"))
    again = HuggingFaceEncoder(str(moved(encoder, tmp_path)))
    expected, found = encoder.head.state_dict(), again.head.state_dict()
    assert expected.keys() == found.keys() != set()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert "contrastive_accuracy" in HuggingFaceSSL(again)(*speech(16000), [1]).stats


def test_the_mask_embedding_goes_along(tmp_path):
    encoder = continued(save_small("hubert", tmp_path / "source"))
    again = HuggingFaceEncoder(str(moved(encoder, tmp_path)))
    assert torch.equal(again.model.masked_spec_embed, encoder.model.masked_spec_embed)


@pytest.mark.parametrize("name", ["wav2vec2 without head", "whisper"])
def test_half_precision_comes_out_as_float32(name, tmp_path):
    source = tmp_path / "source"
    save_small(name, source)
    whole = transformers.AutoModel.from_pretrained(source)
    half = transformers.WhisperForConditionalGeneration if name == "whisper" else type(whole)
    half.from_pretrained(source, dtype=torch.float16).save_pretrained(source)
    assert json.loads((source / "config.json").read_text())["dtype"] == "float16"
    folder = moved(HuggingFaceEncoder(str(source)), tmp_path)
    state = load_file(folder / "model.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float32"


def test_a_whisper_keeps_its_decoder_and_has_the_trained_encoder(tmp_path):
    start = transformers.WhisperForConditionalGeneration.from_pretrained(
        save_whisper(tmp_path / "source")
    )
    encoder = continued(tmp_path / "source")
    found = transformers.WhisperForConditionalGeneration.from_pretrained(moved(encoder, tmp_path))
    trained = encoder.model.encoder.state_dict()
    for key, value in found.state_dict().items():
        inside = key.removeprefix("model.encoder.")
        expected = start.state_dict()[key] if inside == key else trained[inside]
        assert torch.equal(value, expected), key
    tokens = found.generate(torch.randn(1, 80, 3000), max_new_tokens=3)
    assert tokens.shape[0] == 1


def test_a_tokenizer_goes_along_and_none_is_invented(tmp_path, caplog):
    for name in ("with", "without"):
        source = tmp_path / name / "source"
        save_whisper(source)
        if name == "with":
            small_tokenizer().save_pretrained(source)
        folder = moved(HuggingFaceEncoder(str(source)), tmp_path / name)
        assert (folder / "tokenizer.json").is_file() == (name == "with")
    assert "has no tokenizer, so that the exported folder has none either" in caplog.text
    left = {path.name for path in folder.iterdir()}
    assert not [name for name in left if "token" in name or "vocab" in name]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "with/moved")
    assert tokenizer.decode(tokenizer("as it was", add_special_tokens=False).input_ids) == (
        "as it was"
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_the_saved_preprocessor_computes_what_we_hear(name, tmp_path):
    encoder = continued(save_small(name, tmp_path / "source"))
    extractor = transformers.AutoFeatureExtractor.from_pretrained(moved(encoder, tmp_path))
    wavs, _ = speech(*LENGTHS)
    wavs = [wav[:length] for wav, length in zip(wavs, LENGTHS, strict=True)]
    if encoder.input_kind == "samples":  # whoever pads for the others must not mask
        assert extractor.return_attention_mask is not encoder.padding_sensitive
    for wav in wavs:
        given = extractor(wav.numpy(), sampling_rate=16000, return_tensors="pt")
        found = given[extractor.model_input_names[0]]
        if encoder.input_kind == "whisper":
            found = found.transpose(1, 2)
        expected = encoder.prepare(wav[None], torch.ones(1)).values
        most = 1e-3 if encoder.input_kind == "kaldi" else 1e-5
        torch.testing.assert_close(found[:, : expected.shape[1]], expected, atol=most, rtol=most)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_adapters_are_merged_or_kept_and_hear_the_same(name, tmp_path):
    encoder = continued(save_small(name, tmp_path / "source"), trainable="lora", lora_rank=2)
    batch = speech(*LENGTHS)
    expected = valid_frames_of(encoder, *batch)
    save_transformers(encoder, tmp_path / "merged")
    kept = moved(encoder, tmp_path, merge_adapters=False)
    assert not (tmp_path / "merged/adapter").exists() and (kept / "adapter").is_dir()
    assert str(tmp_path) not in (kept / "adapter/adapter_config.json").read_text()

    def close(found):
        for a, b in zip(found, expected, strict=True):
            assert (a - b).abs().max() <= 5e-6 * b.abs().max()

    for folder in (tmp_path / "merged", kept):  # their sum is rounded where they are merged
        close(valid_frames_of(load_encoder(folder).encoder.eval(), *batch))
    base = transformers.AutoModel.from_pretrained(kept).eval()
    start = frames_of_transformers(base, encoder, *batch)
    assert (start[-1] - expected[-1]).abs().max() > 1e-3  # the weights are the start's
    adapted = peft.PeftModel.from_pretrained(base, kept / "adapter").eval()
    close(frames_of_transformers(adapted.get_base_model(), encoder, *batch))


RUN = """
sample_rate: 16000
ssl: !new:masr_modules.objectives.huggingface.HuggingFaceSSL
    encoder: !new:masr_modules.encoders.huggingface.HuggingFaceEncoder
        source: {source}
        trainable: {trainable}
"""


@pytest.mark.parametrize("trainable", ["all", "lora"])
def test_the_encoder_of_a_run_is_exported_with_facts_and_card(trainable, tmp_path):
    source = save_small("xls_r", tmp_path / "source")
    ssl = HuggingFaceSSL(continued(source, trainable=trainable))
    checkpoint = tmp_path / "run/save/CKPT+a"
    checkpoint.mkdir(parents=True)
    torch.save(ssl.state_dict(), checkpoint / "ssl.ckpt")
    (checkpoint / "CKPT.yaml").write_text("unixtime: 1\nend-of-epoch: true\n")
    text = RUN.format(source=source, trainable=trainable)
    (tmp_path / "run/hyperparams.yaml").write_text(text)
    folder = export_encoder(tmp_path / "run", {"languages": ["deu"]}, "card", trainable == "all")
    shutil.rmtree(source)
    assert (folder / "README.md").read_text() == "card"
    assert (folder / "adapter").is_dir() == (trainable == "lora")
    batch = speech(*LENGTHS)
    for found in (load_encoder(folder), load_encoder(tmp_path / "run")):
        assert found.facts == {"languages": ["deu"]}
        frames = valid_frames_of(found.encoder.eval(), *batch)
        for a, b in zip(frames, valid_frames_of(ssl.encoder, *batch), strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
