"""The training batches of an experiment, from files or shards, the same for every loss."""

import math

import numpy as np
import torch

from masr_modules.data.metadata import MetadataTable, column_of
from masr_modules.data.shards import ShardBatches
from masr_modules.pairwise.similarity import label_similarity
from masr_modules.training.hard_pairs import HardPairs
from masr_modules.training.sampler import KnowledgeBatchSampler, temperature_rates

#: The keys of an experiment that its batches depend on.
BATCH_SETTINGS = (
    "knowledge",
    "batch_identity",
    "max_crop_seconds",
    "max_batch_seconds",
    "utterances_per_identity",
    "num_buckets",
    "seed",
)
#: Further keys that the batches depend on, which an experiment may lack.
BATCH_OPTIONS = ("language_temperature", "speaker_temperature", "hard_pairs", "hard_pair_share")
#: Largest number of labels of `batch_identity` for which similar labels share a batch: the matrix
#: of similarities holds the square of this number of float32 values.
MAX_RELATED = 10_000


def find_relatedness(hparams: dict, table: MetadataTable) -> np.ndarray | None:
    """Returns the similarities of the labels of `batch_identity` by the experiment's knowledge.

    Arguments
    ---------
    hparams : dict
        The experiment's ``knowledge`` and ``batch_identity``.
    table : MetadataTable
        The corpus's metadata.

    Returns
    -------
    np.ndarray or None
        (I, I) in [0, 1]; None if no source grades the labels or there are more than
        ``MAX_RELATED``.

    Raises
    ------
    ValueError
        If ``batch_identity`` holds numbers.
    """
    identity = hparams["batch_identity"]
    try:
        labels = table.vocabulary(identity)
    except ValueError as error:
        raise ValueError(
            f"batch_identity {identity!r}: {error}; name a column of labels, which utterances of "
            "a batch share"
        ) from None
    if len(labels) > MAX_RELATED:
        return None
    similarity = label_similarity(hparams["knowledge"], identity, labels)
    return None if similarity is None else similarity.numpy()


def find_hard_pairs(hparams: dict, rows: dict, table: MetadataTable) -> HardPairs | None:
    """Makes the rules of the experiment's `hard_pairs`; warns of rules that no pair meets.

    Arguments
    ---------
    hparams : dict
        The experiment's ``hard_pairs``: identity -> columns in which a hard negative agrees.
    rows : dict[str, dict]
        ID -> row of the training utterances.
    table : MetadataTable
        Their metadata.

    Returns
    -------
    HardPairs or None
        The rules for all utterances of the table; None if `hard_pairs` is missing or empty.

    Raises
    ------
    ValueError
        If a column is not in the CSV, or holds numbers.
    """
    if not hparams.get("hard_pairs"):
        return None
    table.require("speaker", optional=True)
    pairs = HardPairs.of_metadata(hparams["hard_pairs"], table)
    pairs.select(table.index.find(list(rows))).warn_where_none()
    return pairs


