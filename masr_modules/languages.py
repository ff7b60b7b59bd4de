"""Languages: codes, families, territories and distances.

Codes are read with langcodes, whose IANA registry says what a code stands for.
Families and distances come from URIEL+ (Khan et al., 2024, arXiv 2409.18472;
its phylogeny is Glottolog's), the successor of URIEL (Littell et al., 2017).
"""

import csv
import hashlib
import logging
import os
import zipfile
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from importlib.resources import as_file, files
from itertools import combinations
from pathlib import Path

import langcodes
import numpy as np
from langcodes.data_dicts import (
    LANGUAGE_ALPHA3,
    LIKELY_SUBTAGS,
    MACROLANGUAGES,
    NORMALIZED_MACROLANGUAGES,
)
from langcodes.registry_parser import parse_registry

logger = logging.getLogger(__name__)

#: Kinds of distance: the URIEL+ file that holds a kind's features, and their prefix in it.
_FEATURES = {
    "genetic": ("family_features.npz", "F_"),
    "geographic": ("geocoord_features.npz", "GC_"),
    "featural": ("features.npz", ""),
    "syntactic": ("features.npz", "S_"),
    "phonological": ("features.npz", "P_"),
    "inventory": ("features.npz", "INV_"),
    "morphological": ("features.npz", "M_"),
    "script": ("script_features.npz", "SC_"),
}

#: Names of the kinds of distance between languages.
DISTANCE_KINDS = tuple(_FEATURES)

#: Glottolog files languages without a known descent under these headings. Languages under
#: the same heading are no relatives of each other.
_NOT_FAMILIES = {"Artificial Language", "Bookkeeping", "Mixed Language", "Pidgin"}
_NOT_FAMILIES |= {"Sign Language", "Speech Register", "Unattested", "Unclassifiable"}

# langcodes' table also has longer keys, such as fil, which is a language of its own here.
_ALPHA3 = {code: alpha3 for code, alpha3 in LANGUAGE_ALPHA3.items() if len(code) == 2}
_ALPHA2 = {alpha3: alpha2 for alpha2, alpha3 in _ALPHA3.items()}
#: Registered after langcodes' copy of the registry was made: Toki Pona.
_NEWER_LANGUAGES = {"tok"}
_NOT_A_LANGUAGE = {"collection", "special", "private-use"}

# Changes when the same codes and URIEL+ version shall give other tables than before.
_TABLE_FORMAT = 1


@cache
def _registry() -> dict[str, dict]:
    """The IANA registry's languages, by subtag, and its regions, by upper-case subtag."""
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
    """Registry entry of an ISO 639-1 or 639-3 code, None where it names no language."""
    entry = _registry().get(_ALPHA2.get(subtag, subtag))
    if entry is None or entry["Type"] != "language" or entry.get("Scope") in _NOT_A_LANGUAGE:
        return None
    return entry


@cache
def resolve_language(code: str) -> str:
    """Finds the ISO 639-3 code of the language that a code names.

    Reads ISO 639-1, -2 and -3, BCP-47, the configuration names of FLEURS
    (``cmn_hans_cn``) and obsolete codes (``iw``, ``jw``). What the code names is
    kept: ``nb`` is ``nob`` and not ``nor``, ``et`` is the macrolanguage ``est``.

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


@cache
def _members() -> dict[str, list[str]]:
    """Macrolanguage to its member languages (ISO 639-3), the predominant ones first."""
    members: dict[str, list[str]] = {}
    for table in (NORMALIZED_MACROLANGUAGES, MACROLANGUAGES):
        for member, macro in sorted(table.items()):
            macro = _ALPHA3.get(macro, macro)
            member = _ALPHA3.get(member, member)
            if member not in members.setdefault(macro, []):
                members[macro].append(member)
    return members


@cache
def _equivalents(iso: str) -> tuple[str, ...]:
    """Codes under which data about a language may be filed, the closest first.

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
    with path.open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


@cache
def _catalogue() -> dict[str, dict[str, str]]:
    """ISO 639-3 code to URIEL+'s row of it: name, lineage, place."""
    iso_codes = {
        row["glottocode"]: row["iso_code"] for row in _uriel_rows("uriel_glottocode_map.csv")
    }
    rows = {iso_codes.get(row["language_id"]): row for row in _uriel_rows("lang_fam_geo.csv")}
    rows.pop(None, None)
    return rows


