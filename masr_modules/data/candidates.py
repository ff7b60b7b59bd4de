"""Candidate labels: what an utterance may be, by what other columns say of it.

Partial-label learning: of an utterance whose language is not known, the family is; its candidate
labels are the languages of that family, of which one is right (Jin and Ghahramani, 2002, "Learning
with Multiple Labels").
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from masr_modules.data.metadata import MISSING, Metadata

logger = logging.getLogger(__name__)

#: Fraction of a label's utterances that have to agree in another column.
AGREEMENT = 0.9


class CandidateLabels(nn.Module):
    """The labels of a column, what their utterances share in others, and so what may be what.

    A label carries the value of another column that nearly all of its utterances have: a language
    its family. An utterance without a label, of which such a column is known, has as candidates
    the labels that no column contradicts.

    Arguments
    ---------
    column : str
        The label column.
    by : sequence of str
        Label columns that tell of it.
    metadata : Metadata
        Of the corpus.
    agreement : float
        Fraction of a label's utterances, above a half, that must have the same value for the label
        to carry it: less than 1, so that a few wrong cells do not silence a column.

    Raises
    ------
    ValueError
        If `agreement` is not above a half and at most 1.

    Example
    -------
    >>> metadata = Metadata.from_columns(
    ...     {"language": ["fra", "spa", "deu", ""], "family": ["rom", "rom", "ger", "rom"]}
    ... )
    >>> candidates = CandidateLabels("language", ["family"], metadata)
    >>> metadata.vocabulary("language"), candidates.labels["family"].tolist()
    (['deu', 'fra', 'spa'], [0, 1, 1])
    >>> candidates.partial(metadata).tolist()
    [False, False, False, True]
    >>> candidates.allowed(metadata, candidates.labels)[3].tolist()
    [False, True, True]
    """

    codes: Tensor

    def __init__(
        self, column: str, by: Sequence[str], metadata: Metadata, agreement: float = AGREEMENT
    ):
        super().__init__()
        if not 0.5 < agreement <= 1:
            raise ValueError(f"agreement must be above 0.5 and at most 1, got {agreement:g}")
        self.column = column
        self.by = [other for other in by if other != column]
        self.vocabularies = {column: metadata.vocabulary(column)}
        for other in self.by:
            try:
                self.vocabularies[other] = metadata.vocabulary(other)
            except ValueError as error:
                raise ValueError(f"candidates_by: {error}") from None
        size = len(self.vocabularies[column])
        self.register_buffer("codes", torch.arange(size), persistent=False)
        for other in self.by:
            shared = _shared_or_warn(metadata, column, other, size, agreement)
            self.register_buffer(f"shared_{other}", shared, persistent=False)

    @property
    def labels(self) -> Metadata:
        """Metadata of the L labels: each its own label, and what its utterances share."""
        shared = {other: getattr(self, f"shared_{other}") for other in self.by}
        return Metadata({self.column: self.codes, **shared}, self.vocabularies)

    def partial(self, metadata: Metadata) -> Tensor:
        """(B,) bool: the label is not known, and another column tells of it."""
        told = torch.zeros_like(metadata[self.column], dtype=torch.bool)
        for other in self.by:
            told |= metadata[other] != MISSING
        return told & (metadata[self.column] == MISSING)

    def allowed(self, metadata: Metadata, labels: Metadata) -> Tensor:
        """Which labels are candidates of which utterance.

        Arguments
        ---------
        metadata : Metadata
            Of B utterances.
        labels : Metadata
            Of C labels, of `labels` or some of them.

        Returns
        -------
        torch.Tensor
            (B, C) bool: no column contradicts it; nothing where the utterance's label is known.
        """
        allowed = self.partial(metadata).unsqueeze(1)
        for other in self.by:
            rows, columns = metadata[other].unsqueeze(1), labels[other].unsqueeze(0)
            allowed = allowed & ((rows == columns) | (rows == MISSING) | (columns == MISSING))
        return allowed.expand(len(metadata), len(labels))


def _shared_or_warn(
    metadata: Metadata, column: str, other: str, size: int, agreement: float
) -> Tensor:
    """`shared_values`, with a warning where a column that should tell of a label tells nothing."""
    labels, values = metadata.require(column), metadata.require(other)
    shared = shared_values(labels, values, size, agreement)
    told = ((labels == MISSING) & (values != MISSING)).sum().item()
    if told and (shared == MISSING).all():
        logger.warning(
            f"'{other}' cannot tell of the {told} utterances without a '{column}': it differs "
            f"between utterances of every single {column}"
        )
    return shared


def shared_values(labels: Tensor, values: Tensor, size: int, agreement: float = 1.0) -> Tensor:
    """What utterances of a label have in common; O(N log N).

    Arguments
    ---------
    labels, values : torch.Tensor
        (N,) codes of each utterance in two columns.
    size : int
        Number of labels.
    agreement : float
        Fraction of a label's known utterances that must have the value, above a half.

    Returns
    -------
    torch.Tensor
        (size,) the value that they share, missing where too many differ.

    Example
    -------
    >>> labels, values = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([2, MISSING, 0, 1, 1])
    >>> shared_values(labels, values, 2).tolist(), shared_values(labels, values, 2, 0.6).tolist()
    ([2, -1], [2, 1])
    """
    known = (labels != MISSING) & (values != MISSING)
    labels, values = labels[known], values[known]
    shared = torch.full((size,), MISSING)
    if len(values):
        base = values.max() + 1
        pairs, counts = torch.unique(labels * base + values, return_counts=True)
        owners = pairs // base
        totals = torch.bincount(labels, minlength=size)
        agreed = counts >= agreement * totals[owners]
        shared[owners[agreed]] = pairs[agreed] % base
    return shared


def drop_non_candidates(
    rows: Mapping[str, Mapping], checks: Mapping[str, Sequence[str]]
) -> Mapping[str, Mapping]:
    """Empties the labels that are no candidates by what other columns say, and counts them.

    A label and a value speak against each other where the value comes less often with the label
    than it comes in all: P(value | label) < P(value). Of labels that are wrong at random, up to
    half of them, this finds those whose value is not one of the new label's own, and no right one;
    where none is wrong and each label has one value, nothing changes. A rare but true combination,
    such as English from India, is taken for an error: name columns of which a label has few values.

    O(N) for each pair of columns. A label of which nothing would be left stays as it is.

    Arguments
    ---------
    rows : mapping
        ID -> row.
    checks : mapping of str to sequence of str
        Label column -> columns that are known from elsewhere. An empty cell says nothing.

    Raises
    ------
    ValueError
        If no row has one of the columns, or a column is to check itself.

    Example
    -------
    >>> rows = {str(i): {"language": "fra", "region": "FR"} for i in range(4)}
    >>> rows |= {str(i): {"language": "deu", "region": "DE"} for i in range(4, 8)}
    >>> rows["8"] = {"language": "deu", "region": "FR"}
    >>> drop_non_candidates(rows, {"language": ["region"]})["8"]
    {'language': '', 'region': 'FR'}
    """
    for column, others in checks.items():
        doubted = set().union(*(_contradicted(rows, column, other) for other in others))
        known = {i for i, row in rows.items() if row.get(column)}
        left = {rows[i][column] for i in known - doubted}
        doubted = {i for i in doubted if rows[i][column] in left}
        logger.info(
            f"drop_non_candidates: {', '.join(others)} contradict {len(doubted)} of {len(known)} "
            f"cells of '{column}', which count as not known"
        )
        rows = {i: {**row, column: ""} if i in doubted else row for i, row in rows.items()}
    return rows


def _contradicted(rows: Mapping[str, Mapping], column: str, other: str) -> set[str]:
    """IDs of the rows whose two cells come together less often than by chance."""
    if column == other:
        raise ValueError(f"drop_non_candidates: {column!r} cannot check itself")
    pairs = {
        i: (row[column], row[other])
        for i, row in rows.items()
        if row.get(column) and row.get(other)
    }
    if not pairs:
        raise ValueError(
            f"drop_non_candidates: no training utterance has both a {column!r} and a {other!r}"
        )
    both = Counter(pairs.values())
    labels, values = (Counter(cells) for cells in zip(*pairs.values(), strict=True))
    against = {
        pair
        for pair, count in both.items()
        if count * len(pairs) < labels[pair[0]] * values[pair[1]]
    }
    return {i for i, pair in pairs.items() if pair in against}
