"""Text as it is scored, and error rates against jiwer, SpeechBrain and by hand."""

import csv
import random
import unicodedata

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechbrain.utils.edit_distance import accumulatable_wer_stats

from masr_modules.metrics.transcripts import (
    ErrorRates,
    Scores,
    Transcript,
    normalise_text,
    official_text,
    write_transcripts,
)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Hello,  World!\t(again)", "hello world again"),
        ("mother-in-law", "mother in law"),
        ("a\u2010b c\u2011d e\u2013f g\u2212h \u05d0\u05be\u05d1", "a b c d e f g h \u05d0 \u05d1"),
        ("rail\u00adway", "railway"),  # a soft hyphen stands inside one word
        ("it's ‘fine’, isn’t it'", "it's fine isn't it"),
        ("rock 'n' roll", "rock n roll"),
        ("ﬁne ＡＢＣ １２", "fine abc 12"),  # NFKC: ligature, full width
        ("e\u0301", "é"),
        ("İstanbul", "i̇stanbul"),  # Python's lower case of the dotted capital has two characters
        ("ఆరు గంటలు", "ఆరు గంటలు"),  # vowel signs are combining marks
        ("ไม่เป็นไร", "ไม่เป็นไร"),
        ("می\u200cخواهم", "میخواهم"),  # a zero-width non-joiner is no character of speech
        ("5 € + 3 % = ¿?", "5 3"),
        ("نعم؟ لا،", "نعم لا"),
        ("你好，世界。", "你好 世界"),
        ("\ufeffa\u00a0b\u3000c\nd\x00e", "a b c d e"),
        ("", ""),
        ("... '", ""),
    ],
)
def test_normalised_text(text, expected):
    assert normalise_text(text) == expected


@pytest.mark.parametrize("hyphen", "-\u2010\u2011")
def test_a_hyphen_that_is_kept_is_written_in_one_way(hyphen):
    text = f"Mother{hyphen}in{hyphen}law, pre{hyphen} and post{hyphen}war - isn’t it?"
    assert normalise_text(text, "'-") == "mother-in-law pre and post-war isn't it"


@pytest.mark.parametrize("text", ["pre- and post-war", "l’an 2,5 %", "utc+1", "ﬁne İ", "नौ"])
def test_an_official_transcription_stands_as_it_is(text):
    assert official_text(text) == text
    assert official_text(f"\n{text}\u00a0 {text} ") == f"{text} {text}"


def test_an_official_transcription_is_composed():
    assert official_text("e\u0301") == "é"


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing_and_leaves_no_punctuation(text):
    once = normalise_text(text)
    assert normalise_text(once) == once == once.strip()
    assert "  " not in once
    assert all(c == "'" or unicodedata.category(c)[0] not in "PSC" for c in once)


def random_texts(count):
    draw = random.Random(5)
    words = ["ein", "zwei", "drei", "नौ", "दस", "l'un"]
    return [" ".join(draw.choices(words, k=draw.randint(1, 6))) for _ in range(count)]


def test_error_rates_are_those_of_jiwer_and_of_speechbrain():
    references, hypotheses = random_texts(50), random_texts(100)[50:]
    hypotheses[7] = ""
    rates = ErrorRates.of(references, hypotheses)
    assert rates.wer == pytest.approx(jiwer.wer(references, hypotheses))
    assert rates.cer == pytest.approx(jiwer.cer(references, hypotheses))
    for split, errors, tokens in (
        (str.split, rates.word_errors, rates.words),
        (list, rates.character_errors, rates.characters),
    ):
        pair = ([split(text) for text in texts] for texts in (references, hypotheses))
        other = accumulatable_wer_stats(*pair)
        wrong = other["insertions"] + other["deletions"] + other["substitutions"]
        assert (errors, tokens) == (wrong, other["num_ref_tokens"])


def test_nothing_recognised_is_one_hundred_per_cent():
    rates = ErrorRates.of(["ab c"], [""])
    assert (rates.cer, rates.wer, rates.characters, rates.words) == (1.0, 1.0, 4, 2)


def test_insertions_can_pass_one_hundred_per_cent():
    assert ErrorRates.of(["a"], ["a b c"]).wer == 2.0


@pytest.mark.parametrize("references", [[], [""], ["a", ""], ["a", " "], ["\t\u00a0"]])
def test_no_rate_without_a_reference(references):
    with pytest.raises(ValueError, match="none of them empty"):
        ErrorRates.of(references, references)


TRANSCRIPTS = [
    Transcript("1", "deu", 1.5, "ja nein", "ja nein"),
    Transcript("2", "deu", 1.0, "ja", "na"),
    Transcript("3", "fra", 2.0, "oui", "ui"),
    Transcript("4", "fra", 2.0, "", "ui"),
    Transcript("6", "fra", 2.0, " \u00a0", "ui"),
    Transcript("5", "", 2.0, "ab", "ab"),
]


def test_means_over_languages_and_over_all():
    scores = Scores(TRANSCRIPTS)
    # deu: 1 of 9 characters, 1 of 3 words; fra: 1 of 3, 1 of 1; all: 2 of 14, 2 of 5.
    assert scores.empty == 2
    assert scores.metrics == pytest.approx(
        {
            "cer": 2 / 14,
            "wer": 2 / 5,
            "macro_cer": (1 / 9 + 1 / 3) / 2,
            "macro_wer": (1 / 3 + 1) / 2,
            "cer, deu": 1 / 9,
            "cer, fra": 1 / 3,
            "wer, deu": 1 / 3,
            "wer, fra": 1.0,
        }
    )
    assert scores.table().splitlines()[2:] == [
        "| deu      | 2          | 9          | 11.1    | 3     | 33.3    |",
        "| fra      | 1          | 3          | 33.3    | 1     | 100.0   |",
        "| all      | 4          | 14         | 14.3    | 5     | 40.0    |",
    ]


def test_a_transcript_is_normalised_on_both_sides():
    transcript = Transcript("1", "fra", 2.0, "Dit-on", "dit on!").normalised()
    assert transcript == Transcript("1", "fra", 2.0, "dit on", "dit on")
    assert Transcript("1", "", 2.0, "a-b", "a b").normalised("-").reference == "a-b"


def test_without_languages_the_mean_is_that_of_all():
    scores = Scores([Transcript("1", "", 1.0, "ab", "a")])
    assert scores.macro_cer == scores.pooled.cer == 0.5 and scores.macro_wer == 1.0


def test_references_without_text_are_an_error():
    with pytest.raises(ValueError, match="none of 1 utterances has a text"):
        Scores([Transcript("1", "deu", 1.0, "", "a")])


def test_the_table_of_transcripts_is_written_whole(tmp_path):
    path = tmp_path / "predictions.csv"
    write_transcripts(path, [Transcript("a,b", "deu", 1.5, 'x "y"', "")])
    with open(path, encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {
                "ID": "a,b",
                "language": "deu",
                "duration": "1.5",
                "reference": 'x "y"',
                "hypothesis": "",
            }
        ]
    with pytest.raises(ValueError, match="'1' is repeated"):
        write_transcripts(path, TRANSCRIPTS[:1] * 2)
    assert len(list(tmp_path.iterdir())) == 1
