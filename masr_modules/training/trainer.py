"""The training loop of pretraining and the tasks, which handles many ranks and faulty data."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import speechbrain as sb
import torch
import torch.distributed as dist
from speechbrain.dataio.batch import PaddedBatch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from masr_modules.distributed import JointBatchNorm, rank, world_size
from masr_modules.training.forward_state import ForwardState
from masr_modules.training.loading import RankLoader
from masr_modules.training.running_loss import Finite, RunningLoss

logger = logging.getLogger(__name__)

#: Updates between two checks whether any rank was asked to leave.
LEAVE_EVERY = 10
#: Exit status of a process that SIGTERM ended, by the convention of shells.
TERMINATED = 128 + signal.SIGTERM
#: Largest fraction of an epoch that training may wait for audio without a warning, and the least
#: duration (s) of an epoch that is judged: a shorter one ends before its workers have started.
MAX_WAITING, LEAST_SECONDS = 0.05, 10.0
#: Private method or property of sb.Brain that Trainer overrides or reads -> the method of sb.Brain
#: that calls it. SpeechBrain does not promise to keep them, so pyproject.toml allows only one
#: minor release; a test fails if one is gone, is called elsewhere, or is not in this list.
PRIVATE_HOOKS = {
    "_compile": "on_fit_start",
    "_wrap_distributed": "on_fit_start",
    "_fit_valid": "fit",
    "_should_save_intra_epoch_ckpt": "_fit_train",
    "_save_intra_epoch_ckpt": "_fit_train",
    "_optimizer_step_limit_exceeded": "_fit_train",
}


class Trainer(sb.Brain):
    """A SpeechBrain Brain for one process or many.

    - It updates the weights after `grad_accumulation_factor` batches and at the end of an epoch;
      every batch of an update has the same weight. It sets the learning rates before each update
      (`set_rates`), and clips the gradient of all parameter groups together.
    - Ranks share the batches of an epoch, however many ranks there are; normalisation is over the
      joint batch on any device.
    - If a loss is not finite, all ranks skip the update. The changes that the forward pass made to
      the modules are undone, and `non_finite.txt` names the utterances. More than
      `nonfinite_patience` such batches in an epoch, or such updates in a row, end the run.
      Gradients that overflow count as 0.
    - Training utterances whose audio cannot be read or is not finite are left out, named and
      counted. The run ends if they are more than one and more than the fraction `max_unreadable`
      of the training set; if that is 0, the first ends it.
    - After each epoch the log says how long training waited for audio, and what to do if that was
      long.
    - After SIGTERM, it finishes the update, saves a checkpoint and exits with status 143.
    - The host waits for the device only to learn whether the loss is finite, and only after it has
      started the backward pass.
    """

    #: Modules that normalise over the joint batch themselves.
    joint_modules: tuple[str, ...] = ()
    #: Padded keys of a batch whose lengths stay on the host, where reading them needs no wait.
    lengths_on_host: tuple[str, ...] = ()
    #: The last update whose loss was not finite, and how many such updates in a row end with it.
    last_nonfinite, nonfinite_run = 0, 0

    def set_rates(self, update: int) -> None:
        """Sets the learning rates for an update; the first update has number 1."""
        raise NotImplementedError

    def after_update(self) -> None:
        """Runs after every update; a subclass may override it."""

    def take_back(self) -> None:
        """Runs when a batch is skipped; a subclass subtracts here what it added to logged sums."""

    @property
    def updates_per_epoch(self) -> int:
        """Number of updates in the planned epoch."""
        return -(-len(self.train_loader) // self.grad_accumulation_factor)

    def make_train_loader(self, dataset, batches: Iterable[list[int]], **options) -> RankLoader:
        """Makes the loader of this rank's batches, whose position checkpoints save.

        Arguments
        ---------
        dataset : DynamicItemDataset
            The training set.
        batches : sampler
            The batches of all ranks, the same on every rank.
        **options
            Options of a DataLoader.
        """
        self.train_loader = RankLoader(dataset, batches, **options)
        self.checkpointer.add_recoverable("dataloader-TRAIN", self.train_loader)
        return self.train_loader

    def fit(self, epoch_counter, train_set, valid_set=None, **options) -> None:
        """Trains as `sb.Brain.fit` does; the training set is a DataLoader."""
        self.train_loader = train_set
        self.unreadable: dict[str, str] = {}
        self.at_update = True
        self.leaving = self.in_epoch = False
        with self._sigterm():
            super().fit(epoch_counter, train_set, valid_set, **options)

    def on_fit_start(self):
        """Starts training as `sb.Brain` does; a run that has made all its updates stops at once."""
        super().on_fit_start()
        self.forward_state = ForwardState(self.modules)
        if resume_at := getattr(self.train_loader, "resume_at", 0):
            self.step = resume_at  # the number of ranks may differ from when it was saved
        if self._optimizer_step_limit_exceeded:
            self.hparams.epoch_counter.limit = self.hparams.epoch_counter.current

    def _compile(self):
        # The number of masked frames depends on the mask; with this setting, graphs do not break.
        torch._dynamo.config.capture_dynamic_output_shape_ops = True
        super()._compile()

    def _wrap_distributed(self):
        if not self.distributed_launch:
            return
        on_cuda = torch.device(self.device).type == "cuda"
        convert = torch.nn.SyncBatchNorm.convert_sync_batchnorm
        for name, module in self.modules.items():
            if name not in self.joint_modules:
                module = (convert if on_cuda else JointBatchNorm.convert)(module)
            if any(parameter.requires_grad for parameter in module.parameters()):
                # device_ids would move lengths off the host, and batches are on the device already.
                module = DistributedDataParallel(
                    module, find_unused_parameters=self.find_unused_parameters
                )
            self.modules[name] = module

    def fit_batch(self, batch: PaddedBatch) -> Tensor:
        """Runs one forward and backward pass on the device, and an update if one is due."""
        batch = self.to_device(batch)
        every, last = self.grad_accumulation_factor, len(self.train_loader)
        self.in_epoch = True
        self.at_update = self.step % every == 0 or self.step >= last
        rest = last % every
        group = every if self.step <= last - rest or not rest else rest
        self.on_fit_batch_start(batch, self.at_update)
        self.forward_state.keep()
        with self.no_sync(not self.at_update):
            with self.training_ctx:
                outputs = self.compute_forward(batch, sb.Stage.TRAIN)
                loss = self.compute_objectives(outputs, batch, sb.Stage.TRAIN)
            finite = Finite(loss)
            self.scaler.scale(loss / group).backward()
        own, joint = finite.read()
        if not joint:
            self.forward_state.restore()
            self.take_back()
            self._count_non_finite(batch, named=not own)
            self.spoilt = True
        if self.at_update:
            self.optimizers_step()
            self.after_update()
        self.on_fit_batch_end(batch, outputs, loss, self.at_update)
        return loss.detach()

    def evaluate_batch(self, batch: PaddedBatch, stage: sb.Stage) -> Tensor:
        """Evaluates a batch as `sb.Brain` does, and keeps whether its loss is finite."""
        loss = super().evaluate_batch(self.to_device(batch), stage)
        self.evaluated.append((getattr(batch, "id", []), torch.isfinite(loss)))
        return loss

    def evaluate(self, test_set, *args, **kwargs):
        """Evaluates as `sb.Brain` does, and warns of batches whose loss is not finite."""
        self.evaluated: list[tuple[list[str], Tensor]] = []
        loss = super().evaluate(test_set, *args, **kwargs)
        self._name_evaluated()
        return loss

    def _name_evaluated(self) -> None:
        bad = [ids for ids, finite in self.evaluated if not finite]
        if bad:
            logger.warning(
                f"{len(bad)} of {len(self.evaluated)} evaluated batches have no finite loss: the "
                f"mean leaves them out (first: {' '.join(bad[0])})"
            )

    def to_device(self, batch: PaddedBatch) -> PaddedBatch:
        """Moves a batch to the device, in place and without waiting for the copy."""
        lengths = {key: batch[key].lengths for key in self.lengths_on_host}
        batch = batch.to(self.device, non_blocking=True)
        for key, value in lengths.items():
            setattr(batch, key, batch[key]._replace(lengths=value))
        return batch

    #: Whether the loss of a batch of this update was not finite.
    spoilt = False
    #: Number of updates of this epoch whose gradients overflowed; it is kept on the device.
    overflows: Tensor | int = 0

    def optimizers_step(self):
        """Sets the rates, clips the gradient and updates; a skipped update is counted too."""
        self.set_rates(self.optimizer_step + 1)
        optimizers = self.freeze_optimizers(self.optimizers_dict).values()
        if not self.spoilt:
            for optimizer in optimizers:
                self.scaler.unscale_(optimizer)
            parameters = [
                parameter
                for optimizer in optimizers
                for group in optimizer.param_groups
                for parameter in group["params"]
            ]
            norm = torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
            self.overflows = self.overflows + ~torch.isfinite(norm)
            for parameter in parameters:
                # One overflow makes the norm NaN or infinite, and so every gradient NaN or 0.
                if parameter.grad is not None:
                    parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
            for optimizer in optimizers:
                self.scaler.step(optimizer)
            self.scaler.update()
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.spoilt = False
        self.optimizer_step += 1

    def on_fit_batch_start(self, batch, should_step):
        """Names and counts the utterances of the batch that could not be read.

        Raises
        ------
        ValueError
            If more utterances of the training set could not be read than `max_unreadable` allows.
        """
        fresh = getattr(batch, "unreadable", {})
        if not fresh.keys() - self.unreadable.keys():
            return
        for utterance, reason in fresh.items():
            logger.warning(f"left out {utterance}: {reason}")
        self.unreadable |= fresh
        count, limit = len(self.unreadable), self.hparams.max_unreadable
        # One file may exceed the fraction of a small corpus, but does not end a training.
        if count > (max(1.0, limit * len(self.train_loader.dataset)) if limit else 0):
            raise ValueError(
                f"{count} of {len(self.train_loader.dataset)} training utterances could not be "
                f"read, more than max_unreadable: {limit} allows (last: {', '.join(fresh)}: "
                f"{next(iter(fresh.values()))}); check the disk, or prepare the corpus again"
            )

    def _count_non_finite(self, batch: PaddedBatch, named: bool) -> None:
        self.nonfinite_count += 1
        update = self.optimizer_step + 1
        if update != self.last_nonfinite:
            follows = update == self.last_nonfinite + 1
            self.nonfinite_run = self.nonfinite_run + 1 if follows else 1
        self.last_nonfinite = update
        path = Path(self.hparams.output_folder, "non_finite.txt")
        if named:  # the loss of this rank is the one that is not finite
            ids = " ".join(getattr(batch, "id", []))
            with path.open("a", encoding="utf-8") as file:
                file.write(f"update {self.optimizer_step + 1}, rank {rank()}: {ids}\n")
        logger.warning(
            f"the loss of update {update} is not finite: skipped "
            f"({self.nonfinite_count} in this epoch); {path} names the utterances"
        )
        # An epoch may have fewer batches than the patience allows.
        if max(self.nonfinite_count, self.nonfinite_run) > self.nonfinite_patience:
            found = f"{self.nonfinite_count} batches of an epoch"
            if self.nonfinite_run > self.nonfinite_count:
                found = f"{self.nonfinite_run} updates in a row"
            raise ValueError(
                f"the loss was not finite in {found}, more than nonfinite_patience: "
                f"{self.nonfinite_patience} allows; {path} names their utterances: listen to "
                "them, or lower lr"
            )

    def update_average(self, loss, avg_loss):
        """Adds a loss and its parts to the running means, without waiting for the device."""
        if not isinstance(avg_loss, RunningLoss):
            avg_loss = RunningLoss(float(avg_loss), self.step - 1)
        avg_loss.add(loss, self.shown_parts())
        return avg_loss

    def shown_parts(self) -> dict[str, Tensor]:
        """Returns the parts of the last loss that the progress bar shows."""
        return {}

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        self._leave_if_asked()
        # Gradients are not saved, so a checkpoint is only made between two updates.
        due = super()._should_save_intra_epoch_ckpt(last_ckpt_time, steps_since_ckpt)
        return due and self.at_update

    def _save_intra_epoch_ckpt(self):
        self.avg_train_loss = float(self.avg_train_loss)  # the checkpoint holds plain numbers
        super()._save_intra_epoch_ckpt()

    @contextmanager
    def _sigterm(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread handles signals
            return
        process = os.getpid()

        def asked(number, frame) -> None:
            if os.getpid() != process:  # this is a worker that reads audio
                os._exit(TERMINATED)
            self.leaving = True
            if not self.in_epoch:
                sys.exit(TERMINATED)

        before = signal.signal(signal.SIGTERM, asked)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _leave_if_asked(self) -> None:
        if not self.at_update:
            return
        if world_size() > 1:
            if self.optimizer_step % LEAVE_EVERY:
                return
            leaving = torch.tensor(float(self.leaving), device=self.device)
            dist.all_reduce(leaving, dist.ReduceOp.MAX)
            self.leaving = bool(leaving)
        if self.leaving:
            logger.info(f"asked to leave (SIGTERM) after update {self.optimizer_step}: saving")
            self._save_intra_epoch_ckpt()
            sys.exit(TERMINATED)

    def _fit_valid(self, valid_set, epoch, enable):
        self.in_epoch = False
        self._report_waiting(epoch)
        if self.leaving and world_size() == 1:
            sys.exit(TERMINATED)
        if overflows := int(self.overflows):
            logger.warning(f"the gradients of {overflows} updates overflowed and were taken as 0")
        self.overflows, self.evaluated = 0, []
        super()._fit_valid(valid_set, epoch, enable)
        self._name_evaluated()

    def _report_waiting(self, epoch: int) -> None:
        waiting = self.train_loader.waiting
        share, judged = waiting.share(), waiting.seconds >= LEAST_SECONDS
        text = f"epoch {epoch}: training waited for audio {100 * share:.1f} % of the time"
        if share <= MAX_WAITING or not judged:
            logger.info(text)
            return
        remedy = f"raise num_workers ({self.train_loader.num_workers})"
        if getattr(self.hparams, "audio_cache", "") is None:
            remedy += ", or set audio_cache to a folder, which will keep decoded audio"
        logger.warning(f"{text}: {remedy}")
