"""Words of the synthetic corpus's languages: names, numbers, dates, quantities.

The Unicode CLDR (babel) gives the names of weekdays, months, units, time zones,
territories, languages and currencies, and each language's patterns of dates and
lists. num2words spells numbers. Texts with a digit or a letter of another
script are left out.
"""

import functools
import os
import pickle
import unicodedata
from collections.abc import Iterable

import espeakng_loader
from babel import Locale
from babel.core import UnknownLocaleError, get_global
from babel.lists import format_list
from babel.localedata import load as load_locale_data
from babel.localedata import locale_identifiers, merge, resolve_locale_filename
from babel.numbers import get_currency_name
from babel.units import format_unit
from num2words import CONVERTER_CLASSES, num2words

from masr_modules.knowledge.languages import canonical_language, equivalents, resolve_language

#: Languages of the synthetic corpus where the user names none.
DEFAULT_LANGUAGES = (
    *("es", "ca", "pt", "it", "ro", "fr", "nl", "de", "af", "da", "sv", "nb"),
    *("ru", "uk", "bg", "pl", "cs", "sk", "hi", "ur", "bn", "ta", "te", "kn"),
)

#: Code -> voice file of eSpeak NG, where they differ.
VOICE_FILES = {"zh": "cmn"}
#: Code -> language code of num2words, where they differ.
NUMBER_CODES = {"nb": "no", "kk": "kz"}
#: Languages that eSpeak NG and the CLDR both list, but that give no usable speech.
EXCLUDED = {
    **dict.fromkeys(("chr", "fo", "kaa"), "the voice is near silent"),
    **dict.fromkeys(("as", "kok"), "the voice spells words out, letter by letter"),
    **dict.fromkeys(("ba", "io", "jbo", "quc", "shn", "smj"), "the CLDR lacks even the weekdays"),
    **dict.fromkeys(("gn", "ltg"), "the CLDR has a handful of names"),
    **dict.fromkeys(("ht", "qu", "tn"), "the CLDR's names are those of another language"),
    "ja": "the voice reads kana only, the names are in kanji",
}

JOINERS = "-'’ʼʻ·\u200c\u200d"  # allowed inside words, with the marks of the script
PUNCTUATION = ",、،"


@functools.cache
def supported_languages() -> tuple[str, ...]:
    """List the codes that both eSpeak NG and the CLDR know, and that give usable speech.

    Returns
    -------
    tuple of str
        Sorted codes such as ``"fr"``.

    Example
    -------
    >>> "fr" in supported_languages()
    True
    """
    folder = os.path.join(espeakng_loader.get_data_path(), "lang")
    voices = {name for _, _, names in os.walk(folder) for name in names}
    locales = {name for name in locale_identifiers() if "_" not in name}
    codes = {code for code in voices & locales if code not in EXCLUDED}
    return tuple(sorted(codes | {code for code, voice in VOICE_FILES.items() if voice in voices}))


