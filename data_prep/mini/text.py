"""Sentences of the synthetic corpus, in each language's own words.

Dates, years, quantities, durations and sums of money are spelt out in words,
and mixed with the names of weekdays, months, units, time zones, territories,
languages and currencies. A language whose numbers num2words cannot spell gets
sentences of names only. No sentence holds a digit.
"""

import random
import re
from collections.abc import Callable, Iterator
from datetime import date

from data_prep.mini.vocabulary import PUNCTUATION, Vocabulary, has_digits, vocabulary

#: Bounds of a sentence's estimated duration at the neutral rate (seconds).
MIN_SECONDS, MAX_SECONDS = 2.5, 4.4
#: Bounds of the duration (seconds), drawn uniformly, from which a sentence gets no further clause.
TARGET_SECONDS = (2.5, 2.8)


def _spoken_date(words: Vocabulary, rng: random.Random) -> str | None:
    """Make a full date in words, in the order of the language's own date pattern."""
    day = date.fromordinal(
        rng.randint(date(1800, 1, 1).toordinal(), date(2029, 12, 31).toordinal())
    )
    if day.day == 1:  # languages often have a special word for it, which num2words lacks
        day = day.replace(day=rng.randint(2, 28))
    pattern = re.sub(r"'[^']*'\.|G+", "", words.locale.date_formats["full"].pattern)
    ordinal = words.spell(day.day, "ordinal") if re.search(r"d\.", pattern) else None
    values = {
        "E": words.locale.days["format"]["wide"][day.weekday()],
        "c": words.locale.days["stand-alone"]["wide"][day.weekday()],
        "d": ordinal or words.spell(day.day),
        "y": words.spell(day.year, "year") or words.spell(day.year),
        "M": words.locale.months["format"]["wide"][day.month],
        "L": words.locale.months["stand-alone"]["wide"][day.month],
    }
    if None in values.values():
        return None
    tokens = re.findall(r"'([^']*)'|([A-Za-z])\2*|([^A-Za-z']+)", pattern)
    parts = [literal or values.get(letter, "") or other for literal, letter, other in tokens]
    return words.clean("".join(parts).replace(".", "").strip(" " + PUNCTUATION), PUNCTUATION)


def _duration(words: Vocabulary, rng: random.Random) -> str | None:
    """Make a duration in words, of hours and minutes."""
    hours = words.count_unit(rng.randint(2, 23), "duration-hour")
    minutes = words.count_unit(rng.randint(2, 59), "duration-minute")
    return words.join([hours, minutes]) if hours and minutes else None


def _quantity(words: Vocabulary, rng: random.Random) -> str | None:
    """Make a quantity in words, a number of some unit."""
    if not words.unit_keys:
        return None
    return words.count_unit(
        rng.choice([rng.randint(2, 99), rng.randint(100, 9999)]), rng.choice(words.unit_keys)
    )


def _money(words: Vocabulary, rng: random.Random) -> str | None:
    """Make a sum of money in words."""
    if not words.currency_keys:
        return None
    return words.count_money(rng.randint(2, 999), rng.choice(words.currency_keys))


def _numbers(words: Vocabulary, rng: random.Random) -> str | None:
    """Make two numbers in words."""
    numbers = [words.spell(rng.randint(11, 9999)) for _ in range(2)]
    return words.join(numbers) if all(numbers) else None


def _ordinals(words: Vocabulary, rng: random.Random) -> str | None:
    """Make three ordinal numbers in words."""
    numbers = [words.spell(number, "ordinal") for number in rng.sample(range(3, 100), 3)]
    return words.join(numbers) if all(numbers) else None


def _listing(kind: str, count: int) -> Callable[[Vocabulary, random.Random], str | None]:
    """Return a function that makes a clause of `count` names of one kind."""

    def clause(words: Vocabulary, rng: random.Random) -> str | None:
        names = words.names[kind]
        return words.join(rng.sample(names, count)) if len(names) >= count else None

    return clause


def _day_and_month(words: Vocabulary, rng: random.Random) -> str | None:
    """Make a clause of a weekday and a month."""
    if not words.names["weekdays"] or not words.names["months"]:
        return None
    return f"{rng.choice(words.names['weekdays'])}, {rng.choice(words.names['months'])}"


#: Clauses with their weights: about half spell numbers in words, and half list names.
SPELT_CLAUSES = (
    (_spoken_date, 5),
    (_quantity, 5),
    (_duration, 3),
    (_numbers, 2),
    (_money, 2),
    (_ordinals, 1),
)
NAME_CLAUSES = (
    (_listing("units", 3), 4),
    (_listing("weekdays", 3), 2),
    (_listing("months", 3), 2),
    (_day_and_month, 2),
    (_listing("zones", 1), 3),
    (_listing("territories", 2), 3),
    (_listing("languages", 3), 2),
    (_listing("currencies", 2), 2),
)


def _sentence(words: Vocabulary, rng: random.Random, seconds_per_char: float) -> str | None:
    """Make a sentence of clauses up to a drawn length; None if it is too short or long."""
    spelt = SPELT_CLAUSES if words.has_numbers else ()
    clauses, weights = zip(*spelt, *NAME_CLAUSES, strict=True)
    target, parts = rng.uniform(*TARGET_SECONDS), []
    for _ in range(40):
        phrase = rng.choices(clauses, weights)[0](words, rng)
        if phrase:
            parts.append(phrase)
        text = ", ".join(parts)
        if len(text) * seconds_per_char >= target:
            break
    fits = MIN_SECONDS <= len(text) * seconds_per_char <= MAX_SECONDS
    return text if fits and not has_digits(text) else None


def sentences(code: str, seed: int, seconds_per_char: float) -> Iterator[str]:
    """Draw different sentences of one language, as many as are asked for.

    Arguments
    ---------
    code : str
        The language's code.
    seed : int
        The corpus's seed.
    seconds_per_char : float
        Duration of speech per character at the neutral rate (seconds).

    Yields
    ------
    str
        A sentence without digits, 2.5 to 4.4 s long by the estimate.

    Raises
    ------
    ValueError
        If the language has too few words for a new sentence.

    Example
    -------
    >>> first = next(sentences("fr", 1234, 0.06))
    >>> has_digits(first)
    False
    """
    words, seen, misses = vocabulary(code), set(), 0
    rng = random.Random(f"{seed}|{code}|sentences")
    while misses < 500:
        text = _sentence(words, rng, seconds_per_char)
        if text is None or text.casefold() in seen:
            misses += 1
            continue
        misses = 0
        seen.add(text.casefold())
        yield text
    raise ValueError(f"language {code!r} has too few words for more than {len(seen)} sentences")
