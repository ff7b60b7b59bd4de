"""Languages: codes, families and territories.

langcodes reads the codes; its copy of the IANA registry says what a code stands for.
Families come from URIEL+ (Khan et al., 2024, arXiv 2409.18472;
its phylogeny is Glottolog's), the successor of URIEL (Littell et al., 2017).
"""

import csv
from functools import cache
from importlib.resources import as_file, files

import langcodes
from langcodes.data_dicts import (
    LANGUAGE_ALPHA3,
    LIKELY_SUBTAGS,
    MACROLANGUAGES,
    NORMALIZED_MACROLANGUAGES,
)
from langcodes.registry_parser import parse_registry

#: Headings under which Glottolog files languages without a known descent. Languages under the
#: same heading are not related.
NOT_FAMILIES = {"Artificial Language", "Bookkeeping", "Mixed Language", "Pidgin"}
NOT_FAMILIES |= {"Sign Language", "Speech Register", "Unattested", "Unclassifiable"}

# langcodes' table also has longer keys, such as fil, which is a language of its own here.
_ALPHA3 = {code: alpha3 for code, alpha3 in LANGUAGE_ALPHA3.items() if len(code) == 2}
_ALPHA2 = {alpha3: alpha2 for alpha2, alpha3 in _ALPHA3.items()}
#: Languages registered after langcodes' copy of the registry was made: Toki Pona.
_NEWER_LANGUAGES = {"tok"}
_NOT_A_LANGUAGE = {"collection", "special", "private-use"}


@cache
def _registry() -> dict[str, dict]:
    """Returns the IANA registry's languages, by subtag, and its regions, by upper-case subtag."""
    entries = {}
    for entry in parse_registry():
        if entry["Type"] in ("language", "region"):
            entries[entry["Subtag"]] = entry
    for subtag in _NEWER_LANGUAGES - entries.keys():
        entries[subtag] = {"Type": "language", "Subtag": subtag}
    return entries


def _bcp47(code: str) -> str:
    return code.strip().replace("_", "-") if isinstance(code, str) else ""


def _language_entry(subtag: str | None) -> dict | None:
    """Returns the registry entry of an ISO 639-1 or 639-3 code, None if it names no language."""
    entry = _registry().get(_ALPHA2.get(subtag, subtag)) if subtag else None
    if entry is None or entry["Type"] != "language" or entry.get("Scope") in _NOT_A_LANGUAGE:
        return None
    return entry


@cache
def resolve_language(code: str) -> str:
    """Finds the ISO 639-3 code of the language that a code names.

    It reads ISO 639-1, -2 and -3, BCP-47, the configuration names of FLEURS
    (``cmn_hans_cn``) and obsolete codes (``iw``, ``jw``). It does not exchange a language for
    its macrolanguage or a member: ``nb`` is ``nob`` and not ``nor``, ``et`` is the macrolanguage
    ``est``.

    Arguments
    ---------
    code : str
        Language code, in any case, with ``-`` or ``_`` between its parts.

    Returns
    -------
    str
        ISO 639-3 code.

    Raises
    ------
    ValueError
        If the code names no language; the message names the code.

    Example
    -------
    >>> resolve_language("cmn_hans_cn"), resolve_language("iw"), resolve_language("pt-BR")
    ('cmn', 'heb', 'por')
    """
    problem = ValueError(
        f"{code!r} names no language: give an ISO 639-1 or ISO 639-3 code (en, eng) "
        "or a BCP-47 tag (pt-BR)"
    )
    text = _bcp47(code)
    if not text:
        raise problem
    try:
        tag = langcodes.Language.get(text, normalize=False)
        subtag = tag.extlangs[-1] if tag.extlangs else tag.language
        entry = _language_entry(subtag)
        if entry is None:  # bibliographic (ger), retired (mol), grandfathered (zh-min-nan)
            entry = _language_entry(langcodes.Language.get(text).language)
    except ValueError:
        raise problem from None
    if entry is None:
        raise problem
    subtag = entry.get("Preferred-Value", entry["Subtag"])
    return _ALPHA3.get(subtag, subtag)


#: ISO 639-3 code -> the code used for every corpus, if corpora name one language in two ways:
#: speech filed under Chinese is Mandarin, Norwegian is Bokmål, and Tagalog is Filipino.
CANONICAL = {"zho": "cmn", "nor": "nob", "tgl": "fil"}


@cache
def canonical_language(code: str) -> str:
    """Finds the ISO 639-3 code that a language has in every prepared corpus.

    Corpora name one language in several ways (``zh``, ``zh-CN``, ``cmn_hans_cn``). A code that
    names a macrolanguage without saying which member is meant is kept (``ar``, ``et``), unless
    another corpus names the member (`CANONICAL`). Chinese of Hong Kong and Macau is Cantonese.

    Arguments
    ---------
    code : str
        Language code, see :func:`resolve_language`.

    Returns
    -------
    str
        ISO 639-3 code.

    Raises
    ------
    ValueError
        If the code names no language.

    Example
    -------
    >>> [canonical_language(code) for code in ("zh", "zh-TW", "zh-HK", "no", "tl", "ar")]
    ['cmn', 'cmn', 'yue', 'nob', 'fil', 'ara']
    """
    iso = resolve_language(code)
    if iso == "zho" and langcodes.Language.get(_bcp47(code)).territory in ("HK", "MO"):
        return "yue"
    return CANONICAL.get(iso, iso)