def _lineage(row: dict[str, str]) -> list[str]:
    """Families of a language, the top-level one first; an isolate has none."""
    return [name.strip() for name in row["lineage"].split(",") if name.strip()]


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
        Names of the families, the top-level one first. Empty where they are not known, and
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
    for iso in _equivalents(resolve_language(code)):
        if iso in _catalogue():
            row = _catalogue()[iso]
            lineage = _lineage(row) or [row["language_name"]]
            return tuple(lineage) if lineage[0] not in _NOT_FAMILIES else ()
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
        Name of the family, None where there is none or it is not known.

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

    A language that it has no place of is looked up under its macrolanguage or member.

    Arguments
    ---------
    code : str
        Language code, see :func:`resolve_language`.

    Returns
    -------
    tuple[float, float] or None
        Latitude and longitude in degrees, north and east positive. None where it is not
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
    for iso in _equivalents(resolve_language(code)):
        row = _catalogue().get(iso)
        if row and row["latitude"] and row["longitude"]:
            longitude = float(row["longitude"])  # of some it counts to 360
            return float(row["latitude"]), longitude - 360 if longitude > 180 else longitude
    return None


def _country(territory: str | None) -> str | None:
    """The territory where it is one of ISO 3166; groups of them (419, EU) are not."""
    is_country = territory in _registry() and territory.isalpha()
    return territory if is_country and territory not in {"EU", "EZ", "UN", "ZZ"} else None


def language_region(code: str) -> str | None:
    """Finds the territory that a language code stands for.

    It is the code's own region, else the likely one by CLDR, through langcodes. A region
    that is no territory (``es_419``, Latin America) leaves the territory unknown.

    Arguments
    ---------
    code : str
        Language code, see :func:`resolve_language`.

    Returns
    -------
    str or None
        ISO 3166-1 code of two letters, None where it is not known.

    Raises
    ------
    ValueError
        If the code names no language.

    Example
    -------
    >>> language_region("pt_pt"), language_region("sv"), language_region("es_419")
    ('PT', 'SE', None)
    """
    candidates = _equivalents(resolve_language(code))
    tag = langcodes.Language.get(_bcp47(code))
    if tag.territory:
        return _country(tag.territory)
    for iso in candidates:
        language = _ALPHA2.get(iso, iso)
        # For a language it does not know, langcodes answers with that of "und": US.
        if language in LIKELY_SUBTAGS:
            likely = langcodes.Language.make(language=language, script=tag.script).maximize()
            return _country(likely.territory)
    return None