def make_sampler(
    hparams: dict,
    rows: dict,
    table: MetadataTable,
    relatedness: np.ndarray | None = None,
    hard_pairs: HardPairs | None = None,
) -> KnowledgeBatchSampler:
    """Makes the sampler of an experiment's training batches.

    The batches do not depend on the loss, so that a comparison of losses is fair.

    Arguments
    ---------
    hparams : dict
        The experiment's ``knowledge``, ``batch_identity``, ``max_crop_seconds``,
        ``max_batch_seconds``, ``utterances_per_identity``, ``num_buckets`` and ``seed``;
        if it has them, ``language_temperature`` and ``speaker_temperature``, see
        `temperature_rates`, and ``hard_pairs`` and ``hard_pair_share``, see `find_hard_pairs`.
    rows : dict[str, dict]
        ID -> row of the training utterances.
    table : MetadataTable
        Their metadata.
    relatedness : np.ndarray, optional
        The result of `find_relatedness`, if it has been computed already.
    hard_pairs : HardPairs, optional
        The result of `find_hard_pairs`, if it has been computed already.

    Raises
    ------
    ValueError
        If ``batch_identity`` or a column of ``hard_pairs`` holds numbers, or the sampler's settings
        do not fit the rows.

    Example
    -------
    >>> rows = {i: {"duration": 2.0, "language": i[0], "speaker": ""} for i in ("a1", "a2")}
    >>> settings = {"knowledge": [], "batch_identity": "language", "max_crop_seconds": 1.0,
    ...     "max_batch_seconds": 2.0, "utterances_per_identity": 2, "num_buckets": 1, "seed": 0}
    >>> table = MetadataTable(rows)
    >>> [sorted(batch) for batch in make_sampler(settings, rows, table)]
    [[0, 1]]
    """
    if relatedness is None:
        relatedness = find_relatedness(hparams, table)
    if hard_pairs is None:
        hard_pairs = find_hard_pairs(hparams, rows, table)
    if hard_pairs is not None:
        hard_pairs = hard_pairs.select(table.index.find(list(rows)))
    table.require("speaker", optional=True)
    metadata = table(list(rows))
    rates = None
    for column in ("language", "speaker"):
        temperature = hparams.get(f"{column}_temperature", 1.0)
        if temperature != 1.0:
            table.require(column)
            found = temperature_rates(metadata[column].tolist(), temperature)
            rates = found if rates is None else rates * found * len(rows) / (rates * found).sum()
    return KnowledgeBatchSampler(
        durations=np.minimum(column_of(rows, "duration"), hparams["max_crop_seconds"]),
        identities=metadata[hparams["batch_identity"]].numpy(),
        speakers=metadata["speaker"].numpy(),
        max_batch_seconds=hparams["max_batch_seconds"],
        utterances_per_identity=hparams["utterances_per_identity"],
        relatedness=relatedness,
        num_buckets=hparams["num_buckets"],
        seed=hparams["seed"],
        rates=rates,
        hard_pairs=hard_pairs,
        hard_pair_share=hparams.get("hard_pair_share", 0.5),
    )


class _WindowPlan:
    """A function that plans the batches of a window of shards.

    It is a class because spawned workers receive it pickled.
    """

    def __init__(
        self,
        hparams: dict,
        table: MetadataTable,
        relatedness: np.ndarray | None,
        hard_pairs: HardPairs | None,
    ):
        keys = (*BATCH_SETTINGS, *BATCH_OPTIONS)
        self.hparams = {key: hparams[key] for key in keys if key in hparams}
        self.table, self.relatedness, self.hard_pairs = table, relatedness, hard_pairs

    def __call__(self, window: list[dict], epoch: int) -> list[list[int]]:
        rows = {row["ID"]: row for row in window}
        sampler = make_sampler(self.hparams, rows, self.table, self.relatedness, self.hard_pairs)
        sampler.set_epoch(epoch)
        return list(sampler)


def make_shard_batches(hparams: dict, rows: dict, table: MetadataTable) -> ShardBatches:
    """Makes the training batches of an experiment whose training set is in shards.

    Arguments
    ---------
    hparams : dict
        The experiment's ``train_shards`` (the folder of the shards), ``shard_window`` and
        ``sample_rate``, and the keys that `make_sampler` reads.
    rows : dict[str, dict]
        ID -> row of the training utterances.
    table : MetadataTable
        Their metadata.
    """
    relatedness = find_relatedness(hparams, table)
    plan = _WindowPlan(hparams, table, relatedness, find_hard_pairs(hparams, rows, table))
    crop, processes = hparams["max_crop_seconds"], 1
    if torch.distributed.is_initialized():
        processes = torch.distributed.get_world_size()
    seconds = float(np.minimum(column_of(rows, "duration"), crop).sum())
    num_batches = math.ceil(seconds / hparams["max_batch_seconds"] / processes)
    return ShardBatches(
        hparams["train_shards"],
        plan,
        num_batches,
        hparams["sample_rate"],
        crop,
        window=hparams["shard_window"],
        seed=hparams["seed"],
    )
