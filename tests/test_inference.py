"""Ready-to-use encoders: what they are given, other precisions and rates, long files."""

import logging

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import masr_modules.inference as inference
from masr_modules.downstream.export import AUDIO_NORMALIZER, CLASSIFIER
from masr_modules.downstream.heads import LinearClassifier, StatisticsHead
from masr_modules.downstream.layers import WeightedLayers
from masr_modules.encoders.pretrained import build_encoder, describe_encoder
from masr_modules.inference import MASREncoder, UtteranceEmbedding, check_waveforms

MELS = """
sample_rate: {rate}
encoder: !new:masr_modules.encoders.SpeechEncoder
    features: !new:masr_modules.encoders.LogMel {{sample_rate: {rate}, n_mels: 40}}
    front_end: !new:masr_modules.encoders.ConvFrontEnd
        {{input_size: 40, d_model: 8, kernel_sizes: [7], strides: [4]}}
    num_layers: 1
    d_model: 8
    d_ffn: 8
    nhead: 2
"""
SAMPLES = """
sample_rate: {rate}
encoder: !new:masr_modules.encoders.SpeechEncoder
    features: !new:masr_modules.encoders.Waveform {{sample_rate: {rate}}}
    front_end: !new:masr_modules.encoders.LatentFrontEnd {{d_model: 8, channels: 8}}
    num_layers: 1
    d_model: 8
    d_ffn: 8
    nhead: 2
    kernel_size: null
"""


def make_encoder(text=MELS, rate=16000):
    torch.manual_seed(0)
    return MASREncoder(build_encoder(describe_encoder(text.format(rate=rate)))["encoder"], rate)


def noise(*shape):
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(1))


WRONG = {
    "in samples": torch.tensor([4000, 8000]),
    "in samples, as floats": torch.tensor([4000.0, 8000.0]),
    "in seconds": torch.tensor([1.5, 3.0]),
    "above 1": torch.tensor([1.0, 1.01]),
    "zero": torch.tensor([0.0, 1.0]),
    "negative": torch.tensor([-0.5, 1.0]),
    "NaN": torch.tensor([float("nan"), 1.0]),
    "infinite": torch.tensor([float("inf"), 1.0]),
    "less than a sample": torch.tensor([1e-6, 1.0]),
    "one for two": torch.tensor([1.0]),
    "two-dimensional": torch.ones(2, 1),
    "a number": torch.tensor(1.0),
}


@pytest.mark.parametrize("lens", WRONG.values(), ids=WRONG)
def test_lengths_that_are_not_relative_are_an_error(lens):
    encoder, wavs = make_encoder(), noise(2, 8000)
    for use in (encoder.encode_batch, encoder.embed_batch):
        with pytest.raises(ValueError, match=r"\(0, 1\]"):
            use(wavs, lens)
    embedding = UtteranceEmbedding(encoder.encoder, WeightedLayers(2), StatisticsHead(8))
    with pytest.raises(ValueError, match=r"\(0, 1\]"):  # as SpeechBrain's interfaces call it
        embedding(wavs, lens)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=2, max_size=2))
def test_lengths_are_taken_where_all_are_relative_and_nowhere_else(lens):
    wavs = noise(2, 800)
    # A quotient may be rounded to a little above 1; what is less than half a sample is none.
    good = all(0 < x <= 1.00001 and round(x * 800) >= 1 for x in lens)
    if good:
        assert check_waveforms(wavs, lens)[1].max() <= 1
        return
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        check_waveforms(wavs, lens)


def test_relative_lengths_give_what_each_utterance_gives_alone():
    encoder, wavs = make_encoder(), noise(2, 8000)
    wavs[0, 4000:] = 0
    for lens in (torch.tensor([0.5, 1.0]), [0.5, 1.0], torch.tensor([0.5, 1.0]).double()):
        found = encoder.embed_batch(wavs, lens)
        torch.testing.assert_close(found[:1], encoder.embed_batch(wavs[0, :4000]))
        torch.testing.assert_close(found[1:], encoder.embed_batch(wavs[1]))


def test_lengths_that_end_before_the_samples_do_are_told(caplog):
    with caplog.at_level(logging.WARNING):
        check_waveforms(noise(2, 800), torch.tensor([0.25, 0.5]))  # perhaps seconds
        assert "wav_lens ends at 400 of 800 samples" in caplog.text
        caplog.clear()
        wavs = noise(1, 800)
        wavs[:, 400:] = 0
        check_waveforms(wavs, torch.tensor([0.5]))
    assert not caplog.records


@pytest.mark.parametrize(
    "wavs, message",
    [
        (torch.zeros(16000, 2), "samples, channels"),
        (torch.zeros(16000, 1), "samples, channels"),
        (torch.zeros(0), "at least one of them"),
        (torch.zeros(2, 0), "at least one of them"),
        (torch.zeros(0, 100), "at least one of them"),
        (torch.zeros(1, 1, 100), r"\(B, T\) or \(T,\)"),
        (torch.tensor(0.5), r"\(B, T\) or \(T,\)"),
        (torch.full((2, 100), float("nan")), "NaN or infinite"),
        (torch.full((100,), float("inf")), "NaN or infinite"),
        (torch.zeros(100, dtype=torch.int16), "tensor of floats"),
        ([0.0, 0.1], "tensor of floats"),
    ],
)
def test_samples_of_another_shape_or_kind_are_an_error(wavs, message):
    encoder = make_encoder()
    for use in (encoder.encode_batch, encoder.embed_batch):
        with pytest.raises(ValueError, match=message):
            use(wavs)


