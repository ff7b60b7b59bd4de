"""Checkpoints that are saved whole or not at all."""

import logging
import math
import os
import shutil
import time
from pathlib import Path

from speechbrain.utils import checkpoints
from speechbrain.utils.checkpoints import CKPT_PREFIX, METAFNAME, Checkpoint
from speechbrain.utils.distributed import ddp_barrier, if_main_process

logger = logging.getLogger(__name__)

#: Private method of SpeechBrain's Checkpointer that is overridden here -> the method that calls it,
#: as in trainer.py.
PRIVATE_HOOKS = {"_save_checkpoint_metafile": "save_checkpoint"}


class Checkpointer(checkpoints.Checkpointer):
    """SpeechBrain's Checkpointer, but CKPT.yaml, which makes a folder a checkpoint, comes last.

    SpeechBrain writes CKPT.yaml first, so that a process that dies while it saves, or a full disk,
    leaves a folder that looks like the newest checkpoint and cannot be loaded. Here such a folder
    is no checkpoint, and is removed when the next one is saved.

    SpeechBrain orders checkpoints by the clock, `unixtime`, and a clock may be set back. Here each
    checkpoint is dated later than all existing ones, so that their order is that of the updates.
    A metric that is not finite is left out of the file, so that such a checkpoint is never the best
    one by it.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> import torch
    >>> checkpointer = Checkpointer(folder, {"net": torch.nn.Linear(1, 1)})
    >>> _ = checkpointer.save_checkpoint()
    >>> (folder / "CKPT+dead").mkdir()  # of a process that died
    >>> _ = checkpointer.save_and_keep_only()
    >>> len(list(folder.iterdir())), len(checkpointer.list_checkpoints())
    (1, 1)
    """

    def _save_checkpoint_metafile(
        self, fpath: Path, meta_to_include: dict | None = None, end_of_epoch: bool = True
    ) -> dict:
        self._remove_dead(beside=Path(fpath).parent)
        self._waiting = Path(fpath)
        partial = self._waiting.with_suffix(".partial")
        newest = max((ckpt.meta["unixtime"] for ckpt in self.list_checkpoints()), default=0.0)
        meta = {"unixtime": max(time.time(), newest + 1.0)}
        for name, value in (meta_to_include or {}).items():
            if isinstance(value, float) and not math.isfinite(value):
                logger.warning(f"{name} is {value}: this checkpoint cannot be the best one by it")
            else:
                meta[name] = value
        return super()._save_checkpoint_metafile(partial, meta, end_of_epoch)

    def save_checkpoint(self, *args, **kwargs) -> Checkpoint | None:
        """Saves a checkpoint as SpeechBrain does; every rank must call it."""
        saved = super().save_checkpoint(*args, **kwargs)
        ddp_barrier()  # all ranks have written their parts
        if if_main_process():
            os.replace(self._waiting.with_suffix(".partial"), self._waiting)
        ddp_barrier()  # no rank reads before that
        return saved

    def _remove_dead(self, beside: Path) -> None:
        for folder in Path(self.checkpoints_dir).glob(f"{CKPT_PREFIX}*"):
            if folder != beside and folder.is_dir() and not (folder / METAFNAME).exists():
                logger.warning(f"{folder} is an incomplete checkpoint: it is removed")
                shutil.rmtree(folder)
