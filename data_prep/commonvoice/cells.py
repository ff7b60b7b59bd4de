"""Cells of Common Voice's tables, translated to the schema's words."""

import re
import unicodedata
from functools import lru_cache

#: The decade that a speaker states -> its middle, in years. `fourties` is the tables' spelling.
AGES = {
    "teens": 16,
    "twenties": 25,
    "thirties": 35,
    "fourties": 45,
    "forties": 45,
    "fifties": 55,
    "sixties": 65,
    "seventies": 75,
    "eighties": 85,
    "nineties": 95,
}

#: Gender that a speaker states, in old and new releases -> the schema's word; empty where declined.
GENDERS = {
    "female": "female",
    "female_feminine": "female",
    "male": "male",
    "male_masculine": "male",
    "other": "other",
    "intersex": "other",
    "transgender": "other",
    "non-binary": "other",
    "do_not_wish_to_say": "",
    "": "",
}


@lru_cache(1 << 16)
def as_set(cell: str) -> str:
    """Separates the members of a cell by `|`, as `SetOverlap` reads it.

    Newer releases have `|` between the members, older ones a comma, which also occurs in
    the parentheses of a single accent.

    Example
    -------
    >>> as_set("England English,India and South Asia (India, Pakistan, Sri Lanka)")
    'England English|India and South Asia (India, Pakistan, Sri Lanka)'
    >>> as_set("Alemannisch, weich| Basel")
    'Alemannisch, weich|Basel'
    """
    members = cell.split("|") if "|" in cell else re.split(r",(?![^()]*\))", cell)
    return "|".join(dict.fromkeys(m.strip() for m in members if m.strip()))


class _PunctuationDropped(dict):
    """A table for `str.translate` that drops punctuation; characters are added when they occur."""

    def __missing__(self, code: int) -> int | None:
        self[code] = None if unicodedata.category(chr(code))[0] == "P" else code
        return self[code]


_WITHOUT_PUNCTUATION = _PunctuationDropped()


def sentence_key(text: str) -> str:
    """Returns a key that is the same for sentences that differ in case, punctuation or spacing.

    Example
    -------
    >>> sentence_key("“Wer, ich?” ") == sentence_key("wer ich")
    True
    """
    kept = unicodedata.normalize("NFKC", text).translate(_WITHOUT_PUNCTUATION)
    return " ".join(kept.casefold().split()) or text
