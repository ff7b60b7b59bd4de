"""A source for labels that are equal or not."""

import torch
from torch import Tensor

from masr_modules.knowledge.base import KnowledgeSource


class Categorical(KnowledgeSource):
    """Similarity 1 where the labels are equal, 0 where they differ.

    Arguments
    ---------
    column : str
        The CSV column that the source reads, such as ``speaker`` or ``gender``.
    weight : float
        Weight of the source against the others, at least 0.
    metadata : Metadata, optional
        Metadata of the corpus, to check that the column holds labels.

    Raises
    ------
    KeyError
        If the metadata lack the column.
    ValueError
        If the weight is negative or not a number, or the column holds numbers.

    Example
    -------
    >>> gender = Categorical("gender")
    >>> similarity, valid = gender.pairs(torch.tensor([0, 1]), torch.tensor([0, -1]))
    >>> similarity
    tensor([[1., 0.],
            [0., 0.]])
    >>> valid
    tensor([[ True, False],
            [ True, False]])
    """

    def pairs(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Compares labels; see :meth:`KnowledgeSource.pairs`."""
        similarity = torch.empty(len(rows), len(columns), device=rows.device)
        # A missing label of `columns` gets another code than one of `rows`, so that they differ.
        others = columns.masked_fill(columns < 0, -2)
        # int32 compared into float32 takes a third of the time of int64 and a cast.
        torch.eq(rows.int().unsqueeze(1), others.int().unsqueeze(0), out=similarity)
        return similarity, known_pairs(rows >= 0, columns >= 0)


def known_pairs(rows: Tensor, columns: Tensor) -> Tensor:
    """Returns (B, C) bool, whether both members of a pair are known, from (B,) and (C,) bool.

    Example
    -------
    >>> known_pairs(torch.tensor([True, False]), torch.tensor([False, True])).tolist()
    [[False, True], [False, False]]
    """
    # Copying one of two rows is far faster than a logical "and" of all pairs.
    return torch.stack([torch.zeros_like(columns), columns]).index_select(0, rows.long())
