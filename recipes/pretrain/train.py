#!/usr/bin/env python3
"""Pretrains a speech encoder with an SSL objective and MASR.

> python recipes/pretrain/train.py hparams/masr.yaml

Any value at the top of the YAML can be overridden: `--masr_weight 0` trains by
SSL only, `--number_of_steps 500` is a shorter run. An interrupted run resumes when
the same command is given again.
"""

import copy
import itertools
import logging
import sys

import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.distributed import run_on_main
from torch.utils.data import DataLoader

from masr_modules.data.audio_cache import AudioCache
from masr_modules.data.audio_check import drop_undecodable
from masr_modules.data.dataio import EpochClock, length_sorted_batches, make_dataset, utterance_seed
from masr_modules.data.metadata import MetadataTable, column_of
from masr_modules.data.overlap import warn_of_shared_speakers
from masr_modules.data.shards import ShardLoader
from masr_modules.distributed import unwrap
from masr_modules.encoders.pretrained import check_encoder
from masr_modules.knowledge import name_branches
from masr_modules.metrics.embeddings import LabelledEmbeddings, embed
from masr_modules.metrics.probes import knn_accuracy
from masr_modules.pairwise.losses import COLLAPSED, collapsed_spaces
from masr_modules.reporting.pretrain_report import choose_references, report, show
from masr_modules.training.experiment import load_rows, start_experiment
from masr_modules.training.layer_rates import depth_groups
from masr_modules.training.train_batches import make_sampler, make_shard_batches
from masr_modules.training.trainer import Trainer

logger = logging.getLogger(__name__)