def check_languages(codes: list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    """Check the user's codes.

    Arguments
    ---------
    codes : list of str, optional
        Codes such as ``"fr"``, or of ISO 639-3 such as ``"fra"``; None stands for the default
        languages.

    Returns
    -------
    tuple of str
        Codes of `supported_languages`, each once, in the given order.

    Raises
    ------
    ValueError
        If no code is given, or one is not supported or stands for several supported ones; the
        message lists the supported codes.

    Example
    -------
    >>> check_languages(["fr", "deu", "fra"])
    ('fr', 'de')
    """
    asked = {code: _codes_of(code) for code in (DEFAULT_LANGUAGES if codes is None else codes)}
    problems = ["no language given"] if not asked else []
    if unknown := [code for code, found in asked.items() if not found]:
        problems.append(f"unknown language {', '.join(unknown)}")
    for code, found in asked.items():
        if len(found) > 1:
            problems.append(f"{code} may be any of {', '.join(found)}")
    if problems:
        there = " ".join(supported_languages())
        raise ValueError(f"{'; '.join(problems)}; choose from: {there} (or their ISO 639-3 codes)")
    return tuple(dict.fromkeys(found[0] for found in asked.values()))


def _codes_of(code: str) -> list[str]:
    """List the supported codes that a supported code, or one of ISO 639-3, may stand for."""
    if code in supported_languages():
        return [code]
    if len(code) != 3:
        return []
    try:
        iso, near = canonical_language(code), equivalents(resolve_language(code))
    except ValueError:
        return []
    same = [own for own in supported_languages() if canonical_language(own) == iso]
    # Only a macrolanguage has several members: hbs is Bosnian, Croatian or Serbian. A single match
    # may be another language (Arabic for Moroccan Arabic), and is not taken.
    members = [own for own in supported_languages() if resolve_language(own) in near]
    return same or (members if len(members) > 1 else [])


def has_digits(text: str) -> bool:
    """Tell whether a text has a digit or other numeric character of any script.

    Arguments
    ---------
    text : str
        The text.

    Returns
    -------
    bool
        True if any character is of Unicode's category N.

    Example
    -------
    >>> has_digits("route 66"), has_digits("route soixante-six")
    (True, False)
    """
    return any(unicodedata.category(char)[0] == "N" for char in text)


def scripts_of(text: str) -> set[str]:
    """List the scripts of a text's letters.

    Arguments
    ---------
    text : str
        The text.

    Returns
    -------
    set of str
        First words of the letters' Unicode names, which name the scripts.

    Example
    -------
    >>> scripts_of("март, 1987")
    {'CYRILLIC'}
    """
    return {unicodedata.name(char, "?").split()[0] for char in text if char.isalpha()}


class Vocabulary:
    """Words of one language, each free of digits and foreign scripts.

    The attribute ``names`` maps weekdays, months, units, zones, territories,
    languages and currencies to lists; ``unit_keys`` and ``currency_keys`` are the
    CLDR's keys of units and currencies that can be counted in words; ``has_numbers``
    tells whether num2words spells the language's numbers.

    Arguments
    ---------
    code : str
        The language's code.
    locale : babel.Locale
        Its CLDR data.

    Example
    -------
    >>> vocabulary("fr").spell(21)
    'vingt et un'
    """

    def __init__(self, code: str, locale: Locale):
        self.code, self.locale = code, locale
        days = self.locale.days["stand-alone"]["wide"].values()
        months = self.locale.months["stand-alone"]["wide"].values()
        self.scripts = scripts_of(" ".join([*days, *months]))
        self.number_code = _number_code(self.code)
        self.has_numbers = self.spell(4721) is not None
        units = _long_units(self.locale, {} if self.code == "en" else _english_units())
        self.names = {
            "weekdays": self.clean_names(days),
            "months": self.clean_names(months),
            "territories": self.clean_names(self.locale.territories.values()),
            "languages": self.clean_names(self.locale.languages.values()),
            "currencies": self.clean_names(self.locale.currencies.values()),
            "units": self.clean_names(units.values()),
            "zones": self.clean_names(_zone_names(self.locale)),
        }
        self.unit_keys, self.currency_keys = [], []
        if self.has_numbers:
            self.unit_keys = [key for key in sorted(units) if self.count_unit(21, key)]
            currencies = sorted(self.locale.currencies)
            self.currency_keys = [key for key in currencies if self.count_money(21, key)]

    def clean(self, text: str | None, punctuation: str = "") -> str | None:
        """Return a text with plain spaces, or None if it cannot be read aloud."""
        text = unicodedata.normalize("NFC", " ".join((text or "").split()))
        for char in text:
            letter = unicodedata.category(char)[0] in "LM"
            if not (letter or char in JOINERS or char == " " or char in punctuation):
                return None
        return text if text and scripts_of(text) <= self.scripts else None

    def clean_names(self, names: Iterable[str]) -> list[str]:
        """Return the readable names among some, sorted, each once."""
        return sorted({name for name in map(self.clean, names) if name and len(name) > 1})

    def spell(self, number: int, kind: str = "cardinal") -> str | None:
        """Return a number in words, or None where num2words has no such form."""
        if self.number_code is None:
            return None
        try:
            words = num2words(number, lang=self.number_code, to=kind)
        except (NotImplementedError, AttributeError, KeyError, IndexError, TypeError):
            return None
        return self.clean(words, PUNCTUATION)

    def count_unit(self, number: int, key: str) -> str | None:
        """Return a quantity in words, such as "twenty-one kilometres"."""
        phrase = format_unit(number, key, "long", format="0", locale=self.locale)
        if str(number) not in phrase or key in phrase:  # the key stands for a missing pattern
            return None
        words = self.spell(number)
        return words and self.clean(phrase.replace(str(number), words), PUNCTUATION)

    def count_money(self, number: int, key: str) -> str | None:
        """Return a sum of money in words."""
        words, name = self.spell(number), get_currency_name(key, number, self.locale)
        return words and self.clean(f"{words} {name}", PUNCTUATION)

    def join(self, items: list[str]) -> str:
        """Join phrases the way the language lists things."""
        listed = format_list(items, style="standard", locale=self.locale)
        # some patterns have an alternative such as "a(n)", others come from the root locale
        return self.clean(listed, PUNCTUATION) or ", ".join(items)


def _number_code(code: str) -> str | None:
    """Return num2words' code of a language, or None where it lacks the language."""
    candidate = NUMBER_CODES.get(code, code)
    return candidate if candidate in CONVERTER_CLASSES else None


@functools.cache
def _english_units() -> dict[str, str]:
    """Return the units' long names in English, to which the CLDR falls back."""
    return _long_units(_own_locale("en"), {})


def _long_units(locale: Locale, untranslated: dict[str, str]) -> dict[str, str]:
    """Map the CLDR's key of each unit with a long name of its own to that name."""
    units = {}
    for key, forms in locale.unit_display_names.items():
        try:
            name = forms["long"]
        except KeyError:  # the locale only has abbreviations
            continue
        # an English name of one word may be a loan ("kilometer"); of several, it is untranslated
        if isinstance(name, str) and not (" " in name and name == untranslated.get(key)):
            units[key] = name
    return units


def _zone_names(locale: Locale) -> list[str]:
    """List the long names of the time zones."""
    return [
        name
        for zone in locale.meta_zones.values()
        for name in dict(zone.get("long") or {}).values()
        if isinstance(name, str)
    ]


def _own_locale(code: str) -> Locale:
    """Load a locale that shares no data with others.

    Babel resolves aliases in place, also in data that a locale inherits from the root, so an
    Azeri month would appear in every language that is loaded later.
    """
    parent = get_global("parent_exceptions").get(code, "root")
    own = {}
    for name in dict.fromkeys(("root", parent, code)):
        with open(resolve_locale_filename(name), "rb") as file:
            merge(own, pickle.load(file))
    data = load_locale_data(code)  # the dictionary that Babel keeps for this locale
    data.clear()
    data.update(own)
    return Locale(code)


@functools.cache
def vocabulary(code: str) -> Vocabulary:
    """Load a language's words.

    Arguments
    ---------
    code : str
        One of `supported_languages`.

    Returns
    -------
    Vocabulary
        Its words.

    Raises
    ------
    ValueError
        If the CLDR has no data for the code.
    """
    try:
        return Vocabulary(code, _own_locale(code))
    except (UnknownLocaleError, ValueError) as error:
        raise ValueError(f"no text for language {code!r}: {error}") from error
