"""A learned embedding for each label, as candidates of mining."""

import json
import logging
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from masr_modules.data.metadata import MISSING, Metadata

logger = logging.getLogger(__name__)

#: Share of a label's utterances that have to agree in another column.
AGREEMENT = 0.9


class Candidates(NamedTuple):
    """What anchors are compared with.

    Arguments
    ---------
    embeddings : torch.Tensor
        (C, D).
    metadata : Metadata
        Of the C candidates.
    log_counts : torch.Tensor, optional
        (C,) logarithm of how many negatives each stands for.
    own : torch.Tensor
        (B,) int64: which one is that of each utterance, -1 where none is.
    """

    embeddings: Tensor
    metadata: Metadata
    log_counts: Tensor | None
    own: Tensor


class Prototypes(nn.Module):
    """One learned embedding for each label of the identity, in the place of the batch's pairs.

    A prototype persists from batch to batch, which a mined pair does not, and its metadata is
    its label: sources compare an utterance with it as with another utterance. What else holds
    of all utterances of a label, such as the family of a language, can be named in `describe`:
    a prototype then carries it too, and an utterance whose label is not known, but whose
    family is, has the prototypes of that family as alternatives and all others as negatives.

    With cosines, alpha = 0 and soft mining this is the normalised softmax (Wang et al., 2017,
    arXiv 1704.06369). The labels are kept in the checkpoint; a run with others is refused.

    Arguments
    ---------
    describe : sequence of str
        Label columns that prototypes carry beside the identity.
    agreement : float
        Share of a label's utterances, above a half, that must have the same value in such a column
        for its prototype to carry it: less than 1, so that a few wrong cells do not silence it.
    max_labels : int, optional
        Labels compared in a training step: those of the batch and as many others, drawn
        uniformly, as there is room for. A drawn one counts for all that it stands for. All by
        default.

    Raises
    ------
    ValueError
        If `max_labels` is below 2, or `agreement` not above a half and at most 1.

    Example
    -------
    >>> metadata = Metadata.from_columns(
    ...     {"language": ["fra", "spa", "deu", ""], "family": ["rom", "rom", "ger", "rom"]}
    ... )
    >>> prototypes = Prototypes(describe=["family"])
    >>> prototypes.allocate("language", 4, metadata)
    >>> candidates = prototypes(metadata)
    >>> candidates.embeddings.shape, candidates.metadata["family"].tolist()
    (torch.Size([3, 4]), [0, 1, 1])
    """

    def __init__(
        self,
        describe: Sequence[str] = (),
        max_labels: int | None = None,
        agreement: float = AGREEMENT,
    ):
        super().__init__()
        if not 0.5 < agreement <= 1:
            raise ValueError(f"agreement must be above 0.5 and at most 1, got {agreement:g}")
        if max_labels is not None and max_labels < 2:
            raise ValueError(f"max_labels must be at least 2, got {max_labels}")
        self.describe = list(describe)
        self.max_labels = max_labels
        self.agreement = agreement

    def allocate(self, identity: str, embedding_size: int, metadata: Metadata) -> None:
        """Makes the embeddings, for the labels and the utterances of a corpus.

        Raises
        ------
        ValueError
            If the identity is no label column or has fewer than two labels.
        """
        labels = metadata.vocabularies.get(identity, [])
        if len(labels) < 2:
            raise ValueError(
                f"prototypes need a label column with two labels or more; '{identity}' has "
                f"{len(labels)}"
            )
        self.identity, self.labels = identity, list(labels)
        start = torch.randn(len(labels), embedding_size) / embedding_size**0.5
        self.weight = nn.Parameter(start)
        self.register_buffer("codes", torch.arange(len(labels)), persistent=False)
        for column in self.describe:
            shared = describe_labels(metadata, identity, column, self.agreement)
            self.register_buffer(f"described_{column}", shared, persistent=False)

    def forward(self, metadata: Metadata) -> Candidates:
        """The candidates of a batch with this metadata.

        Arguments
        ---------
        metadata : Metadata
            Of the batch, its vocabularies those of `allocate`.

        Returns
        -------
        Candidates
            O(L D), or O(max_labels D + L) where labels are drawn.
        """
        chosen, log_counts, own = self.codes, None, metadata[self.identity]
        if self.training and self.max_labels is not None and self.max_labels < len(self.codes):
            chosen, log_counts = self._draw(own)
            places = torch.full_like(self.codes, MISSING)
            places[chosen] = torch.arange(len(chosen), device=chosen.device)
            own = torch.where(own == MISSING, MISSING, places[own])
        columns = {}
        for column, values in metadata.columns.items():
            if column == self.identity:
                columns[column] = chosen
            elif column in self.describe:
                columns[column] = getattr(self, f"described_{column}")[chosen]
            else:
                missing = MISSING if not values.is_floating_point() else float("nan")
                columns[column] = torch.full_like(chosen, missing, dtype=values.dtype)
        weight = self.weight if log_counts is None else self.weight[chosen]
        return Candidates(weight, Metadata(columns, metadata.vocabularies), log_counts, own)

    def _draw(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Labels of the batch, each once, then others; the number is the same at every step."""
        size = len(self.codes)
        # The batch's labels sort before all others, in a random order among themselves.
        order = torch.rand(size, device=self.codes.device)
        present = torch.zeros(size + 1, dtype=torch.bool, device=self.codes.device)
        present[codes] = True  # a missing label is -1: the last place, which is cut off
        present = present[:size]
        chosen = (order - present.float()).argsort()[: self.max_labels]
        there = present.sum().clamp(max=self.max_labels - 1)
        drawn = self.max_labels - there
        log_ratio = ((size - there) / drawn).log()
        return chosen, torch.where(present[chosen], 0.0, log_ratio)

    def get_extra_state(self) -> Tensor:
        """The labels, for the checkpoint."""
        text = json.dumps([self.identity, self.labels]).encode()
        return torch.frombuffer(bytearray(text), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuses a checkpoint with other labels: their prototypes would be others'."""
        identity, labels = json.loads(bytes(state.tolist()).decode())
        if (identity, labels) == (self.identity, self.labels):
            return
        new = sorted(set(self.labels) - set(labels))
        gone = sorted(set(labels) - set(self.labels))
        raise ValueError(
            f"the checkpoint's prototypes are of other labels of '{identity}': "
            f"new {new[:5]}, no longer there {gone[:5]}. Give another output_folder, or the same "
            "CSVs as before"
        )


def describe_labels(
    metadata: Metadata, identity: str, column: str, agreement: float = AGREEMENT
) -> Tensor:
    """What so large a share of the utterances of each label has in another column.

    Warns where that is nothing for any label, though the column is to tell of utterances whose
    identity is not known.

    Returns
    -------
    torch.Tensor
        (labels,) codes of the column, missing where fewer utterances of a label agree.
    """
    labels, values = metadata[identity], metadata[column]
    shared = shared_values(labels, values, len(metadata.vocabularies[identity]), agreement)
    told = ((labels == MISSING) & (values != MISSING)).sum().item()
    if told and (shared == MISSING).all():
        logger.warning(
            f"'{column}' cannot tell of the {told} utterances without a '{identity}': it differs "
            f"between utterances of every single {identity}"
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
        Share of a label's known utterances that must have the value, above a half.

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
