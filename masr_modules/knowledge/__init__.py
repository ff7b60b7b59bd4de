"""Knowledge sources: what a metadata column says about how alike two utterances are.

Each source turns one column into a similarity S^k in [0, 1] and a validity V^k, which is
False where nothing is known about a pair. ``masr_modules.pairwise.similarity`` combines them;
``python recipes/pretrain/knowledge_report.py YAML CSV`` reports what they say about a corpus.
"""

import importlib

# Imported when they are asked for: preparing a corpus needs `languages` alone, and not torch.
_MODULES = {
    "Categorical": "labels",
    "Geographic": "geographic",
    "KnowledgeSource": "base",
    "LabelSource": "base",
    "LanguageDistance": "language",
    "Numeric": "numeric",
    "RandomSimilarity": "control",
    "SetOverlap": "sets",
    "TableSource": "table",
    "name_branches": "branches",
    "numeric_columns": "base",
    "resolve_language": "languages",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    """A source or function, from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
