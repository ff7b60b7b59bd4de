"""Functions that the preparations of all corpora share, besides reading and writing.

A preparation is a chain of generators: it reads its tables (`tables.py`) and
yields `(split, row)`; `audio.add_durations` fills in the durations and leaves out
rows of broken files; `writing.write_corpus` writes the CSVs. No step holds the whole corpus in
memory.
"""

import glob
import os
from collections.abc import Mapping

from masr_modules.knowledge.languages import canonical_language, language_family, language_region

#: The splits of a corpus, each with its CSV.
SPLITS = ("train", "valid", "test")


def language_cells(code: str) -> dict[str, str | None]:
    """Returns the language columns of a row, from the corpus's own code.

    Arguments
    ---------
    code : str
        Any code that `masr_modules.knowledge.languages.resolve_language` reads; empty
        where the language is not known.

    Returns
    -------
    dict of str to str
        `language` (the code that all corpora share, see `canonical_language`),
        `language_label` (the corpus's own), `family` and `region`; no columns for an empty code.

    Raises
    ------
    ValueError
        If the code names no language.

    Example
    -------
    >>> language_cells("iw")
    {'language': 'heb', 'language_label': 'iw', 'family': 'Afro-Asiatic', 'region': 'IL'}
    >>> language_cells("zh-TW")
    {'language': 'cmn', 'language_label': 'zh-TW', 'family': 'Sino-Tibetan', 'region': 'TW'}
    """
    if not code:
        return {}
    return {
        "language": canonical_language(code),
        "language_label": code,
        "family": language_family(code),
        "region": language_region(code),
    }


def expect_layout(
    folder: str, corpus: str, patterns: Mapping[str, str], any_of: bool = False
) -> None:
    """Checks that a folder looks like the corpus.

    Arguments
    ---------
    folder : str
        The folder that the user gave.
    corpus : str
        Name of the corpus, for the error.
    patterns : mapping of str to str
        Glob pattern, relative to the folder -> what its files are.
    any_of : bool
        Whether one of the patterns is enough.

    Raises
    ------
    FileNotFoundError
        If the folder lacks what is expected; the message says what was expected where, what is
        there instead, and which nearby folder would do.

    Example
    -------
    >>> expect_layout("/nowhere", "FLEURS", {"data/*/train.tsv": "table of a language"})
    Traceback (most recent call last):
    ...
    FileNotFoundError: /nowhere is no folder. FLEURS is expected there:
      data/*/train.tsv: table of a language
    """

    def fits(base: str) -> bool:
        found = (any(glob.iglob(os.path.join(glob.escape(base), p))) for p in patterns)
        return any(found) if any_of else all(found)

    if os.path.isdir(folder) and fits(folder):
        return
    expected = "\n".join(f"  {pattern}: {what}" for pattern, what in patterns.items())
    one = "one of\n" if any_of else "\n"
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder} is no folder. {corpus} is expected there:\n{expected}")
    entries = sorted(os.listdir(folder))
    found = ", ".join(entries[:8]) + (", ..." if len(entries) > 8 else "") or "nothing"
    inside = [os.path.join(folder, e) for e in entries if os.path.isdir(os.path.join(folder, e))]
    nearby = [base for base in [os.path.dirname(os.path.abspath(folder)), *inside] if fits(base)]
    hint = f"\n{nearby[0]} looks right; did you mean it?" if nearby else ""
    raise FileNotFoundError(
        f"{folder} does not look like {corpus}. Expected there: {one}{expected}\n"
        f"Found there: {found}{hint}"
    )
