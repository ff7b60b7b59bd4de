"""A source for languages: the smaller their distance in URIEL+, the more similar."""

import logging
from collections.abc import Sequence

import numpy as np

from masr_modules.data.metadata import Metadata
from masr_modules.knowledge.base import LabelSource
from masr_modules.knowledge.language_distances import DISTANCE_KINDS, language_distances
from masr_modules.knowledge.languages import resolve_language

logger = logging.getLogger(__name__)


class LanguageDistance(LabelSource):
    """Similarity of languages: 1 minus their distance in URIEL+.

    The distances are those of URIEL+ (Khan et al., 2024, arXiv 2409.18472), the successor
    of URIEL (Littell et al., 2017). Several kinds are averaged over those that are known
    for the pair. Two utterances of one language have similarity 1.

    Arguments
    ---------
    column : str
        The CSV column that holds language codes.
    kinds : str or Sequence[str]
        One or more kinds of distance: genetic, geographic, featural, syntactic, phonological,
        inventory, morphological, script.
    weight : float
        Weight of the source against the others, at least 0.
    on_unknown : str
        What to do with a label that names no language: "error" raises an error, "missing"
        leaves its pairs out.
    metadata : Metadata
        Metadata of the corpus, whose labels are compared.

    Raises
    ------
    KeyError
        If the metadata lack the column.
    ValueError
        If a kind, the weight or ``on_unknown`` has a wrong value, if there is no metadata, or if a
        label names no language and ``on_unknown`` is "error".

    Example
    -------
    >>> import torch
    >>> metadata = Metadata.from_columns({"language": ["fin", "nob", "swe"]})
    >>> language = LanguageDistance(kinds="genetic", metadata=metadata)
    >>> similarity, valid = language.pairs(torch.tensor([1]), torch.tensor([1, 2, 0, -1]))
    >>> similarity
    tensor([[1.0000, 0.5212, 0.0000, 0.0000]])
    >>> valid
    tensor([[ True,  True,  True, False]])
    """

    def __init__(
        self,
        column: str = "language",
        kinds: str | Sequence[str] = ("genetic", "geographic", "featural"),
        weight: float = 1.0,
        on_unknown: str = "error",
        metadata: Metadata | None = None,
    ):
        self.kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        unknown = [kind for kind in self.kinds if kind not in DISTANCE_KINDS]
        if unknown or not self.kinds:
            raise ValueError(
                f"{self.named(column)}: kinds must be one or more of {', '.join(DISTANCE_KINDS)}, "
                f"got {kinds!r}"
            )
        super().__init__(column, weight, on_unknown, metadata)

    def similarities(self, vocabulary: list[str]) -> np.ndarray:
        """Compares languages; see :meth:`LabelSource.similarities`."""
        resolved = self._find(vocabulary, resolve_language)
        codes = list(resolved.values())
        distances = np.stack([language_distances(codes, kind) for kind in self.kinds])
        self._warn_of_gaps(codes, distances)
        known = ~np.isnan(distances)
        total, count = np.where(known, distances, 0.0).sum(axis=0), known.sum(axis=0)
        mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return self._among(vocabulary, resolved, 1.0 - mean)

    def _warn_of_gaps(self, codes: Sequence[str], distances: np.ndarray) -> None:
        gaps = []
        for kind, table in zip(self.kinds, distances, strict=True):
            empty = np.isnan(table.diagonal())
            missing = sorted({code for code, gap in zip(codes, empty, strict=True) if gap})
            if missing:
                gaps.append(f"URIEL+ has no {kind} features of {', '.join(missing)}")
        if gaps:
            logger.warning(
                "%s: %s. Their pairs use the other kinds, or are left out.", self, "; ".join(gaps)
            )
