"""Replacement of language families by their branches."""

from masr_modules.knowledge.languages import language_lineage


def name_branches(rows: dict[str, dict], depth: int) -> dict[str, dict]:
    """Replaces the family of each row by a level of its language's lineage.

    A language with a shorter lineage gets its last level. Rows without a language, or whose
    language has no known lineage, keep their family.

    Arguments
    ---------
    rows : dict
        ID -> row.
    depth : int
        The level: 1 is the family, and nothing changes; 2 is the level below it.

    Raises
    ------
    ValueError
        If the depth is below 1, or a code names no language.

    Example
    -------
    >>> rows = {"a": {"language": "spa", "family": "Indo-European"}, "b": {"family": "Uralic"}}
    >>> [row["family"] for row in name_branches(rows, 3).values()]
    ['Italic', 'Uralic']
    """
    if depth < 1:
        raise ValueError(f"family_depth: {depth} is below 1, which is the family itself")
    if depth == 1:
        return rows
    languages = {str(row["language"]) for row in rows.values() if row.get("language")}
    branch = {language: language_lineage(language)[:depth] for language in languages}
    named = {language: levels[-1] for language, levels in branch.items() if levels}
    return {
        utterance: {**row, "family": named[row["language"]]}
        if row.get("language") in named
        else row
        for utterance, row in rows.items()
    }
