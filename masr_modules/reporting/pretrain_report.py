"""The results that pretraining gives: its table, its encoder and what TensorBoard shows."""

import json
import logging
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import speechbrain as sb
import torch
from torch import nn

from masr_modules.config.extras import skip_without_extra
from masr_modules.config.files import write_atomic
from masr_modules.config.markdown import portable_sources
from masr_modules.data.audio_check import drop_undecodable
from masr_modules.data.metadata import column_of
from masr_modules.distributed import unwrap
from masr_modules.encoders.model_card import encoder_card
from masr_modules.encoders.pretrained import export_encoder
from masr_modules.heads.spaces import Spaces
from masr_modules.metrics.baselines import (
    LogMelStatistics,
    MFCCStatistics,
    QuietFrameStatistics,
    blind_guess,
)
from masr_modules.metrics.by_corpus import evaluate_corpora
from masr_modules.metrics.embeddings import COLUMNS, LabelledEmbeddings
from masr_modules.metrics.probes import Evaluation, evaluate
from masr_modules.metrics.tables import (
    CORPORA_COLUMNS,
    format_table,
    pretrain_columns,
    write_results,
)
from masr_modules.reporting.pretrain_record import UTTERANCE_EMBEDDING
from masr_modules.training.experiment import keep_per_speaker

logger = logging.getLogger(__name__)

#: Largest number of utterances that are all used as references, from which neighbours and probes
#: learn. Of a larger set, at most 1000 per label are used. If the experiment sets
#: `table_references`, at most that number per label is used instead, whatever the size of the set.
MAX_REFERENCES = 100_000
#: Largest number of utterances in TensorBoard's projector, and in its heat map.
MAX_PROJECTED, MAX_MAPPED = 1000, 200


def choose_references(rows: dict, limit: int, column: str = "language") -> dict[str, dict]:
    """Chooses at most `limit` training utterances per label, evenly spread over the rows.

    Raises
    ------
    ValueError
        If no utterance has a label in the column.
    """
    by_label = defaultdict(list)
    for utterance, label in zip(rows, column_of(rows, column), strict=True):
        if label:
            by_label[label].append(utterance)
    if not by_label:
        raise ValueError(
            f"no training utterance has a {column}: set probe_column to a column that has labels"
        )
    chosen = []
    for utterances in by_label.values():
        step = max(1.0, len(utterances) / limit)
        chosen += [utterances[int(i * step)] for i in range(min(limit, len(utterances)))]
    return {utterance: rows[utterance] for utterance in chosen}


def table_references(rows: Mapping[str, dict], hparams: Mapping) -> dict[str, dict]:
    """Chooses the utterances from which the table's neighbours and probes learn.

    Arguments
    ---------
    rows : mapping
        Split -> ID -> row, from load_rows; `labelled` is used if it is there, else `train`.
    hparams : mapping
        The experiment's settings: `max_unreadable` and, if it has them, `table_references`,
        `probe_column` and `evaluated_per_speaker`.
    """
    references, limit = rows.get("labelled", rows["train"]), hparams.get("table_references")
    if limit or len(references) > MAX_REFERENCES:
        column = hparams.get("probe_column", "language")
        references = choose_references(references, limit or 1000, column)
    if "labelled" in rows:
        return references
    if hparams.get("evaluated_per_speaker"):
        references = keep_per_speaker(references, hparams["evaluated_per_speaker"])
    # Of training audio, only the headers have been read so far.
    return drop_undecodable(references, hparams["max_unreadable"])


def show(brain: sb.Brain, valid: LabelledEmbeddings) -> None:
    """Shows the validation set's embeddings and a batch's similarities in TensorBoard.

    The projector shows the embeddings with the labels of their utterances. A heat map shows the
    similarities of the last training batch, by the sources that the head uses, if there is a head.
    One rank alone must call this.

    Arguments
    ---------
    brain : sb.Brain
        The Brain, in training.
    valid : LabelledEmbeddings
        The embeddings of `brain.valid_rows` by one layer.
    """
    writer = brain.hparams.tensorboard.writer
    if writer is None:
        return
    rows = list(brain.valid_rows.values())
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MAX_PROJECTED)).astype(int))
    columns = list(dict.fromkeys((brain.probe_column, "language", *COLUMNS)))
    # Line breaks and tabs separate cells, and so are replaced by spaces.
    cells = [[" ".join((rows[i].get(c) or "").split()) for c in columns] for i in chosen]
    # The embeddings are rounded because they are written as text.
    embeddings = valid.embeddings[chosen].astype(float).round(4)
    step = brain.optimizer_step
    writer.add_embedding(embeddings, cells, None, step, "valid", columns)
    if not hasattr(brain.modules, "head") or not brain.batch_ids:
        return
    sources = unwrap(brain.modules.head).used_sources
    metadata = brain.table(brain.batch_ids[:MAX_MAPPED])
    with skip_without_extra("the heat map in TensorBoard"):
        from masr_modules.reporting.heat_map import batch_heat_map

        if figure := batch_heat_map(sources, brain.hparams.batch_identity, metadata):
            writer.add_figure("knowledge/batch", figure, step)