def test_a_file_without_samples_is_an_error(tmp_path):
    soundfile.write(tmp_path / "a.wav", [], 16000)
    with pytest.raises(ValueError, match=r"a\.wav: cannot be decoded: no samples"):
        make_encoder().encode_file(tmp_path / "a.wav")


@pytest.mark.parametrize("text", [MELS, SAMPLES], ids=["mels", "samples"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_nearly_the_same(text, dtype):
    wavs, lens = noise(2, 16000), torch.tensor([1.0, 0.5])
    expected = make_encoder(text).embed_batch(wavs, lens)
    encoder = make_encoder(text).to(dtype)
    for heard in (wavs, wavs.to(dtype)):
        found = encoder.embed_batch(heard, lens).float()
        assert torch.cosine_similarity(found, expected).min() > 0.999


@pytest.mark.parametrize("text", [MELS, SAMPLES], ids=["mels", "samples"])
@pytest.mark.parametrize("rate", [16000, 8000, 44100, 22050])
def test_a_long_file_has_as_many_frames_as_in_one_piece_and_in_their_places(
    text, rate, tmp_path, monkeypatch
):
    encoder, path = make_encoder(text), tmp_path / "a.wav"
    # A louder second every five: frames in another place would be found out.
    seconds = torch.arange(int(rate * 31.37)) / rate
    audio = noise(len(seconds)) * (1 + 8 * (seconds.long() % 5 == 0))
    soundfile.write(path, audio.numpy() / 10, rate)
    whole = encoder.encode_file(path)
    monkeypatch.setattr(inference, "PART_SECONDS", 6.0)
    monkeypatch.setattr(inference, "CONTEXT_SECONDS", 1.0)
    heard = []
    read = inference.read_audio
    monkeypatch.setattr(
        inference, "read_audio", lambda *a, **k: heard.append(read(*a, **k)) or heard[-1]
    )
    parts = encoder.encode_file(path)
    assert len(heard) == 5 and max(map(len, heard)) <= 9.1 * 16000
    assert parts.shape == whole.shape
    # The front end's frames, before attention: those of a place are alike.
    first = encoder.encode_file(path, layer=0)
    monkeypatch.setattr(inference, "PART_SECONDS", 60.0)
    expected = encoder.encode_file(path, layer=0)
    assert torch.cosine_similarity(first, expected, dim=1).median() > 0.99
    shifted = torch.cosine_similarity(first[1:], expected[:-1], dim=1).median()
    assert shifted < torch.cosine_similarity(first, expected, dim=1).median()


def test_a_short_file_is_encoded_in_one_piece(tmp_path):
    encoder, path = make_encoder(), tmp_path / "a.wav"
    soundfile.write(path, noise(16000).numpy(), 16000, "FLOAT")
    torch.testing.assert_close(encoder.encode_file(path), encoder.encode_batch(noise(16000))[0][0])
    torch.testing.assert_close(encoder.embed_file(path), encoder.embed_batch(noise(16000))[0])


def test_an_exported_model_hears_files_at_its_own_rate(tmp_path):
    """As export_classifier writes it; SpeechBrain brings files to 16 kHz by default."""
    from speechbrain.dataio.encoder import CategoricalEncoder
    from speechbrain.inference.classifiers import EncoderClassifier

    torch.manual_seed(0)
    masr, mixer, head = make_encoder(rate=8000), WeightedLayers(2), StatisticsHead(8)
    classifier = LinearClassifier(head.embedding_size, 3)
    blocks = [
        MELS.format(rate=8000).strip(),
        AUDIO_NORMALIZER,
        "mixer: !new:masr_modules.downstream.layers.WeightedLayers\n    num_layers: 2",
        "head: !new:masr_modules.downstream.heads.StatisticsHead\n    input_size: 8",
        "classifier: !new:masr_modules.downstream.heads.LinearClassifier\n"
        f"    input_size: {head.embedding_size}\n    out_neurons: 3",
        CLASSIFIER,
    ]
    (tmp_path / "hyperparams.yaml").write_text("\n\n".join(blocks))
    whole = UtteranceEmbedding(masr.encoder, mixer, head).eval()
    torch.save(whole.state_dict(), tmp_path / "embedding_model.ckpt")
    torch.save(classifier.state_dict(), tmp_path / "classifier.ckpt")
    labels = CategoricalEncoder()
    labels.update_from_iterable("abc")
    labels.save(tmp_path / "label_encoder.ckpt")
    loaded = EncoderClassifier.from_hparams(source=str(tmp_path), savedir=str(tmp_path))
    for rate in (8000, 16000):
        path = tmp_path / f"{rate}.wav"
        soundfile.write(path, noise(rate).numpy(), rate, "FLOAT")
        heard = inference.read_audio(str(path), 8000, None, 0)
        expected = classifier(whole(heard.unsqueeze(0), torch.ones(1)))
        torch.testing.assert_close(
            loaded.classify_file(str(path))[0], expected, atol=1e-4, rtol=1e-3
        )
