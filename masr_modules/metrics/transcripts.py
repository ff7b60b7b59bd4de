"""Transcripts of a test set by a speech recogniser: normalisation of text, and error rates.

The package jiwer counts the errors, over characters (spaces count) and over words. The character
error rate is the main metric, as for FLEURS: Chinese, Japanese, Thai, Lao, Khmer, Burmese
and others are written without spaces, so that a whole sentence is one "word" and the word
error rate says next to nothing.
"""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jiwer

from masr_modules.config.files import write_atomic
from masr_modules.metrics.tables import align

HEADER = ["ID", "language", "duration", "reference", "hypothesis"]
#: Ways to write the apostrophe; all become the first.
_APOSTROPHES = re.compile("[\u2018\u2019\u02bc\uff07`\u00b4]")
#: Ways to write the hyphen; all become "-". A soft hyphen is not one: it marks a possible line end.
_HYPHENS = re.compile("[\u2010\u2011]")


def official_text(text: str) -> str:
    """Normalises a transcription to Unicode's NFC and single spaces, and changes nothing else.

    Arguments
    ---------
    text : str
        A transcription that a corpus has normalised, such as FLEURS's `transcription`, on which
        published figures are computed.

    Returns
    -------
    str
        The text.

    Example
    -------
    >>> official_text(" rendez-vous  à\\u00a08 h, dit-on ")
    'rendez-vous à 8 h, dit-on'
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def normalise_text(text: str, keep: str = "'") -> str:
    """Normalises text to plain words, to score corpora that have no official transcription.

    The result has lower case, no punctuation and single spaces, in Unicode's NFKC. Characters are
    removed by their Unicode category: punctuation (P), symbols (S) and control characters (Cc)
    become a space, so that the words around a hyphen are not joined; invisible format characters
    (Cf) become nothing. Combining marks (M) stay: they are vowels in the scripts of India and
    South-East Asia, and without them error rates would be too low (Manohar et al., arXiv
    2409.02449).

    Arguments
    ---------
    text : str
        Any text.
    keep : str
        Punctuation that stays inside a word, such as "'-". Other forms of the apostrophe become
        "'", and other hyphens become "-".

    Example
    -------
    >>> normalise_text(" L’État,  c’est  «MOI» – 100 % ")
    "l'état c'est moi 100"
    >>> normalise_text("'हिन्दी।'"), normalise_text("…")
    ('हिन्दी', '')
    >>> normalise_text("Col·legi", keep="'·")
    'col·legi'
    >>> normalise_text("well-known"), normalise_text("well-known - or so", keep="'-")
    ('well known', 'well-known or so')
    """
    text = _HYPHENS.sub("-", _APOSTROPHES.sub("'", text))
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    categories = [unicodedata.category(character) for character in text]
    pairs = zip(text, categories, strict=True)
    text = "".join(c if c in keep or k[0] not in "PSC" else " " * (k != "Cf") for c, k in pairs)
    words = (word.strip(keep) for word in text.split())
    return " ".join(word for word in words if word)


@dataclass(frozen=True)
class ErrorRates:
    """The errors of some utterances, pooled: an utterance counts by its length.

    Example
    -------
    >>> rates = ErrorRates.of(["one two", "three"], ["one too", "three four"])
    >>> rates.words, rates.word_errors  # "too" is wrong, "four" too many
    (3, 2)
    >>> rates.characters, rates.character_errors  # w -> o, and " four" (5)
    (12, 6)
    >>> round(rates.wer, 3), rates.cer
    (0.667, 0.5)
    """

    utterances: int
    characters: int
    character_errors: int
    words: int
    word_errors: int

    @classmethod
    def of(cls, references: Sequence[str], hypotheses: Sequence[str]) -> "ErrorRates":
        """Counts the errors of hypotheses; all text is compared as it is.

        Raises
        ------
        ValueError
            If there is no reference, or a reference is empty or blank.
        """
        if not references or not all(text.strip() for text in references):
            raise ValueError("error rates need references, none of them empty: leave those out")
        characters = jiwer.process_characters(list(references), list(hypotheses))
        words = jiwer.process_words(list(references), list(hypotheses))
        counts = []
        for out in (characters, words):
            wrong = out.substitutions + out.deletions
            counts += [out.hits + wrong, wrong + out.insertions]
        return cls(len(references), *counts)

    @property
    def cer(self) -> float:
        """Character error rate; it can exceed 1 if many characters were inserted."""
        return self.character_errors / self.characters

    @property
    def wer(self) -> float:
        """Word error rate; it can exceed 1 if many words were inserted."""
        return self.word_errors / self.words


@dataclass(frozen=True)
class Transcript:
    """The reference and the hypothesis of one utterance.

    Arguments
    ---------
    id : str
        The utterance's ID.
    language : str
        The utterance's language, its group in tables; "" where not known.
    duration : float
        The utterance's duration in seconds.
    reference, hypothesis : str
        The spoken and the recognised text, as they are compared.
    """

    id: str
    language: str
    duration: float
    reference: str
    hypothesis: str

    def normalised(self, keep: str = "'") -> "Transcript":
        """Returns the transcript with both texts normalised; see `normalise_text`.

        Example
        -------
        >>> Transcript("1", "fra", 1.0, "dit-on", "dit on").normalised().reference
        'dit on'
        """
        return replace(
            self,
            reference=normalise_text(self.reference, keep),
            hypothesis=normalise_text(self.hypothesis, keep),
        )


class Scores:
    """The error rates of a test set, over all utterances and for each language.

    Arguments
    ---------
    transcripts : sequence of Transcript
        The transcripts. Those with an empty or blank reference are left out, and counted in
        `empty`. Those without a language count in `pooled` alone.

    Raises
    ------
    ValueError
        If no reference has text.

    Example
    -------
    >>> scores = Scores([
    ...     Transcript("1", "fra", 1.0, "abc", "abc"),
    ...     Transcript("2", "fra", 1.0, "a", "b"),
    ...     Transcript("3", "ita", 1.0, "abcd", ""),
    ...     Transcript("4", "ita", 1.0, "", "x"),
    ... ])
    >>> scores.empty, {name: rates.cer for name, rates in scores.by_language.items()}
    (1, {'fra': 0.25, 'ita': 1.0})
    >>> scores.pooled.cer, scores.macro_cer  # 5 of 8; the mean of 0.25 and 1
    (0.625, 0.625)
    """

    def __init__(self, transcripts: Sequence[Transcript]):
        scored = [t for t in transcripts if t.reference.strip()]
        if not scored:
            raise ValueError(
                f"none of {len(transcripts)} utterances has a text to compare with: check the "
                "CSV's column of texts"
            )
        self.empty = len(transcripts) - len(scored)
        self.pooled = self._rates(scored)
        self.by_language = {
            language: self._rates([t for t in scored if t.language == language])
            for language in sorted({t.language for t in scored} - {""})
        }

    @staticmethod
    def _rates(transcripts: Sequence[Transcript]) -> ErrorRates:
        return ErrorRates.of(
            [t.reference for t in transcripts], [t.hypothesis for t in transcripts]
        )

    @property
    def macro_cer(self) -> float:
        """Mean of the languages' CER; the pooled CER if no language is known."""
        return self._mean([rates.cer for rates in self.by_language.values()], self.pooled.cer)

    @property
    def macro_wer(self) -> float:
        """Mean of the languages' WER; the pooled WER if no language is known."""
        return self._mean([rates.wer for rates in self.by_language.values()], self.pooled.wer)

    @staticmethod
    def _mean(values: list[float], otherwise: float) -> float:
        return sum(values) / len(values) if values else otherwise

    @property
    def means(self) -> dict[str, float]:
        """Key -> rate, for the pooled and macro rates."""
        return {
            "cer": self.pooled.cer,
            "wer": self.pooled.wer,
            "macro_cer": self.macro_cer,
            "macro_wer": self.macro_wer,
        }

    @property
    def metrics(self) -> dict[str, float]:
        """Key -> rate, for `means` and the rates of each language."""
        cer = {f"cer, {name}": rates.cer for name, rates in self.by_language.items()}
        wer = {f"wer, {name}": rates.wer for name, rates in self.by_language.items()}
        return self.means | cer | wer

    def table(self) -> str:
        """Makes a Markdown table with a row for each language, the best first, and one for all."""
        header = ["language", "utterances", "characters", "CER (%)", "words", "WER (%)"]
        ordered = sorted(self.by_language.items(), key=lambda item: item[1].cer)
        return align(header, [self._cells(*item) for item in [*ordered, ("all", self.pooled)]])

    @staticmethod
    def _cells(name: str, rates: ErrorRates) -> list[str]:
        cer, wer = f"{100 * rates.cer:.1f}", f"{100 * rates.wer:.1f}"
        return [name, str(rates.utterances), str(rates.characters), cer, str(rates.words), wer]


def write_transcripts(path: str | Path, transcripts: Sequence[Transcript]) -> None:
    """Writes a CSV with ID, language, duration, reference and hypothesis, whole or not at all.

    Raises
    ------
    ValueError
        If an ID is repeated.
    """
    counts = Counter(t.id for t in transcripts)
    if repeated := [key for key, count in counts.items() if count > 1]:
        raise ValueError(f"{path}: ID {repeated[0]!r} is repeated: give each utterance its own ID")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for t in transcripts:
        writer.writerow([t.id, t.language, t.duration, t.reference, t.hypothesis])
    write_atomic(path, text.getvalue())
