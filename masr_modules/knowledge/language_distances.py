"""Distances between languages, from URIEL+ (Khan et al., 2024, arXiv 2409.18472)."""

import hashlib
import logging
import os
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import as_file, files
from itertools import combinations
from pathlib import Path

import numpy as np

from masr_modules.knowledge.languages import NOT_FAMILIES, equivalents, is_isolate, resolve_language

logger = logging.getLogger(__name__)

#: Kind of distance -> the URIEL+ file that holds its features, and their prefix in it.
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

# Raise it when the tables change although codes and URIEL+ version stay the same.
_TABLE_FORMAT = 1


def _load_features(kind: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Loads all languages' codes (N,), feature values (N, F) and which of these are known.

    The value of a feature is the maximum over its sources, which is URIEL+'s default.
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
    if kind in ("genetic", "geographic"):  # in these kinds, a vector of zeros is a missing one
        known &= (values > 0).any(axis=1, keepdims=True)
    if kind == "genetic":
        pseudo = np.isin(features[chosen], [f"F_{name}" for name in NOT_FAMILIES])
        known &= ~(values[:, pseudo] > 0).any(axis=1, keepdims=True)
    return codes, values, known


def _angular_distance(u: np.ndarray, v: np.ndarray) -> float:
    """Computes 2 arccos(cos(u, v)) / pi to four decimals, with URIEL+'s own arithmetic."""
    u = u if u.any() else np.full(len(u), 1e-10)
    v = v if v.any() else np.full(len(v), 1e-10)
    cosine = np.dot(u / np.linalg.norm(u), v / np.linalg.norm(v))
    angle = np.round(2 * np.arccos(np.clip(cosine, -1.0, 1.0)) / np.pi, 4)
    return round(float(angle), 4)  # a second time to drop the tail of float32


def _compute_distances(codes: Sequence[str], kind: str) -> np.ndarray:
    """Computes (L, L) distances between ISO 639-3 codes, NaN where URIEL+ does not know them."""
    names, values, known = _load_features(kind)
    index = {name: row for row, name in enumerate(names) if known[row].any()}
    rows = [next((index[c] for c in equivalents(code) if c in index), None) for code in codes]
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
    places = [-1 if row is None else place[row] for row in rows]
    table = distances[np.ix_(places, places)]
    if kind == "genetic":
        _add_isolates(table, codes)
    return table


def _add_isolates(table: np.ndarray, codes: Sequence[str]) -> None:
    """Gives isolates, whose genetic vectors are empty, the distance 1 to all others."""
    missing = np.isnan(table.diagonal())
    isolate = missing & np.array([is_isolate(code) for code in codes], dtype=bool)
    for i in np.flatnonzero(isolate):
        table[i, ~missing | isolate] = table[~missing | isolate, i] = 1.0
        table[i, i] = 0.0


def _read_cache(path: Path, codes: Sequence[str]) -> np.ndarray | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            table, stored = archive["distances"], archive["codes"].tolist()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # absent or damaged: the caller computes the table
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
    """Returns (L, L) distances between sorted ISO 639-3 codes, from the cache if they are in it."""
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

    The distances equal those of ``URIELPlus().new_distance(kind, ...)`` with URIEL+'s default
    settings (angular distance over the features known for both, union of sources), except that
    unknown ones are NaN. If URIEL+ has no features of the kind for a language, it is looked up
    under its macrolanguage or member (``nob`` under ``nor``). An isolate is at genetic distance 1
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
        diagonal is 0 for each language with features of the kind.

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
