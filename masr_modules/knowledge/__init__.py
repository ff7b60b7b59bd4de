"""Knowledge sources: what a metadata column says about how alike two utterances are.

Each source turns one column into a similarity S^k in [0, 1] and a validity V^k, which is
False where nothing is known about a pair. ``masr_modules.pairwise.similarity`` combines them;
``python recipes/pretrain/knowledge_report.py YAML CSV`` reports what they say about a corpus.
"""

from masr_modules.knowledge.base import KnowledgeSource, LabelSource, numeric_columns
from masr_modules.knowledge.control import RandomSimilarity
from masr_modules.knowledge.geographic import Geographic
from masr_modules.knowledge.labels import Categorical
from masr_modules.knowledge.language import LanguageDistance
from masr_modules.knowledge.languages import resolve_language
from masr_modules.knowledge.numeric import Numeric
from masr_modules.knowledge.sets import SetOverlap
from masr_modules.knowledge.table import TableSource

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
    "numeric_columns",
    "resolve_language",
]