@cache
def _members() -> dict[str, list[str]]:
    """Returns macrolanguage -> its member languages (ISO 639-3), the predominant ones first."""
    members: dict[str, list[str]] = {}
    for table in (NORMALIZED_MACROLANGUAGES, MACROLANGUAGES):
        for member, macro in sorted(table.items()):
            macro = _ALPHA3.get(macro, macro)
            member = _ALPHA3.get(member, member)
            if member not in members.setdefault(macro, []):
                members[macro].append(member)
    return members


@cache
def equivalents(iso: str) -> tuple[str, ...]:
    """Returns the codes under which data about a language may be filed, the closest first.

    Databases differ in whether they know a language by its macrolanguage (``est``)
    or by the member that most people mean by it (``ekk``).
    """
    codes = [iso, *_members().get(iso, [])]
    for macro, members in _members().items():
        if iso in members:
            codes += [macro, members[0]]
    return tuple(dict.fromkeys(codes))


def _uriel_rows(name: str) -> list[dict[str, str]]:
    path = files("urielplus") / "database" / "urielplus_csvs" / name
    with as_file(path) as file, file.open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


@cache
def _catalogue() -> dict[str, dict[str, str]]:
    """Returns ISO 639-3 code -> URIEL+'s row of the language, with name, lineage and place."""
    iso_codes = {
        row["glottocode"]: row["iso_code"] for row in _uriel_rows("uriel_glottocode_map.csv")
    }
    rows = _uriel_rows("lang_fam_geo.csv")
    return {iso_codes[r["language_id"]]: r for r in rows if r["language_id"] in iso_codes}


def _lineage(row: dict[str, str]) -> list[str]:
    """Returns the families of a language, the top-level one first; an isolate has none."""
    return [name.strip() for name in row["lineage"].split(",") if name.strip()]


def is_isolate(iso: str) -> bool:
    """Whether a language in the catalogue, by its ISO 639-3 code, has no relatives."""
    return iso in _catalogue() and not _lineage(_catalogue()[iso])


def language_lineage(code: str) -> tuple[str, ...]:
    """Finds the families that a language belongs to, by URIEL+'s phylogeny.

    An isolate is a family of its own, named like the language.

    Arguments
    ---------
    code : str
        Language code, see :func:`resolve_language`.

    Returns
    -------
    tuple[str, ...]
        Names of the families, the top-level one first. It is empty if they are not known, and
        for languages that descend from no family (artificial languages, pidgins).

    Raises
    ------
    ValueError
        If the code names no language.

    Example
    -------
    >>> language_lineage("sv")[:3]
    ('Indo-European', 'Classical Indo-European', 'Germanic')
    """
    for iso in equivalents(resolve_language(code)):
        if iso in _catalogue():
            row = _catalogue()[iso]
            lineage = _lineage(row) or [row["language_name"]]
            return tuple(lineage) if lineage[0] not in NOT_FAMILIES else ()
    return ()


def language_family(code: str) -> str | None:
    """Finds the top-level family of a language, see :func:`language_lineage`.

    Arguments
    ---------
    code : str
        Language code, see :func:`resolve_language`.

    Returns
    -------
    str or None
        Name of the family, None if there is none or it is not known.

    Raises
    ------
    ValueError
        If the code names no language.

    Example
    -------
    >>> language_family("fi"), language_family("eu"), language_family("eo")
    ('Uralic', 'Basque', None)
    """
    return next(iter(language_lineage(code)), None)


def language_place(code: str) -> tuple[float, float] | None:
    """Finds the point on the globe that URIEL+ (Glottolog) gives for a language.

    A language without a place there is looked up under its macrolanguage or member.

    Arguments
    ---------
    code : str
        Language code, see :func:`resolve_language`.

    Returns
    -------
    tuple[float, float] or None
        Latitude and longitude in degrees, north and east positive. None if the place is not
        known.

    Raises
    ------
    ValueError
        If the code names no language.

    Example
    -------
    >>> language_place("sv")
    (59.800634, 17.389526)
    """
    for iso in equivalents(resolve_language(code)):
        row = _catalogue().get(iso)
        if row and row["latitude"] and row["longitude"]:
            longitude = float(row["longitude"])  # some of them run from 0 to 360
            return float(row["latitude"]), longitude - 360 if longitude > 180 else longitude
    return None


def _country(territory: str | None) -> str | None:
    """Returns the territory if it is one of ISO 3166, and None for groups of them (419, EU)."""
    is_country = territory in _registry() and territory.isalpha()
    return territory if is_country and territory not in {"EU", "EZ", "UN", "ZZ"} else None


def language_region(code: str) -> str | None:
    """Finds the territory that a language code stands for.

    It is the code's own region if it has one, and otherwise CLDR's likely one, from langcodes. If
    the region is no territory (``es_419``, Latin America), the territory is not known.

    Arguments
    ---------
    code : str
        Language code, see :func:`resolve_language`.

    Returns
    -------
    str or None
        ISO 3166-1 code of two letters, None if it is not known.

    Raises
    ------
    ValueError
        If the code names no language.

    Example
    -------
    >>> language_region("pt_pt"), language_region("sv"), language_region("es_419")
    ('PT', 'SE', None)
    """
    candidates = equivalents(resolve_language(code))
    tag = langcodes.Language.get(_bcp47(code))
    if tag.territory:
        return _country(tag.territory)
    for iso in candidates:
        language = _ALPHA2.get(iso, iso)
        # For a language that it does not know, langcodes gives the territory of "und": US.
        if language in LIKELY_SUBTAGS:
            likely = langcodes.Language.make(language=language, script=tag.script).maximize()
            return _country(likely.territory)
    return None
