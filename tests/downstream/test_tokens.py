"""Tokens of a recogniser, and decoding."""

import pytest
import torch

from masr_modules.downstream import decoding
from masr_modules.downstream.asr import drop_crowded, with_text
from masr_modules.downstream.decoding import beam_decoder, decode_batch, greedy_decoder
from masr_modules.downstream.tokens import Tokenizer, frames_needed, make_tokenizer
from masr_modules.metrics.transcripts import normalise_text, official_text

TEXTS = ["ein haus", "eine maus", "нет", "ein baum im haus", "l'un", "नौ दस"]


@pytest.fixture
def tokenizer(tmp_path):
    return make_tokenizer(tmp_path / "tokenizer.model", TEXTS, "char")


@pytest.mark.parametrize("model_type, size", [("char", None), ("unigram", 23), ("bpe", 40)])
def test_training_texts_survive_and_blank_is_zero(model_type, size, tmp_path):
    tokenizer = make_tokenizer(tmp_path / "a.model", TEXTS, model_type, size)
    for text in TEXTS:
        tokens = tokenizer.encode(text)
        assert tokenizer.decode_ids(tokens) == text
        assert 0 not in tokens and 1 not in tokens  # neither blank nor unknown
    assert tokenizer.pad_id() == 0 and size in (None, tokenizer.vocab_size())


def test_unknown_characters_are_not_written(tokenizer):
    assert tokenizer.decode_ids(tokenizer.encode("eiξn")) == "ein"


def test_a_model_that_is_there_is_used(tmp_path):
    path = tmp_path / "a.model"
    make_tokenizer(path, TEXTS, "unigram", 23)
    before = path.read_bytes()
    other = make_tokenizer(path, ["quite other texts"], "unigram", 23)
    assert path.read_bytes() == before and other.decode_ids(other.encode("haus")) == "haus"
    assert [file.name for file in tmp_path.iterdir()] == ["a.model"]
    with pytest.raises(ValueError, match="a.model: has 23 tokens, but vocab_size is 30"):
        make_tokenizer(path, TEXTS, "unigram", 30)


@pytest.mark.parametrize("model_type, size", [("unigram", 5000), ("bpe", 5000), ("unigram", 5)])
def test_a_size_that_does_not_fit_the_texts_names_the_remedy(model_type, size, tmp_path):
    with pytest.raises(ValueError, match="Choose another vocab_size, or --model_type char"):
        make_tokenizer(tmp_path / "a.model", TEXTS, model_type, size)
    assert not list(tmp_path.iterdir())


def test_pieces_need_a_size(tmp_path):
    with pytest.raises(ValueError, match="'bpe' needs a vocab_size"):
        make_tokenizer(tmp_path / "a.model", TEXTS, "bpe")


def posteriors(tokenizer: Tokenizer, pieces, peak=0.9):
    """(F, V) log-posteriors that prefer these pieces."""
    size = tokenizer.vocab_size()
    out = torch.full((len(pieces), size), (1 - peak) / (size - 1))
    for frame, piece in enumerate(pieces):
        out[frame, tokenizer.piece_to_id(piece)] = peak
    return out.log()


FRAMES = ["▁", "<blank>", "▁", "e", "e", "i", "<blank>", "n", "n", "<blank>", "n", "▁", "<blank>"]


@pytest.mark.parametrize("make", [greedy_decoder, lambda tokenizer: beam_decoder(tokenizer, 5)])
def test_repetitions_and_blanks_go(make, tokenizer):
    decode = make(tokenizer)
    assert decode(posteriors(tokenizer, FRAMES)) == "einn"
    assert decode(posteriors(tokenizer, ["<blank>"] * 4)) == ""


def test_a_beam_sums_over_alignments(tokenizer):
    # Greedy takes blank twice (0.6 x 0.6 = 0.36). "e" has 0.4 x 0.6 twice and 0.4 x 0.4: 0.64.
    frames = torch.full((2, tokenizer.vocab_size()), 1e-9)
    frames[:, 0], frames[:, tokenizer.piece_to_id("e")] = 0.6, 0.4
    assert greedy_decoder(tokenizer)(frames.log()) == ""
    assert beam_decoder(tokenizer, 5)(frames.log()) == "e"


@pytest.mark.parametrize("make", [greedy_decoder, lambda tokenizer: beam_decoder(tokenizer, 5)])
def test_padding_is_not_decoded(make, tokenizer):
    frames = posteriors(tokenizer, FRAMES)
    padded = torch.cat([frames, posteriors(tokenizer, ["h"] * 7)])
    batch, lens = torch.stack([padded, padded]), torch.tensor([len(frames), len(padded)])
    assert decode_batch(make(tokenizer), batch, lens) == ["einn", "einn h"]


def test_an_ngram_needs_its_file_and_its_package(tokenizer, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="words.arpa: no such file"):
        beam_decoder(tokenizer, 5, tmp_path / "words.arpa")
    (tmp_path / "words.arpa").touch()
    monkeypatch.setattr(decoding, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install kenlm"):
        beam_decoder(tokenizer, 5, tmp_path / "words.arpa")


def test_ctc_needs_a_blank_between_equal_tokens(tokenizer):
    assert frames_needed(tokenizer.encode("neet")) == 6  # ▁ n e blank e t
    rows = {
        "slow": {"text": "neet", "duration": 0.60},
        "fast": {"text": "neet", "duration": 0.59},
    }
    assert list(drop_crowded(rows, tokenizer, 10.0)) == ["slow"]
    with pytest.raises(ValueError, match="too few for the tokens of every utterance"):
        drop_crowded(rows, tokenizer, 1.0)


def test_rows_without_text_are_left_out():
    rows = {"a": {"text": "Ja!"}, "b": {"text": " … "}, "c": {"text": ""}}
    assert with_text(rows, "train", normalise_text) == {"a": {"text": "ja"}}
    assert list(with_text(rows, "train", official_text)) == ["a", "b"]
    with pytest.raises(ValueError, match="test: no utterance has a text"):
        with_text({"b": rows["b"]}, "test", normalise_text)