def report(
    brain: sb.Brain, rows: dict, untrained: nn.Module, hparams: dict, ssl_loss: float
) -> None:
    """Prints and saves the table of results, and saves the encoder.

    The rows are the encoder with the weights of the last step, the utterance embeddings of its head
    if it has one and, if `baselines` is set, systems that train nothing. Each metric is that of the
    layer, or of the head's space, that is best at it on the validation set.

    Arguments
    ---------
    brain : sb.Brain
        The Brain, after training.
    rows : dict
        Split -> ID -> row, from load_rows.
    untrained : nn.Module
        The encoder as it was before training.
    hparams : dict
        The experiment's settings.
    ssl_loss : float
        The SSL loss, for the table.
    """
    head = unwrap(brain.modules.head) if hasattr(brain.modules, "head") else None
    spaces = Spaces.of(head).cpu()
    facts = facts_of(hparams, head, rows["train"])
    references, questions = table_references(rows, hparams), hparams.get("questions")
    before = "start" if getattr(untrained, "starts_trained", False) else "untrained"
    systems = {hparams["system"]: None}
    if hparams["baselines"]:
        features = hparams["log_mel"]
        systems |= {
            before: untrained.to(brain.device).eval(),
            "log-mel statistics": LogMelStatistics(features.fbank, features.hop),
            "MFCC statistics": MFCCStatistics(features.fbank, features.hop, features.n_mels),
        }
        if questions:
            floor = QuietFrameStatistics(features.fbank, features.hop, features.n_mels)
            systems["quiet frames"] = floor
    found = {}
    for system, encode in systems.items():
        splits = [
            brain.embedded(r, encode, True) for r in (references, rows["valid"], rows["test"])
        ]
        measured = {system: splits}
        if spaces and system == hparams["system"]:
            measured[system + UTTERANCE_EMBEDDING] = [in_spaces(spaces, part) for part in splits]
        for row, parts in measured.items():
            found[row] = evaluate_corpora(*parts, questions) if questions else evaluate(*parts)
    results = {row: evaluation.metrics for row, evaluation in found.items()}
    speakers = column_of(rows["test"], "speaker")
    if any(speakers) and np.isnan(results[hparams["system"]].get("speaker_eer", np.nan)):
        logger.warning(
            "the speaker EER is empty: it needs two speakers in the test set, and two utterances "
            "of one of them"
        )
    results[hparams["system"]]["ssl_loss"] = ssl_loss
    columns = CORPORA_COLUMNS
    if not questions:
        results["chance"] = blind_guess(rows["test"], brain.probe_column)
        columns = pretrain_columns(brain.probe_column)
    runs = {system: [metrics] for system, metrics in results.items()}
    table = format_table(runs, columns)
    print(f"\nTest set, {len(rows['test'])} utterances:\n\n{table}\n")
    write_atomic(f"{hparams['output_folder']}/results.md", table + "\n")
    write_correct(hparams["output_folder"], found)
    write_results(hparams["output_folder"], results)
    folder = export_encoder(
        hparams["output_folder"],
        facts,
        encoder_card(facts, table),
        hparams.get("merge_adapters", True),
        spaces.state_dict(),
    )
    print(f"The encoder, for other tasks or to share: {folder}")


def in_spaces(spaces: Spaces, split: LabelledEmbeddings) -> LabelledEmbeddings:
    """Computes the embeddings of utterances in the spaces of a head.

    Arguments
    ---------
    spaces : Spaces
        The spaces of the head.
    split : LabelledEmbeddings
        Pooled frames of all layers of the encoder, (layers, N, I).

    Returns
    -------
    LabelledEmbeddings
        (spaces, N, embedding_size): a space takes the place of a layer.
    """
    pooled = torch.from_numpy(split.layers).transpose(0, 1)
    embeddings = [space(pooled).numpy() for space in spaces.values()]
    return LabelledEmbeddings(np.stack(embeddings), split.labels)


def write_correct(folder: str, found: dict[str, Evaluation]) -> None:
    """Writes correct.json: system -> metric -> its layer and per-utterance correctness.

    Intervals are computed from it; see masr_modules.metrics.probes.Evaluation.
    """
    correct = {system: correct_of(evaluation) for system, evaluation in found.items()}
    write_atomic(Path(folder) / "correct.json", json.dumps(correct) + "\n")


def correct_of(evaluation: Evaluation) -> dict[str, dict]:
    """Returns a system's part of correct.json: metric -> `layer` and `correct`, None for NaN."""
    return {
        metric: {
            "layer": evaluation.layers[metric],
            "correct": [None if x != x else round(x, 5) for x in values.tolist()],
        }
        for metric, values in evaluation.correct.items()
    }


def facts_of(hparams: dict, head: nn.Module | None, rows: dict[str, dict]) -> dict:
    """Returns facts about the encoder's training for its users; without a head it is SSL only."""
    return {
        "system": hparams["system"],
        "method": type(hparams["ssl"]).__name__,
        "d_model": hparams["ssl"].d_model,
        "train_csv": portable_sources(hparams["train_csv"]),
        "utterances": len(rows),
        "hours": round(sum(column_of(rows, "duration")) / 3600, 3),
        "languages": sorted({*column_of(rows, "language")} - {""}),
        "identities": head.identities if head else [],
        "spaces": list(getattr(head, "projections", {})),
        "sources": [str(source) for source in head.used_sources] if head else [],
    }
