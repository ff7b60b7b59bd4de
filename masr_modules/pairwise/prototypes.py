"""A learned embedding for each label, as candidates of mining."""

import json
import logging
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from masr_modules.data.candidates import AGREEMENT, CandidateLabels
from masr_modules.data.metadata import MISSING, Metadata

logger = logging.getLogger(__name__)


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
    of the utterances of a label, such as the family of a language, it carries too where the column
    is named in `candidates_by`: an utterance whose label is not known, but whose family is, has the
    prototypes of that family as candidate labels and all others as negatives.

    With cosines, alpha = 0 and soft mining this is the normalised softmax (Wang et al., 2017,
    arXiv 1704.06369). The labels are kept in the checkpoint; a run with others is refused.

    Arguments
    ---------
    identity : str
        The label column.
    embedding_size : int
        D.
    metadata : Metadata
        Of the corpus.
    candidates_by : sequence of str
        Label columns that prototypes carry beside the identity, and that tell of utterances without
        it; see masr_modules.data.candidates.CandidateLabels.
    max_labels : int, optional
        Labels compared in a training step: those of the batch and as many others, drawn
        uniformly, as there is room for. A drawn one counts for all that it stands for. All by
        default. A batch of as many utterances or more compares one label more than it has
        utterances, which is logged once.
    agreement : float
        See CandidateLabels.

    Raises
    ------
    ValueError
        If the identity is no label column or has fewer than two labels, `max_labels` is below 2, or
        `agreement` not above a half and at most 1.

    Example
    -------
    >>> metadata = Metadata.from_columns(
    ...     {"language": ["fra", "spa", "deu", ""], "family": ["rom", "rom", "ger", "rom"]}
    ... )
    >>> prototypes = Prototypes("language", 4, metadata, candidates_by=["family"])
    >>> candidates = prototypes(metadata)
    >>> candidates.embeddings.shape, candidates.metadata["family"].tolist()
    (torch.Size([3, 4]), [0, 1, 1])
    """

    def __init__(
        self,
        identity: str,
        embedding_size: int,
        metadata: Metadata,
        candidates_by: Sequence[str] = (),
        max_labels: int | None = None,
        agreement: float = AGREEMENT,
    ):
        super().__init__()
        if max_labels is not None and max_labels < 2:
            raise ValueError(f"max_labels must be at least 2, got {max_labels}")
        labels = metadata.vocabulary(identity)
        if len(labels) < 2:
            raise ValueError(
                f"prototypes need a label column with two labels or more; '{identity}' has "
                f"{len(labels)}"
            )
        self.identity, self.labels = identity, list(labels)
        self.max_labels, self.warned = max_labels, False
        self.candidates = CandidateLabels(identity, candidates_by, metadata, agreement)
        start = torch.randn(len(labels), embedding_size) / embedding_size**0.5
        self.weight = nn.Parameter(start)

    def forward(self, metadata: Metadata) -> Candidates:
        """The candidates of a batch with this metadata.

        Arguments
        ---------
        metadata : Metadata
            Of the batch, its vocabularies those of the corpus.

        Returns
        -------
        Candidates
            O(L D), or O(max_labels D + L) where labels are drawn.
        """
        every = self.candidates.labels
        log_counts: Tensor | None
        chosen, log_counts, own = self.candidates.codes, None, metadata[self.identity]
        count = self._count(len(own))
        if count < len(chosen):
            places = torch.full_like(chosen, MISSING)
            chosen, log_counts = self._draw(own, count)
            places[chosen] = torch.arange(len(chosen), device=chosen.device)
            own = torch.where(own == MISSING, MISSING, places[own])
        columns = {}
        for column, values in metadata.columns.items():
            if column in every.columns:
                columns[column] = every[column][chosen]
            else:
                missing = MISSING if not values.is_floating_point() else float("nan")
                columns[column] = torch.full_like(chosen, missing, dtype=values.dtype)
        weight = self.weight if log_counts is None else self.weight[chosen]
        return Candidates(weight, Metadata(columns, metadata.vocabularies), log_counts, own)

    def _count(self, utterances: int) -> int:
        """How many labels are compared. The host does not know how many the batch has."""
        if self.max_labels is None or not self.training:
            return len(self.labels)
        if utterances >= self.max_labels and not self.warned:
            self.warned = True
            logger.warning(
                "max_labels is %d, but a batch has %d utterances, each perhaps of another %s: up "
                "to %d labels are compared",
                self.max_labels,
                utterances,
                self.identity,
                min(len(self.labels), utterances + 1),
            )
        return max(self.max_labels, utterances + 1)

    def _draw(self, codes: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Labels of the batch, each once, then others; the number is the same at every step."""
        size = len(self.labels)
        # The batch's labels sort before all others, in a random order among themselves.
        order = torch.rand(size, device=codes.device)
        present = torch.zeros(size + 1, dtype=torch.bool, device=codes.device)
        present[codes] = True  # a missing label is -1: the last place, which is cut off
        present = present[:size]
        chosen = (order - present.float()).argsort()[:count]
        there = present.sum().clamp(max=count - 1)
        drawn = count - there
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
