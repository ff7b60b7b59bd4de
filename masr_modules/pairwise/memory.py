"""Embeddings of past batches as further candidates: many negatives for small batches."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from masr_modules.data.metadata import MISSING, Metadata


class CrossBatchMemory(nn.Module):
    """A ring buffer of detached embeddings of past batches with their metadata.

    The method is that of Wang et al., 2020 (arXiv 1912.06798). Entries serve only as
    negatives: the encoder has changed since, and a positive would pull towards an outdated
    embedding. All state is in buffers, which a checkpoint holds. The host never waits for the
    device.

    Arguments
    ---------
    size : int
        Number of embeddings kept.
    max_age : int
        Training steps after which an entry no longer counts.
    embedding_size : int
        D, the dimensions of an embedding.
    labels, numbers : sequence of str
        Metadata columns that are kept: those of labels, and those of numbers.

    Raises
    ------
    ValueError
        If `size` or `max_age` is below 1.

    Example
    -------
    >>> memory = CrossBatchMemory(size=4, max_age=2, embedding_size=3, labels=["language"])
    >>> metadata = Metadata.from_columns({"language": ["fra", "deu"]})
    >>> metadata.ids = torch.tensor([7, 8])
    >>> memory.enter(torch.randn(2, 3), metadata)
    >>> memory.metadata(metadata.vocabularies)["language"].tolist()
    [1, 0, -1, -1]
    """

    embeddings: Tensor
    ids: Tensor
    codes: Tensor
    values: Tensor
    entered: Tensor
    step: Tensor
    place: Tensor

    def __init__(
        self,
        size: int,
        max_age: int,
        embedding_size: int,
        labels: Sequence[str],
        numbers: Sequence[str] = (),
    ):
        super().__init__()
        if size < 1 or max_age < 1:
            raise ValueError(f"size ({size}) and max_age ({max_age}) must be at least 1")
        self.size = size
        self.max_age = max_age
        self.labels, self.numbers = list(labels), list(numbers)
        buffers = {
            "embeddings": torch.zeros(size, embedding_size),
            "ids": torch.full((size,), MISSING),
            "codes": torch.full((size, len(self.labels)), MISSING),
            "values": torch.full((size, len(self.numbers)), float("nan")),
            "entered": torch.full((size,), -max_age - 1),
            "step": torch.zeros((), dtype=torch.long),
            "place": torch.zeros((), dtype=torch.long),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)

    @torch.no_grad()
    def enter(self, embeddings: Tensor, metadata: Metadata) -> None:
        """Replaces the oldest entries by a step's (B, D) embeddings, and counts the step.

        If there are more than `size` embeddings, the last `size` are kept.

        Raises
        ------
        ValueError
            If the metadata have no ids.
        """
        embeddings = embeddings[-self.size :]
        metadata = metadata.select(slice(-len(embeddings), None))
        if metadata.ids is None:
            raise ValueError("a memory needs metadata with ids; MetadataTable gives them")
        places = torch.arange(len(embeddings), device=embeddings.device)
        places = (places + self.place) % self.size
        self.embeddings[places] = embeddings.to(self.embeddings.dtype)
        self.ids[places] = metadata.ids
        self.entered[places] = self.step
        for i, column in enumerate(self.labels):
            self.codes[places, i] = metadata[column]
        for i, column in enumerate(self.numbers):
            self.values[places, i] = metadata[column]
        self.place.copy_((self.place + len(embeddings)) % self.size)
        self.step += 1

    def metadata(self, vocabularies: dict[str, list[str]]) -> Metadata:
        """Returns the metadata of all `size` entries; cells of empty or stale ones are missing."""
        stale = self.step - self.entered > self.max_age
        columns = {
            column: self.codes[:, i].masked_fill(stale, MISSING)
            for i, column in enumerate(self.labels)
        }
        for i, column in enumerate(self.numbers):
            columns[column] = self.values[:, i].masked_fill(stale, float("nan"))
        return Metadata(columns, vocabularies, self.ids)
