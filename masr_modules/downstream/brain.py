"""The Brain that downstream recipes share: an encoder, frozen or fine-tuned, and a head on it."""

import logging
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.sampler import DynamicBatchSampler
from speechbrain.utils.distributed import run_on_main
from torch import Tensor, nn
from torch.utils.data import DataLoader

from masr_modules.data.dataio import EpochClock, length_sorted_batches, make_dataset
from masr_modules.distributed import unwrap
from masr_modules.downstream.frame_cache import FrameCache
from masr_modules.downstream.layers import WeightedLayers
from masr_modules.encoders.pretrained import PretrainedEncoder, load_encoder
from masr_modules.training.layer_rates import depth_groups
from masr_modules.training.trainer import Trainer

logger = logging.getLogger(__name__)

#: Number of bytes in a gigabyte, as vendors of disks count.
GIGABYTE = 10**9
#: Key that acts only while an encoder is fine-tuned -> the value that has no effect.
FINE_TUNING = {"freeze_front_end": True, "layer_lr_decay": 1.0, "hidden_augmentation": None}


def rate_factor(step: int, total: int, warmup_share: float = 0.1) -> float:
    """Computes a step's fraction of the learning rate, which rises and then falls to 0 linearly.

    Example
    -------
    >>> [rate_factor(step, 100) for step in (0, 5, 10, 55, 100)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    rise = warmup_share * total
    return min(step / rise, (total - step) / (total - rise)) if 0 < rise < total else 1.0


class DownstreamBrain(Trainer):
    """A Brain that trains a head on the weighted layers of a frozen or fine-tuned encoder.

    Its modules are `encoder`, `mixer`, `head` and those that a task adds. A task is a subclass
    with `compute_forward` on `self.frames(batch, stage)`, `compute_objectives`, and
    `start_scores` and `scores`, which compute metrics from the predictions.

    A frozen encoder runs once on each utterance: its frames are then read from a cache on disk,
    unless they would take more than `max_cache_gb`. Crops and augmentation do not apply to cached
    frames.

    While an encoder is fine-tuned, the first module of its `front` stays as it was pretrained
    (`freeze_front_end`), its layers learn at rates by depth (`layer_lr_decay`), and the input of
    its `context`, which runs them, is masked (`hidden_augmentation`).
    """

    def __init__(self, *, pretrained: PretrainedEncoder, num_layers: int, **options):
        super().__init__(**options)
        self.pretrained, self.num_layers = pretrained, num_layers
        self.clock = EpochClock()

    @classmethod
    def from_hparams(
        cls,
        hparams: dict,
        run_opts: dict,
        pretrained: PretrainedEncoder,
        modules: Mapping[str, nn.Module],
        **own,
    ):
        """Builds the Brain of a recipe.

        Arguments
        ---------
        hparams : dict
            The settings, with the keys of hparams/mini_lid.yaml.
        run_opts : dict
            SpeechBrain's run options.
        pretrained : PretrainedEncoder
            The encoder, from `load_encoder`.
        modules : mapping of str to nn.Module
            `head`, and the modules that the task adds.
        **own
            Further arguments of the task's Brain.
        """
        num_layers = pretrained.count_layers()
        learnt = {"mixer": WeightedLayers(num_layers), **modules}
        encoder = pretrained.encoder.requires_grad_(not hparams["freeze"])
        if hparams["freeze"]:
            idle = [key for key, nothing in FINE_TUNING.items() if hparams[key] != nothing]
            if idle:
                logger.warning(
                    f"settings without effect on a frozen encoder: {', '.join(idle)}; give "
                    "--freeze false to fine-tune it"
                )
        else:
            # An encoder that was never trained has no front end that is worth keeping.
            hparams["freeze_front_end"] &= not hparams["random_init"]
            encoder.front[0].requires_grad_(not hparams["freeze_front_end"])
            freeze_unheard(encoder, pretrained.sample_rate)
            learnt["encoder"] = encoder
        checkpointer = hparams["checkpointer"]
        checkpointer.add_recoverables(learnt)
        return cls(
            modules={"encoder": encoder, **learnt},
            opt_class=hparams["opt_class"],
            hparams=hparams,
            run_opts=run_opts,
            checkpointer=checkpointer,
            pretrained=pretrained,
            num_layers=num_layers,
            **own,
        )

    @property
    def mixer(self) -> WeightedLayers:
        """The mixture of layers, unwrapped from DDP."""
        return unwrap(self.modules.mixer)

    def init_optimizers(self):
        """Makes one optimiser, with a group of new parameters and the encoder's groups by depth."""
        new = [
            parameter
            for name, module in self.modules.items()
            if name != "encoder"
            for parameter in module.parameters()
        ]
        groups = [{"params": new, "lr": self.hparams.lr}]
        if not self.hparams.freeze:
            encoder, lr = unwrap(self.modules.encoder), self.hparams.encoder_lr
            groups += depth_groups(encoder, lr, self.hparams.layer_lr_decay)
        self.optimizer = self.opt_class(groups)
        self.rates = [group["lr"] for group in groups]
        self.optimizers_dict = {"opt_class": self.optimizer}
        self.checkpointer.add_recoverable("optimizer", self.optimizer)

    @property
    def encoder_learns(self) -> bool:
        """Whether this step trains the encoder, which the first `head_only_steps` do not."""
        return not self.hparams.freeze and self.optimizer_step >= self.hparams.head_only_steps

    def frames(self, batch: PaddedBatch, stage: sb.Stage) -> tuple[Tensor, Tensor]:
        """Computes the mixed layers of a batch.

        Returns
        -------
        frames : torch.Tensor
            (B, F, D) frames.
        frame_lens : torch.Tensor
            (B,) number of valid frames.
        """
        if hasattr(batch, "layers"):
            layers, lens = batch.layers
            frame_lens = (lens * layers.shape[1]).round().long()
            return self.modules.mixer(layers.permute(2, 0, 1, 3)), frame_lens
        wavs, lens = batch.sig
        if stage == sb.Stage.TRAIN and self.hparams.augmentation is not None:
            wavs, lens = self.hparams.augmentation(wavs, lens)
        learns = stage == sb.Stage.TRAIN and self.encoder_learns
        if self.modules.encoder.training != learns:  # Brain.fit sets all modules to train
            self.modules.encoder.train(learns)
        if self.hparams.freeze_front_end:
            unwrap(self.modules.encoder).front[0].eval()
        with torch.set_grad_enabled(learns), self._masks(learns):
            layers, frame_lens = self.modules.encoder(wavs, lens)
        return self.modules.mixer(layers), frame_lens

    def _masks(self, learns: bool) -> AbstractContextManager:
        """Returns a context in which the input of the layers is masked, if the encoder learns."""
        masks = self.hparams.hidden_augmentation
        if not learns or masks is None:
            return nullcontext()

        def mask(context: nn.Module, inputs: tuple) -> tuple:
            hidden, *others = inputs
            return masks(hidden.clone()), *others  # SpeechBrain writes masks in place

        return unwrap(self.modules.encoder).context.register_forward_pre_hook(mask)

    def dataset(self, rows: dict[str, dict], train: bool = False) -> DynamicItemDataset:
        """Makes a dataset of `sig` or, if a frozen encoder's frames fit in the cache, `layers`."""
        sample_rate = self.pretrained.sample_rate
        name = self._cache_name(rows)
        if name is None:
            crop = self.hparams.max_crop_seconds if train else None
            clock = self.clock if train else None
            return make_dataset(rows, sample_rate, crop, self.hparams.seed, clock, tolerant=train)
        encoder = self.modules.encoder.eval()
        where = (self.hparams.cache_folder, name, encoder, rows, sample_rate, self.device)

        def encode() -> None:  # it runs on one process, and the others then read the file
            FrameCache.make(*where)

        run_on_main(encode)
        cache = FrameCache.make(*where)
        dataset = DynamicItemDataset(rows)
        dataset.add_dynamic_item(cache.__getitem__, takes="id", provides="layers")
        dataset.set_output_keys(["id", "layers"])
        return dataset

    def _cache_name(self, rows: dict[str, dict]) -> str | None:
        """Returns the name of the cache of the rows' frames, or None if they are not cached."""
        if not self.hparams.freeze:
            return None
        encoder, folder = self.modules.encoder.eval(), Path(self.hparams.cache_folder)
        size = FrameCache.estimate_bytes(
            encoder, self.num_layers, rows, self.pretrained.sample_rate
        )
        limit, used, name = self.hparams.max_cache_gb * GIGABYTE, 0, None
        if size <= limit:
            name = FrameCache.name_of(encoder, rows)
            if (folder / f"{name}.json").is_file():
                return name
            used = FrameCache.used_bytes(folder)
        if used + size <= limit:
            return name
        logger.warning(
            f"frames of {len(rows)} utterances would take {size / GIGABYTE:.1f} GB beside the "
            f"{used / GIGABYTE:.1f} GB in {folder}, more than max_cache_gb: "
            f"{self.hparams.max_cache_gb}: the encoder runs in every epoch; raise max_cache_gb, or "
            "remove the folder if its frames are no longer needed"
        )
        return None

    def loader(self, rows: dict[str, dict], train: bool = False) -> torch.utils.data.DataLoader:
        """Makes batches of up to `max_batch_seconds`, shuffled to train, else sorted by length."""
        budget = self.hparams.max_batch_seconds
        dataset = self.dataset(rows, train)
        workers = {"num_workers": self.hparams.num_workers}
        if train:
            # Cached frames are those of whole utterances.
            cached = "layers" in dataset.pipeline.output_mapping
            crop = None if cached else self.hparams.max_crop_seconds
            self.train_sampler = sampler = DynamicBatchSampler(
                dataset,
                max_batch_length=budget,
                num_buckets=self.hparams.num_buckets,
                lengths_list=[min(r["duration"], crop or r["duration"]) for r in rows.values()],
                shuffle=True,
                seed=self.hparams.seed,
                drop_last=False,
            )
            return self.make_train_loader(dataset, sampler, **workers)
        batches = length_sorted_batches(rows, budget)
        return DataLoader(dataset, batch_sampler=batches, collate_fn=PaddedBatch, **workers)

    def train_on(self, train: dict[str, dict], valid: dict[str, dict]) -> None:
        """Trains until the last epoch, or until `patience` epochs have brought no better metric."""
        loader = self.loader(train, train=True)
        self.total_steps = self.hparams.number_of_epochs * self.updates_per_epoch
        if not self.hparams.freeze and self.hparams.head_only_steps >= self.total_steps:
            logger.warning(
                f"head_only_steps is {self.hparams.head_only_steps}, but the run has only "
                f"{self.total_steps} updates: the encoder does not learn; lower head_only_steps"
            )
        started = time.monotonic()
        # With another value, an equal score of a metric to maximise would count as a better one.
        self.hparams.epoch_counter.min_delta = 0.0
        self.fit(self.hparams.epoch_counter, loader, self.loader(valid))
        self.train_seconds = time.monotonic() - started

    def test_on(self, test: dict[str, dict]) -> dict[str, float]:
        """Computes the metrics of the best checkpoint on a test set.

        Raises
        ------
        ValueError
            If no checkpoint has a `valid_metric`.
        """
        key = {f"{self.hparams.goal}_key": self.hparams.valid_metric}
        if self.checkpointer.find_checkpoint(**key) is None:
            raise ValueError(
                f"{self.checkpointer.checkpoints_dir}: no checkpoint has the metric "
                f"{self.hparams.valid_metric}: train the run first, or lower lr if the metric was "
                "not finite in any epoch"
            )
        self.evaluate(self.loader(test), **key)
        return self.test_stats

    def on_stage_start(self, stage, epoch=None):
        """Empties the scores, and sets the epoch that crops are drawn for."""
        self.start_scores(stage)
        if stage == sb.Stage.TRAIN:
            self.clock.epoch = epoch

    def set_rates(self, update):
        """Sets each group's rate, which rises and then falls to 0."""
        factor = max(0.0, rate_factor(update, self.total_steps + 1))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Logs metrics; after validation, keeps the best checkpoint and checks whether to stop."""
        stats = {"loss": float(stage_loss)}
        if stage == sb.Stage.TRAIN:
            self.train_stats = stats
            return
        stats |= self.scores(stage)
        if stage == sb.Stage.TEST:
            self.test_stats = stats
            self.hparams.train_logger.log_stats({"best epoch": self.best_epoch()}, test_stats=stats)
            return
        progress = {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]}
        self.hparams.train_logger.log_stats(progress, self.train_stats, stats)
        metric, goal = stats[self.hparams.valid_metric], self.hparams.goal
        self.hparams.epoch_counter.update_metric(metric)
        self.checkpointer.save_and_keep_only(
            meta={self.hparams.valid_metric: metric, "epoch": epoch},
            **{f"{goal}_keys": [self.hparams.valid_metric]},
        )

    def best_epoch(self) -> int:
        """Returns the epoch of the checkpoint that is tested, 0 if there is none."""
        key = {f"{self.hparams.goal}_key": self.hparams.valid_metric}
        checkpoint = self.checkpointer.find_checkpoint(**key)
        return checkpoint.meta["epoch"] if checkpoint else 0

    def start_scores(self, stage: sb.Stage) -> None:
        """Empties the predictions when a stage starts; a subclass implements it."""
        raise NotImplementedError

    def scores(self, stage: sb.Stage) -> dict[str, float]:
        """Computes the metrics at the end of a stage, `valid_metric` among them."""
        raise NotImplementedError


def freeze_unheard(encoder: nn.Module, sample_rate: int) -> None:
    """Freezes parameters on which frames do not depend, such as a mask's vector.

    This costs a forward and a backward pass over one second.
    """
    encoder.zero_grad(set_to_none=True)
    layers, _ = encoder(torch.randn(1, sample_rate), torch.ones(1))
    sum(frames.float().square().sum() for frames in layers).backward()
    for parameter in encoder.parameters():
        parameter.requires_grad_(parameter.grad is not None)
        parameter.grad = None


def load_for(hparams: dict) -> PretrainedEncoder:
    """Loads the encoder that `pretrained` and `random_init` name.

    Raises
    ------
    ValueError
        If its sample rate is not that of the corpus.
    """
    pretrained = load_encoder(hparams["pretrained"], hparams["random_init"])
    if pretrained.sample_rate != hparams["sample_rate"]:
        raise ValueError(
            f"{hparams['pretrained']}: its sample rate is {pretrained.sample_rate} Hz, but "
            f"sample_rate is {hparams['sample_rate']}: set sample_rate to that of the encoder"
        )
    return pretrained


def drop_short(rows: dict[str, dict], name: str, least_seconds: float = 0.1) -> dict[str, dict]:
    """Leaves out, and counts, utterances that are too short for an encoder.

    Raises
    ------
    ValueError
        If no utterance is left.
    """
    kept = {utterance: row for utterance, row in rows.items() if row["duration"] >= least_seconds}
    if len(kept) < len(rows):
        count = len(rows) - len(kept)
        logger.warning(f"{name}: {count} utterances under {least_seconds} s are left out")
    if not kept:
        raise ValueError(f"{name}: no utterance of at least {least_seconds} s is left")
    return kept
