"""Territories of ISO 3166-1: their names, and where they are.

Places come from the IANA time zone database (public domain), through the tzdata package, which
gives the principal location of each time zone of a territory.
"""

import re
from functools import cache
from importlib.resources import files

import langcodes
import numpy as np
from language_data.names import name_to_code

# Names in use that are not among CLDR's English names in language_data.
_OTHER_NAMES = {
    "usa": "US",
    "u.s.a.": "US",
    "u.s.": "US",
    "u.k.": "GB",
    "england": "GB",
    "scotland": "GB",
    "wales": "GB",
    "holland": "NL",
    "macedonia": "MK",
}

# The comment of a territory's main zone, if its other zones are outlying.
_MAIN = re.compile(r"\(mainland\)|^most of ")

# A place by ISO 6709, as in zone.tab: +DDMM+DDDMM or +DDMMSS+DDDMMSS.
_PLACE = re.compile(r"([+-])(\d\d)(\d\d)(\d\d)?([+-])(\d\d\d)(\d\d)(\d\d)?")


def _degrees(sign: str, degrees: str, minutes: str, seconds: str | None) -> float:
    size = int(degrees) + int(minutes) / 60 + int(seconds or 0) / 3600
    return -size if sign == "-" else size


def _point(place: str) -> tuple[float, float]:
    """Returns latitude and longitude in degrees."""
    parts = _PLACE.fullmatch(place)
    if parts is None:
        raise ValueError(f"tzdata's zone.tab: {place!r} is no place of ISO 6709")
    groups = parts.groups()
    return _degrees(*groups[:4]), _degrees(*groups[4:])


def _centre(places: list[tuple[float, float]]) -> tuple[float, float]:
    """Returns the middle of places on the globe: the direction of their mean unit vector."""
    latitude, longitude = np.radians(places).T
    x = np.mean(np.cos(latitude) * np.cos(longitude))
    y = np.mean(np.cos(latitude) * np.sin(longitude))
    z = np.mean(np.sin(latitude))
    middle = np.degrees([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)])
    return float(middle[0]), float(middle[1])


@cache
def _places() -> dict[str, tuple[float, float]]:
    text = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    zones: dict[str, list[tuple[tuple[float, float], str]]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        territory, place, _, *comment = line.split("\t")
        zones.setdefault(territory, []).append((_point(place), "".join(comment)))
    places = {}
    for territory, listed in zones.items():
        main = [place for place, comment in listed if _MAIN.search(comment)]
        places[territory] = _centre(main or [place for place, _ in listed])
    return places


def territory_place(code: str) -> tuple[float, float]:
    """Finds a point that stands for a territory.

    It is the principal location, mostly the largest city, of the territory's time zone. If there
    are several zones, it is that of the zone that the database calls the mainland or most of the
    territory, so that Spain is not drawn to the Canary Islands. If none is called so (Brazil,
    Russia, the United States), it is the middle of all. It is neither the centre of the land nor
    of the population.

    Arguments
    ---------
    code : str
        ISO 3166-1 code of two letters, in any case.

    Returns
    -------
    tuple[float, float]
        Latitude and longitude in degrees, north and east positive.

    Raises
    ------
    ValueError
        If the code names no territory that the database knows.

    Example
    -------
    >>> latitude, longitude = territory_place("ES")  # Madrid
    >>> round(latitude, 1), round(longitude, 1)
    (40.4, -3.7)
    """
    place = _places().get(code.strip().upper()) if isinstance(code, str) else None
    if place is None:
        raise ValueError(
            f"{code!r} names no territory: give an ISO 3166-1 code of two letters (DE, BR)"
        )
    return place


@cache
def territory_code(name: str) -> str | None:
    """Finds the code of a territory by its English name.

    Arguments
    ---------
    name : str
        A name or usual abbreviation, in any case.

    Returns
    -------
    str or None
        ISO 3166-1 code of two letters; None if the name is not known.

    Example
    -------
    >>> [territory_code(name) for name in ("Trinidad and Tobago", "UK", "USA", "Atlantis")]
    ['TT', 'GB', 'US', None]
    """
    name = " ".join(name.split())
    code = _OTHER_NAMES.get(name.casefold()) or name_to_code("territory", name, "en")
    if not code or not re.fullmatch("[A-Z]{2}", code):  # digits: a continent
        return None
    return langcodes.get(f"und-{code}").territory  # a withdrawn code (BU) becomes today's (MM)