class PretrainBrain(Trainer):
    """A trainer of `modules.ssl`, and of `modules.head` on its pooled frames.

    Arguments
    ---------
    table : MetadataTable
        Metadata of the utterances.
    sampler : KnowledgeBatchSampler or ShardBatches
        The training batches of all ranks.
    clock : EpochClock
        The epoch, on which the training set's crops depend.
    references, valid_rows : mapping
        ID -> row of the utterances among which kNN looks for neighbours, and of the validation set.
    audio_cache : AudioCache, optional
        Cache of decoded audio.
    start : nn.Module, optional
        The encoder before this training, where it had been pretrained.
    **options
        Options of `sb.Brain`.
    """

    start_knn: float | None = None  # kNN accuracy of the start, once computed
    joint_modules = ("head",)
    lengths_on_host = ("sig",)
    batch_ids = ()  # IDs of the last training batch

    def __init__(
        self, *, table, sampler, clock, references, valid_rows, audio_cache, start, **options
    ):
        super().__init__(**options)
        self.table, self.sampler, self.clock = table, sampler, clock
        self.audio_cache = audio_cache
        self.references, self.valid_rows, self.start = references, valid_rows, start
        # Every epoch has at least one update, so the number of updates ends the training.
        self.optimizer_step_limit = self.hparams.number_of_steps
        self.hparams.epoch_counter.limit = self.hparams.number_of_steps

    def init_optimizers(self):
        """Makes one optimiser; with `layer_lr_decay`, learning rates depend on a layer's depth."""
        decay = getattr(self.hparams, "layer_lr_decay", 1.0)
        if decay == 1.0:
            super().init_optimizers()
            self.rate_factors = [1.0] * len(self.optimizer.param_groups)
            return
        groups = depth_groups(self.ssl.encoder, 1.0, decay)
        of_encoder = {parameter for group in groups for parameter in group["params"]}
        others = [p for p in self.modules.parameters() if p not in of_encoder]
        self.rate_factors = [1.0, *(group.pop("lr") for group in groups)]
        self.optimizer = self.opt_class([{"params": others}, *groups])
        self.optimizers_dict = {"opt_class": self.optimizer}
        self.checkpointer.add_recoverable("optimizer", self.optimizer)

    @property
    def probe_column(self) -> str:
        """The label that neighbours and probes predict."""
        return getattr(self.hparams, "probe_column", "language")

    def compute_forward(self, batch, stage):
        """Runs the one masked forward pass; returns the SSL output, and the head's if it is used.

        Training waveforms are augmented first if `augmentation` is set, for example to the YAML's
        `augmenter`.
        """
        wavs, lens = batch.sig
        epoch = self.clock.epoch if stage == sb.Stage.TRAIN else 0
        seeds = [utterance_seed(self.hparams.seed, epoch, utterance) for utterance in batch.id]
        if stage == sb.Stage.TRAIN:
            self.batch_ids = batch.id
            if getattr(self.hparams, "augmentation", None) is not None:
                wavs, lens = self.hparams.augmentation(wavs, lens)
        output = self.modules.ssl(wavs, lens, seeds)
        if not hasattr(self.modules, "head"):
            return output, None
        lens, mask = output.frame_lens, output.frame_mask
        pooled = torch.stack([self.hparams.pooling(x, lens, mask) for x in output.layers], dim=1)
        return output, self.modules.head(pooled, self.table(batch.id).to(self.device))

    def compute_objectives(self, predictions, batch, stage):
        """Computes L = L_SSL + weight(step) * L_head."""
        output, head = predictions
        padding = 1 - batch.sig.lengths.mean()
        parts = {"ssl": output.loss.detach(), "padding": padding, **output.stats}
        loss = output.joint_loss if stage == sb.Stage.TRAIN else output.loss
        if head is not None:
            loss = loss + self.head_weight() * head.loss
            parts |= {"masr": head.loss.detach(), **head.stats}
        self.before = self.parts, self.num_batches
        self.parts = {name: self.parts.get(name, 0.0) + value for name, value in parts.items()}
        self.num_batches += 1
        self.last = {name: parts[name] for name in ("ssl", "masr") if name in parts}
        return loss

    def take_back(self):
        """Resets the sums to their values before the last batch."""
        self.parts, self.num_batches = self.before

    def shown_parts(self):
        """Returns the losses of the last batch."""
        return self.last

    @property
    def ssl(self):
        """The SSL objective, unwrapped from DDP."""
        return unwrap(self.modules.ssl)

    def head_weight(self) -> float:
        """Returns masr_weight, scaled by a linear warm-up over optimiser steps."""
        warm_up = max(1, self.hparams.masr_warmup_steps)
        return self.hparams.masr_weight * min(1.0, self.optimizer_step / warm_up)

    def on_stage_start(self, stage, epoch=None):
        """Plans the epoch's batches and resets the sums for the log."""
        self.parts, self.num_batches = {}, 0
        if stage == sb.Stage.TRAIN:
            self.clock.epoch = epoch
            self.sampler.set_epoch(epoch)

    def set_rates(self, update):
        """Sets the schedule's learning rate, with `layer_lr_decay` lower in lower layers."""
        self.hparams.lr_schedule(self.optimizer, update)
        for group, factor in zip(self.optimizer.param_groups, self.rate_factors, strict=True):
            group["lr"] *= factor

    def after_update(self):
        """Runs the SSL objective's own update, such as a teacher's."""
        self.ssl.after_step(self.optimizer_step)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Warns of collapsed embeddings after training; logs and saves after validation."""
        stats = {name: float(value) / self.num_batches for name, value in self.parts.items()}
        stats = {"loss": float(stage_loss), **stats}
        if stage == sb.Stage.TRAIN:
            self.train_stats = stats
            if spaces := collapsed_spaces(stats):
                logger.warning(
                    f"the embeddings have collapsed in the space of {', '.join(spaces)}: positives "
                    f"and negatives are equally near (d_ap, d_an below {COLLAPSED}), and the loss "
                    "teaches nothing; try mining: soft, prototypes, or a smaller masr_weight"
                )
            return
        if stage == sb.Stage.TEST:
            self.test_stats = stats
            return
        last = self.optimizer_step >= self.hparams.number_of_steps
        every = self.hparams.knn_every_epochs  # 0: never
        if every and (last or epoch % every == 0):
            stats |= self.knn()
        progress = {"epoch": epoch, "step": self.optimizer_step}
        progress["lr"] = self.optimizer.param_groups[0]["lr"]
        for log in (self.hparams.train_logger, self.hparams.tensorboard):
            log.log_stats(progress, self.train_stats, stats)
        self.checkpointer.save_and_keep_only(meta={"ssl_loss": stats["ssl"]}, num_to_keep=1)

    def knn(self) -> dict[str, float]:
        """Computes the kNN accuracy of the probed label on the validation set, of the best layer.

        If the encoder had been pretrained, the accuracy of its start is computed too, and a
        warning is logged where the start was better.
        """
        valid = self.embedded(self.valid_rows)
        show(self, valid.at(-1))
        found = {"knn": self.best_knn(valid)}
        if self.start is None:
            return found
        if self.start_knn is None:
            encode = self.start.to(self.device).eval()
            self.start_knn = self.best_knn(self.embedded(self.valid_rows, encode), encode)
            self.start.cpu()
        found["knn_of_start"] = self.start_knn
        if found["knn"] < self.start_knn:
            logger.warning(
                f"the encoder tells {self.probe_column} apart less well than its start: kNN "
                f"{100 * found['knn']:.1f} % on validation, {100 * self.start_knn:.1f} % before; "
                "if it stays so, lower lr, masr_weight or own_weight, or raise start_weight or "
                "visible_weight: docs/pretrained.md"
            )
        return found

    def best_knn(self, valid: LabelledEmbeddings, encode=None) -> float:
        """Returns the kNN accuracy of the best layer, by default of the encoder being trained."""
        references = self.embedded(self.references, encode)
        return max(
            knn_accuracy(references.at(layer), valid.at(layer))
            for layer in range(len(valid.layers))
        )

    def embedded(self, rows, encode=None, progressbar=False) -> LabelledEmbeddings:
        """Embeds rows with all layers, by default of the encoder being trained."""
        if encode is None:
            encode = self.ssl.eval().encode
        with self.evaluation_ctx:  # autocast, where --eval_precision says so
            layers = embed(
                encode,
                rows,
                self.hparams.sample_rate,
                self.device,
                max_seconds=self.hparams.max_eval_seconds,
                progressbar=progressbar,
                audio_cache=self.audio_cache,
            )
        return LabelledEmbeddings.of(layers, rows, self.probe_column)


def open_audio_cache(hparams: dict, rows: dict[str, dict[str, dict]]) -> AudioCache | None:
    """Opens the cache of decoded audio, where the YAML names a folder for it."""
    if not hparams.get("audio_cache"):
        return None
    if hparams.get("train_shards"):
        raise ValueError(
            "audio_cache does not cache audio of train_shards: set one of the two alone"
        )
    cache = AudioCache(hparams["audio_cache"], hparams["sample_rate"])
    kept = itertools.chain(*(split.values() for split in rows.values()))
    cache.check_room(kept, hparams["max_audio_cache_gb"])
    return cache


def check_labels(identities: list[str], rows: dict[str, dict]) -> None:
    """Warns of each label column of the loss that is empty in the training set."""
    columns = set().union(*(row.keys() for row in itertools.islice(rows.values(), 1)))
    for column in identities:
        if column in columns and not any(column_of(rows, column)):
            logger.warning(
                f"identities: the column {column!r} is empty in the training set, so that its "
                "loss is 0: take it out of identities, or fill it"
            )


def warn_of_warm_ups(hparams: dict) -> None:
    """Warns if the run is too short to complete a warm-up."""
    steps = hparams["number_of_steps"]
    for key, of in (("masr_warmup_steps", "masr_weight"), ("lr_warmup_steps", "lr")):
        if hparams.get(key, 0) >= steps:
            logger.warning(
                f"{key} ({hparams[key]}) is not below number_of_steps ({steps}): {of} never "
                f"reaches its value; lower {key} too"
            )


def main(arguments: list[str]) -> None:
    """Runs the recipe: data, batches, model, training, table."""
    hparams, run_opts = start_experiment(arguments)
    check_encoder(hparams["output_folder"])
    rows = load_rows(hparams)
    depth = hparams.get("family_depth", 1)
    table = MetadataTable([name_branches(rows[s], depth) for s in ("train", "valid", "test")])
    warn_of_shared_speakers(rows["train"], rows["test"])
    head = hparams["head"](metadata=table)
    if hparams["masr_weight"] > 0:
        check_labels(head.identities, rows["train"])
    warn_of_warm_ups(hparams)
    sources = hparams.get("knowledge")
    if hparams["masr_weight"] > 0 and sources and not head.used_sources:
        logger.warning(
            f"the loss reads none of the {len(sources)} sources of `knowledge`: "
            f"{type(head).__name__} learns from labels alone, as it is set here"
        )

    clock = EpochClock()
    data = {key: hparams[key] for key in ("sample_rate", "seed", "max_crop_seconds")}
    data["audio_cache"] = open_audio_cache(hparams, rows)
    train_set = make_dataset(rows["train"], clock=clock, tolerant=True, **data)
    valid_set = make_dataset(rows["valid"], **data)

    modules = {"ssl": hparams["ssl"]}
    if hparams["masr_weight"] > 0:
        modules["head"] = head
    hparams["checkpointer"].add_recoverables(modules)
    untrained = copy.deepcopy(hparams["ssl"].encoder)

    make_batches = make_shard_batches if hparams.get("train_shards") else make_sampler
    labelled, column = rows.get("labelled", rows["train"]), hparams.get("probe_column", "language")
    brain = PretrainBrain(
        table=table,
        sampler=make_batches(hparams, rows["train"], table),
        clock=clock,
        references=drop_undecodable(
            choose_references(labelled, hparams["knn_references"], column),
            hparams["max_unreadable"],
        ),
        valid_rows=rows["valid"],
        audio_cache=data["audio_cache"],
        start=untrained if getattr(untrained, "starts_trained", False) else None,
        modules=modules,
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    # A DataLoader draws from its generator whenever it is iterated. With torch's global one, a
    # resumed run would draw once more than an uninterrupted one.
    loader = {"num_workers": hparams["num_workers"], "generator": torch.Generator()}
    if hparams.get("train_shards"):
        train_loader = ShardLoader(brain.sampler, collate_fn=PaddedBatch, **loader)
        hparams["checkpointer"].add_recoverable("dataloader-TRAIN", train_loader)
    else:
        train_loader = brain.make_train_loader(train_set, brain.sampler, **loader)
    valid_batches = length_sorted_batches(rows["valid"], hparams["max_batch_seconds"])
    valid_loader = DataLoader(
        valid_set, batch_sampler=valid_batches, collate_fn=PaddedBatch, **loader
    )
    brain.fit(hparams["epoch_counter"], train_loader, valid_loader)

    # SSL loss and table are of the last step, for every system alike.
    brain.evaluate(valid_loader)
    run_on_main(report, args=[brain, rows, untrained, hparams, brain.test_stats["ssl"]])


if __name__ == "__main__":
    main(sys.argv[1:])
