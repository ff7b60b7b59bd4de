"""What a run may not change when it goes on from its checkpoint."""

import hashlib
import json
from pathlib import Path

import torch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from torch import nn


@register_checkpoint_hooks
class RunFacts:
    """Goes into each checkpoint; loading it makes sure that the run is still the same.

    Without it, a head that was trained on one encoder would be tested on another one
    that has frames of the same width.

    Arguments
    ---------
    **values
        Name -> what JSON can hold.

    Example
    -------
    >>> path = getfixture("tmp_path") / "facts.ckpt"
    >>> RunFacts(freeze=True).save(path)
    >>> RunFacts(freeze=True).load(path, end_of_epoch=True)
    >>> RunFacts(freeze=False).load(path, end_of_epoch=True)
    Traceback (most recent call last):
    ...
    ValueError: ...the checkpoint has freeze: True, this run has freeze: False...
    """

    def __init__(self, **values: object):
        self.values = values

    @mark_as_saver
    def save(self, path: str | Path) -> None:
        """Writes them as JSON."""
        Path(path).write_text(json.dumps(self.values), encoding="utf-8")

    @mark_as_loader
    def load(self, path: str | Path, end_of_epoch: bool) -> None:
        """Compares them.

        Raises
        ------
        ValueError
            Naming the folder and the first value that differs.
        """
        before = json.loads(Path(path).read_text(encoding="utf-8"))
        for name, value in json.loads(json.dumps(self.values)).items():
            if before.get(name) != value:
                raise ValueError(
                    f"{Path(path).parent}: the checkpoint has {name}: {before.get(name)}, this "
                    f"run has {name}: {value}; give another --output_folder, or the settings "
                    "that the run began with"
                )


def count_parameters(modules: dict[str, nn.Module]) -> dict[str, int]:
    """Name of each module -> its parameters.

    Example
    -------
    >>> count_parameters({"classifier": nn.Linear(2, 3)})
    {'parameters of classifier': 9}
    """
    return {
        f"parameters of {name}": sum(parameter.numel() for parameter in module.parameters())
        for name, module in modules.items()
    }


def fingerprint(encoder: nn.Module) -> str:
    """A digest of all weights. Costs a pass over them on the CPU."""
    digest = hashlib.sha256()
    for key, value in encoder.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:24]