def _load_features(kind: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Codes (N,) and feature values (N, F) of all languages in URIEL+, and which are known.

    The sources of a feature are united as URIEL+ does by default: their maximum.
    """
    name, prefix = _FEATURES[kind]
    resource = files("urielplus") / "database" / "original_uriel" / name
    with as_file(resource) as path, np.load(path, allow_pickle=False) as archive:
        codes = archive["langs"].tolist()
        features = archive["feats"]
        values = archive["data"]
    chosen = np.char.startswith(features, prefix)
    if values.shape[2] == 1:
        values = values[:, chosen, 0]  # stays float32, in which URIEL+ computes these kinds
    else:
        values = values[:, chosen].max(axis=2).astype(np.float64)
    known = values != -1
    if kind in ("genetic", "geographic"):  # there, zeros alone are a missing vector
        known &= (values > 0).any(axis=1, keepdims=True)
    if kind == "genetic":
        pseudo = np.isin(features[chosen], [f"F_{name}" for name in _NOT_FAMILIES])
        known &= ~(values[:, pseudo] > 0).any(axis=1, keepdims=True)
    return codes, values, known


def _angular_distance(u: np.ndarray, v: np.ndarray) -> float:
    """URIEL+'s distance, its arithmetic included: 2 arccos(cos(u, v)) / pi, four decimals."""
    u = u if u.any() else np.full(len(u), 1e-10)
    v = v if v.any() else np.full(len(v), 1e-10)
    cosine = np.dot(u / np.linalg.norm(u), v / np.linalg.norm(v))
    angle = np.round(2 * np.arccos(np.clip(cosine, -1.0, 1.0)) / np.pi, 4)
    return round(float(angle), 4)  # a second time to drop the tail of float32


def _compute_distances(codes: Sequence[str], kind: str) -> np.ndarray:
    """Distances (L, L) between ISO 639-3 codes, NaN where URIEL+ cannot tell."""
    names, values, known = _load_features(kind)
    index = {name: row for row, name in enumerate(names) if known[row].any()}
    rows = [next((index[c] for c in _equivalents(code) if c in index), None) for code in codes]
    unique = sorted({row for row in rows if row is not None})
    values, known = values[unique], known[unique]
    distances = np.full((len(unique) + 1,) * 2, np.nan)
    np.fill_diagonal(distances[:-1, :-1], 0.0)
    for a, b in combinations(range(len(unique)), 2):
        shared = known[a] & known[b]
        if shared.any():
            distance = _angular_distance(values[a, shared], values[b, shared])
            distances[a, b] = distances[b, a] = distance
    place = {row: i for i, row in enumerate(unique)}
    places = [place.get(row, -1) for row in rows]
    table = distances[np.ix_(places, places)]
    if kind == "genetic":
        _add_isolates(table, codes)
    return table


def _add_isolates(table: np.ndarray, codes: Sequence[str]) -> None:
    """Gives isolates, whose genetic vectors are empty, the distance 1 to all others."""
    missing = np.isnan(table.diagonal())
    unrelated = [code in _catalogue() and not _lineage(_catalogue()[code]) for code in codes]
    isolate = missing & np.array(unrelated, dtype=bool)
    for i in np.flatnonzero(isolate):
        table[i, ~missing | isolate] = table[~missing | isolate, i] = 1.0
        table[i, i] = 0.0


def _read_cache(path: Path, codes: Sequence[str]) -> np.ndarray | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            table, stored = archive["distances"], archive["codes"].tolist()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # absent or corrupt: the caller computes it
    return table if stored == list(codes) and table.shape == (len(codes),) * 2 else None


def _write_cache(path: Path, codes: Sequence[str], table: np.ndarray) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez(file, distances=table, codes=np.array(codes))
        temporary.replace(path)
    except OSError as problem:
        logger.debug("Language distances are not kept in %s: %s", path.parent, problem)


@lru_cache(maxsize=64)
def _table(codes: tuple[str, ...], kind: str) -> np.ndarray:
    """Distances (L, L) between sorted ISO 639-3 codes, from the cache where it has them."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    digest = hashlib.sha256(" ".join(codes).encode()).hexdigest()[:16]
    name = f"{kind}-{version('urielplus')}-{_TABLE_FORMAT}-{digest}.npz"
    path = Path(root) / "masr" / name
    table = _read_cache(path, codes)
    if table is None:
        table = _compute_distances(codes, kind)
        _write_cache(path, codes, table)
    return table


def language_distances(codes: Sequence[str], kind: str) -> np.ndarray:
    """Computes the distances of one kind between languages, as URIEL+ defines them.

    Equals ``URIELPlus().new_distance(kind, ...)`` with URIEL+'s default settings (angular
    distance over the features known for both, sources united), but tells apart what is not
    known. A language that URIEL+ has no features of the kind for is looked up under
    its macrolanguage or member (``nob`` under ``nor``). An isolate is at genetic distance 1
    from all others. Languages without a family (artificial ones, pidgins) have no genetic
    distances. Tables are kept in ``$XDG_CACHE_HOME/masr``, by default ``~/.cache/masr``.

    Arguments
    ---------
    codes : Sequence[str]
        L language codes, see :func:`resolve_language`.
    kind : str
        One of ``DISTANCE_KINDS``.

    Returns
    -------
    np.ndarray
        Distances, float64 of shape (L, L), in [0, 1]; NaN where they are not known. The
        diagonal is 0 where the language has features of the kind.

    Raises
    ------
    ValueError
        If the kind is unknown or a code names no language.

    Example
    -------
    >>> distances = language_distances(["nob", "swe", "fin"], "genetic")
    >>> bool(distances[0, 1] < distances[0, 2])
    True
    """
    if kind not in _FEATURES:
        raise ValueError(f"unknown kind of distance {kind!r}: use one of {list(DISTANCE_KINDS)}")
    resolved = [resolve_language(code) for code in codes]
    unique = tuple(sorted(set(resolved)))
    rows = [unique.index(code) for code in resolved]
    return _table(unique, kind)[np.ix_(rows, rows)]
