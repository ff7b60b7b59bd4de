"""Languages in the order of their family tree, and the branches that colour them in pictures."""

from collections import Counter
from collections.abc import Sequence

import langcodes

from masr_modules.knowledge.languages import language_lineage, resolve_language

#: Group of the languages without known descent, and of branches beyond the number to show.
OTHER = "other"
#: Lowest level of descent that is shown; lower ones mean little to most readers.
DEEPEST = 3


def display_name(code: str) -> str:
    """Returns the English name and the code of a language; other labels are returned unchanged.

    Example
    -------
    >>> display_name("spa"), display_name("cmn_hans_cn"), display_name("klingonese")
    ('Spanish (spa)', 'Mandarin Chinese (cmn_hans_cn)', 'klingonese')
    """
    try:
        return f"{langcodes.get(resolve_language(code)).display_name()} ({code})"
    except ValueError:
        return code


def descent(code: str) -> tuple[str, ...]:
    """Returns the lineage of a language, see `language_lineage`; () if the label is no language.

    Example
    -------
    >>> descent("est")[:2], descent("klingonese")
    (('Uralic', 'Finnic'), ())
    """
    try:
        return language_lineage(code)
    except ValueError:
        return ()


def order_by_descent(codes: Sequence[str]) -> list[str]:
    """Sorts codes, each once, so that relatives are side by side and unknown descents last.

    Codes are of any kind, see `resolve_language`.

    Example
    -------
    >>> order_by_descent(["fin", "klingonese", "spa", "est", "por", "spa"])
    ['spa', 'por', 'est', 'fin', 'klingonese']
    """

    def place(code: str) -> tuple:
        lineage = descent(code)
        return not lineage, lineage, display_name(code)

    return sorted(set(codes), key=place)


def branches(codes: Sequence[str], most: int) -> dict[str, str]:
    """Groups languages by the lowest of DEEPEST levels that gives no more than `most` groups.

    A corpus of many families is grouped by family, one of few families by branches such as
    Germanic. If there are more than `most` families, the rarest become OTHER.

    Arguments
    ---------
    codes : sequence of str
        Languages; each counts as often as it occurs.
    most : int
        Number of groups, without OTHER.

    Returns
    -------
    dict of str to str
        Language -> name of its group, in the order of `order_by_descent`.

    Raises
    ------
    ValueError
        If a code names no language.

    Example
    -------
    >>> branches(["spa", "por", "deu", "tam"], most=3)
    {'tam': 'South Dravidian I', 'deu': 'Germanic', 'spa': 'Italic', 'por': 'Italic'}
    >>> branches(["spa", "spa", "tam"], most=1)
    {'tam': 'other', 'spa': 'Indo-European'}
    """
    ordered = order_by_descent(codes)
    lineages = {code: language_lineage(code) for code in ordered}
    depth = 1
    while depth < DEEPEST and len(_groups(lineages, depth + 1)) <= most:
        depth += 1
    counts = Counter(lineages[code][:depth] for code in codes if lineages[code])
    kept = {group for group, _ in counts.most_common(most)}
    return {
        code: lineage[:depth][-1] if lineage[:depth] in kept else OTHER
        for code, lineage in lineages.items()
    }


def _groups(lineages: dict[str, tuple], depth: int) -> set[tuple]:
    return {lineage[:depth] for lineage in lineages.values() if lineage}
