"""Knowledge sources: similarities of utterances by a column of their metadata.

Each source turns one column into a similarity S^k in [0, 1] and a validity V^k, which is
False where nothing is known about a pair. ``masr_modules.pairwise.similarity`` combines them;
``python recipes/pretrain/knowledge_report.py YAML CSV`` reports what they say about a corpus.

A source is complete once it is constructed with ``metadata=`` of the corpus. A YAML lists factories
(``!name:masr_modules.knowledge.LanguageDistance``), and :func:`build_sources` builds them.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from masr_modules.knowledge.base import KnowledgeSource, LabelSource
    from masr_modules.knowledge.branches import name_branches
    from masr_modules.knowledge.building import build_sources, source_settings
    from masr_modules.knowledge.control import RandomSimilarity
    from masr_modules.knowledge.geographic import Geographic
    from masr_modules.knowledge.labels import Categorical
    from masr_modules.knowledge.language import LanguageDistance
    from masr_modules.knowledge.languages import resolve_language
    from masr_modules.knowledge.numeric import Numeric
    from masr_modules.knowledge.sets import SetOverlap
    from masr_modules.knowledge.table import TableSource

# Imported at first use: the preparation of corpora needs `languages` alone, and not torch.
_MODULE_OF = {
    "Categorical": "labels",
    "Geographic": "geographic",
    "KnowledgeSource": "base",
    "LabelSource": "base",
    "LanguageDistance": "language",
    "Numeric": "numeric",
    "RandomSimilarity": "control",
    "SetOverlap": "sets",
    "TableSource": "table",
    "build_sources": "building",
    "name_branches": "branches",
    "resolve_language": "languages",
    "source_settings": "building",
}

__all__ = [
    "Categorical",
    "Geographic",
    "KnowledgeSource",
    "LabelSource",
    "LanguageDistance",
    "Numeric",
    "RandomSimilarity",
    "SetOverlap",
    "TableSource",
    "build_sources",
    "name_branches",
    "resolve_language",
    "source_settings",
]


def __getattr__(name: str) -> object:
    """Returns a source or function, from its module."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
