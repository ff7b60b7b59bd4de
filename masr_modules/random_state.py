"""The random generators as a part of a checkpoint.

SpeechBrain's Checkpointer saves none of them by itself, so a resumed run would
draw other noise and dropout than one that was never interrupted.
"""

import random
from pathlib import Path

import numpy as np
import torch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)


@register_checkpoint_hooks
class RandomState:
    """The torch, CUDA, numpy and python generators of this process.

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
        torch.save(state, path)

    @mark_as_loader
    def load(self, path: str | Path, end_of_epoch: bool) -> None:
        """Restores the generators' states; runs no code from the file."""
        state = torch.load(path, weights_only=True)
        torch.set_rng_state(state["torch"])
        name, keys, *rest = state["numpy"]
        np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda"])
