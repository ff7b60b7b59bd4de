"""Candidate labels: the labels that an utterance may have, given its other columns.

This is partial-label learning: if the language of an utterance is missing and its family is known,
its candidate labels are the languages of that family, of which one is right (Jin and Ghahramani,
2002, "Learning with Multiple Labels").
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from masr_modules.data.metadata import MISSING, Metadata

logger = logging.getLogger(__name__)

#: Default fraction of a label's utterances that must agree in another column.
AGREEMENT = 0.9


class CandidateLabels(nn.Module):
    """The labels of a column, and the values that their utterances share in other columns.

    A label carries the value of another column that nearly all of its utterances have, as a
    language carries its family. If an utterance has no label but a value in such a column, its
    candidate labels are those that none of these columns contradicts.

    Arguments
    ---------
    column : str
        The label column.
    by : sequence of str
        Label columns that narrow down a missing label.
    metadata : Metadata
        Metadata of the corpus.
    agreement : float
        Fraction of a label's utterances, above 0.5, that must have the same value for the label
        to carry it. Below 1, a few wrong cells do not prevent it.

    Raises
    ------
    ValueError
        If `agreement` is not above 0.5 and at most 1, or a column is missing or holds numbers.

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
        """Metadata of the L labels: each label itself, and the values that its utterances share."""
        shared = {other: getattr(self, f"shared_{other}") for other in self.by}
        return Metadata({self.column: self.codes, **shared}, self.vocabularies)

    def partial(self, metadata: Metadata) -> Tensor:
        """Returns (B,) bool: True where the label is missing and a column of `by` is known."""
        told = torch.zeros_like(metadata[self.column], dtype=torch.bool)
        for other in self.by:
            told |= metadata[other] != MISSING
        return told & (metadata[self.column] == MISSING)

    def allowed(self, metadata: Metadata, labels: Metadata) -> Tensor:
        """Finds the candidate labels of utterances without a label.

        Arguments
        ---------
        metadata : Metadata
            Metadata of B utterances.
        labels : Metadata
            Metadata of C labels, from the property `labels`, or of some of them.

        Returns
        -------
        torch.Tensor
            (B, C) bool: True where no column contradicts the label; always False for an utterance
            that has a label, or of which no column of `by` is known.
        """
        allowed = self.partial(metadata).unsqueeze(1)
        for other in self.by:
            rows, columns = metadata[other].unsqueeze(1), labels[other].unsqueeze(0)
            allowed = allowed & ((rows == columns) | (rows == MISSING) | (columns == MISSING))
        return allowed.expand(len(metadata), len(labels))


def _shared_or_warn(
    metadata: Metadata, column: str, other: str, size: int, agreement: float
) -> Tensor:
    """Returns `shared_values`, and warns if the column can give no utterance a candidate label."""
    labels, values = metadata.require(column), metadata.require(other)
    shared = shared_values(labels, values, size, agreement)
    told = ((labels == MISSING) & (values != MISSING)).sum().item()
    if told and (shared == MISSING).all():
        logger.warning(
            f"'{other}' gives the {told} utterances without a '{column}' no candidate labels: it "
            f"differs between the utterances of every single {column}"
        )
    return shared


def shared_values(labels: Tensor, values: Tensor, size: int, agreement: float = 1.0) -> Tensor:
    """Finds the value of another column that the utterances of each label share, in O(N log N).

    Arguments
    ---------
    labels, values : torch.Tensor
        (N,) codes of the utterances in the label column and in the other column.
    size : int
        Number of labels.
    agreement : float
        Fraction, above 0.5, of a label's utterances with a known value that must have it.

    Returns
    -------
    torch.Tensor
        (size,) code of the value that a label's utterances share, missing if too many differ.

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
    """Empties label cells that other columns contradict, and logs their number.

    A value of another column contradicts a label if it is rarer among the label's utterances than
    among all: P(value | label) < P(value). If up to half of the labels are wrong at random, this
    empties each wrong one whose value the label's true utterances never have, and no right one. If
    none is wrong and each label has one value, nothing changes. A rare but true combination, such
    as English from India, counts as an error: name columns in which a label has few values.

    It takes O(N) for each pair of columns. If all cells of a label would be emptied, none is.

    Arguments
    ---------
    rows : mapping
        ID -> row.
    checks : mapping of str to sequence of str
        Label column -> columns that check it, known independently of it. Empty cells contradict
        nothing.

    Returns
    -------
    mapping
        ID -> row, with the contradicted cells empty.

    Raises
    ------
    ValueError
        If no row has both a label and a value of a column, or a column is to check itself.

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
            f"cells of '{column}', which are emptied"
        )
        rows = {i: {**row, column: ""} if i in doubted else row for i, row in rows.items()}
    return rows


def _contradicted(rows: Mapping[str, Mapping], column: str, other: str) -> set[str]:
    """Returns the IDs of rows whose two cells occur together less often than by chance."""
    if column == other:
        raise ValueError(
            f"drop_non_candidates: {column!r} cannot check itself; name other columns for it"
        )
    pairs = {
        i: (row[column], row[other])
        for i, row in rows.items()
        if row.get(column) and row.get(other)
    }
    if not pairs:
        raise ValueError(
            f"drop_non_candidates: no training utterance has both a {column!r} and a {other!r}; "
            "take the column out of the list"
        )
    both = Counter(pairs.values())
    labels, values = (Counter(cells) for cells in zip(*pairs.values(), strict=True))
    against = {
        pair
        for pair, count in both.items()
        if count * len(pairs) < labels[pair[0]] * values[pair[1]]
    }
    return {i for i, pair in pairs.items() if pair in against}
