"""Prototypes: a learned embedding for each label, with which anchors are compared."""

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
    """The candidates with which the anchors of a batch are compared.

    Arguments
    ---------
    embeddings : torch.Tensor
        (C, D).
    metadata : Metadata
        Metadata of the C candidates.
    log_counts : torch.Tensor, optional
        (C,) logarithm of the number of negatives that each candidate stands for.
    own : torch.Tensor
        (B,) int64: the index of each utterance's own candidate, -1 if it has none.
    """

    embeddings: Tensor
    metadata: Metadata
    log_counts: Tensor | None
    own: Tensor


class Prototypes(nn.Module):
    """One learned embedding for each label of the identity, which replaces pairs of utterances.

    A prototype persists from batch to batch. Its metadata hold its label, so that sources compare
    an utterance with a prototype as they compare two utterances. They also hold the value that the
    label's utterances share in each column of `candidates_by`, such as the family of a language: an
    utterance whose language is missing, but whose family is known, has the prototypes of that
    family as candidate labels and all others as negatives.

    With soft mining and alpha = 0 this is the normalised softmax (Wang et al., 2017,
    arXiv 1704.06369). The checkpoint holds the labels, and a run with other labels cannot load it.

    Arguments
    ---------
    identity : str
        The label column.
    embedding_size : int
        D, the dimensions of an embedding.
    metadata : Metadata
        Metadata of the corpus: there is a prototype for each of its L labels.
    candidates_by : sequence of str
        Label columns that prototypes carry beside the identity, and that give utterances without a
        label their candidate labels; see masr_modules.data.candidates.CandidateLabels.
    max_labels : int, optional
        Number of labels compared in a training step; all by default. They are the batch's labels
        and others that are drawn uniformly, which are weighted to stand for all labels that the
        batch lacks. A batch of `max_labels` utterances or more compares one label more than it has
        utterances, of which the log warns once.
    agreement : float
        Fraction of a label's utterances that must agree; see CandidateLabels.

    Raises
    ------
    ValueError
        If the identity is no label column or has fewer than two labels, `max_labels` is below 2, or
        `agreement` is not above 0.5 and at most 1.

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
        """Returns the prototypes with which a batch is compared.

        Arguments
        ---------
        metadata : Metadata
            Metadata of the batch, with the vocabularies of the corpus.

        Returns
        -------
        Candidates
            All L prototypes, O(L D); in training with `max_labels` some, O(max_labels D + L).
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
        """Returns the number of labels to compare, without waiting for the batch's labels."""
        if self.max_labels is None or not self.training:
            return len(self.labels)
        if utterances >= self.max_labels and not self.warned:
            self.warned = True
            logger.warning(
                "max_labels is %d, but a batch has %d utterances, which may all differ in %s: up "
                "to %d labels are compared; raise max_labels above the utterances of a batch",
                self.max_labels,
                utterances,
                self.identity,
                min(len(self.labels), utterances + 1),
            )
        return max(self.max_labels, utterances + 1)

    def _draw(self, codes: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Draws `count` labels: those of the batch, each once, then others.

        Returns the codes and the log counts, (count,) each.
        """
        size = len(self.labels)
        # The batch's labels sort before all others; both are in random order.
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
        """Returns the identity and its labels, for the checkpoint."""
        text = json.dumps([self.identity, self.labels]).encode()
        return torch.frombuffer(bytearray(text), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuses a checkpoint of other labels.

        Raises
        ------
        ValueError
            If the checkpoint's labels differ. The message names up to five on each side.
        """
        identity, labels = json.loads(bytes(state.tolist()).decode())
        if (identity, labels) == (self.identity, self.labels):
            return
        new = sorted(set(self.labels) - set(labels))
        gone = sorted(set(labels) - set(self.labels))
        raise ValueError(
            f"the checkpoint's prototypes are of other labels of '{identity}': "
            f"new {new[:5]}, no longer there {gone[:5]}. Give another --output_folder, or the "
            "same CSVs as before"
        )
