"""The states of the random generators as a part of a checkpoint.

SpeechBrain's Checkpointer does not save them by itself, so a resumed run would
draw other noise and dropout than one that was never interrupted.
"""

import random
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from speechbrain.utils import seed_everything
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)

from masr_modules.distributed import rank


@partial(register_checkpoint_hooks, save_on_main_only=False)
class RandomState:
    """The states of the torch, CUDA, numpy and Python generators of this process.

    Each rank has its own file: `path` for the first, `path.rank1` for the second. A rank that
    the saved run did not have is seeded by the first rank's state and its own number.

    Example
    -------
    >>> path = getfixture("tmp_path") / "state.ckpt"
    >>> state = RandomState()
    >>> state.save(path)
    >>> first = torch.rand(1)
    >>> state.load(path, end_of_epoch=False)
    >>> bool(torch.rand(1) == first)
    True
    """

    @mark_as_saver
    def save(self, path: str | Path) -> None:
        """Writes the generators' states."""
        name, keys, position, has_gauss, cached = np.random.get_state()
        version, internal, gauss = random.getstate()
        state = {
            "torch": torch.get_rng_state(),
            "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
            "python": [version, list(internal), gauss],
        }
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state()
        torch.save(state, _own(path))

    @mark_as_loader
    def load(self, path: str | Path, end_of_epoch: bool) -> None:
        """Restores the generators' states; runs no code from the file."""
        if not _own(path).exists():
            state = torch.load(path, weights_only=True)
            digest = zlib.crc32(state["torch"].numpy().tobytes())
            seed_everything(digest + rank(), verbose=False)
            return
        state = torch.load(_own(path), weights_only=True)
        torch.set_rng_state(state["torch"])
        name, keys, *rest = state["numpy"]
        np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda"])


def _own(path: str | Path) -> Path:
    return Path(f"{path}.rank{rank()}" if rank() else path)
