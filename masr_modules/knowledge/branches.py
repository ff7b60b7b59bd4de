"""Branches of language families, as labels."""

from masr_modules.knowledge.languages import language_lineage


def name_branches(rows: dict[str, dict], depth: int) -> dict[str, dict]:
    """Puts a branch in the place of the family, so many levels down the language's lineage.

    A language whose lineage is shorter has its last level; a row without a language keeps what
    it has.

    Raises
    ------
    ValueError
        If the depth is below 1, where the family itself is.

    Example
    -------
    >>> rows = {"a": {"language": "spa", "family": "Indo-European"}, "b": {"family": "Uralic"}}
    >>> [row["family"] for row in name_branches(rows, 3).values()]
    ['Italic', 'Uralic']
    """
    if depth < 1:
        raise ValueError(f"family_depth: {depth} is below 1, the family")
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
