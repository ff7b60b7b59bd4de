"""Recipes one after the other, as torchrun starts them, with the joint loss of every batch.

> python ranks.py JOBS.json

Each job: the recipe, where its losses go, its arguments, `stop_at`, before which batch it is killed
(null: not), and then noise is drawn as ever; and `asked_at`, before which batch the last rank alone
gets SIGTERM. Of a run that leaves, its status takes the place of the losses.
"""

import faulthandler
import json
import os
import signal
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
import torch.nn.functional as F
from conftest import load_recipe
from speechbrain.utils import distributed

from masr_modules.distributed import rank, world_size
from masr_modules.training import trainer
from masr_modules.training.loading import RankBatches
from masr_modules.training.trainer import Trainer


class Killed(Exception):
    """Stands for a kill between two batches."""


def straight_through(logits, tau, hard):
    soft = (logits / tau).softmax(dim=-1)
    return F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(soft) - soft.detach() + soft


@contextmanager
def drawing_nothing():
    """What is drawn depends on the place in a batch, which ranks change."""
    with (
        mock.patch("torch.randn_like", torch.zeros_like),
        mock.patch("torch.rand", lambda *size, device=None: torch.full(size, 0.5, device=device)),
        mock.patch("torch.nn.functional.gumbel_softmax", straight_through),
    ):
        yield


def losses_of(recipe, arguments, merged=1, stop_at=None, asked_at=None):
    """The joint losses of a recipe; `merged` batches are made one, as those of so many ranks."""
    losses, fit_batch = [], Trainer.fit_batch
    still = nullcontext() if stop_at is not None else drawing_nothing()
    batches_of = RankBatches.__iter__

    def recorded(self, batch):
        if len(losses) == stop_at:
            raise Killed
        if len(losses) == asked_at and rank() == world_size() - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        loss = fit_batch(self, batch)
        joint = loss.clone()
        if world_size() > 1:
            dist.all_reduce(joint)
        losses.append(joint.item() / world_size())
        return loss

    def joined(self):
        batches = list(batches_of(self))
        batches += batches[: -len(batches) % merged]
        return iter([sum(batches[i : i + merged], []) for i in range(0, len(batches), merged)])

    with still, mock.patch.object(Trainer, "fit_batch", recorded):
        if merged == 1:
            load_recipe(recipe).main(arguments)
        else:
            with (
                mock.patch.object(RankBatches, "__iter__", joined),
                mock.patch.object(RankBatches, "__len__", lambda s: -(-len(s.batches) // merged)),
            ):
                load_recipe(recipe).main(arguments)
    return losses


if __name__ == "__main__":
    faulthandler.dump_traceback_later(200, exit=True)  # where they wait for each other
    start = distributed.ddp_init_group
    distributed.ddp_init_group = lambda options: dist.is_initialized() or start(options)
    trainer.LEAVE_EVERY = 2
    for recipe, losses_file, arguments, stop_at, asked_at in json.loads(
        Path(sys.argv[1]).read_text()
    ):
        try:
            losses = losses_of(recipe, arguments, stop_at=stop_at, asked_at=asked_at)
        except Killed:
            continue
        except SystemExit as left:
            losses = left.code
        if rank() == 0:
            Path(losses_file).write_text(json.dumps(losses))
