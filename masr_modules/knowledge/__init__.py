"""Knowledge sources: what a metadata column says about how alike two utterances are.

Each source turns one column into a similarity S^k in [0, 1] and a validity V^k, which is
False where nothing is known about a pair. ``masr_modules.similarity`` combines them;
``python -m masr_modules.knowledge YAML CSV`` reports what they say about a corpus.
"""

from masr_modules.knowledge.base import KnowledgeSource, LabelSource, numeric_columns
from masr_modules.knowledge.geographic import Geographic
from masr_modules.knowledge.labels import Categorical
from masr_modules.knowledge.language import LanguageDistance
from masr_modules.knowledge.numeric import Numeric
from masr_modules.knowledge.sets import SetOverlap
from masr_modules.knowledge.table import TableSource
from masr_modules.languages import resolve_language

__all__ = [
    "Categorical",
    "Geographic",
    "KnowledgeSource",
    "LabelSource",
    "LanguageDistance",
    "Numeric",
    "SetOverlap",
    "TableSource",
    "numeric_columns",
    "resolve_language",
]
