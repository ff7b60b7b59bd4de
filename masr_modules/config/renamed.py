"""Former names in YAMLs: each raises an error that gives the present name."""

import re
from collections.abc import Mapping

#: Former top-level key of an experiment -> its present name.
KEYS = {
    "hidden_labels": "missing_labels",
    "wrong_labels": "label_noise",
    "checked_labels": "drop_non_candidates",
}
#: Class of a block and former argument -> the argument's present name.
ARGUMENTS = {
    ("Prototypes", "describe"): "candidates_by",
    ("ClassifierHead", "plausible_by"): "candidates_by",
}
#: Key and former value -> the value's present name.
VALUES = {("mining", "smooth"): "soft"}
#: Former module or class -> its present place.
MOVED = {
    "masr_modules.checkpoints": "masr_modules.training.checkpoints",
    "masr_modules.random_state": "masr_modules.training.random_state",
    "masr_modules.pairwise.heads.PerSourceHead": "masr_modules.heads.MultiLabelHead",
    "masr_modules.pairwise.heads": "masr_modules.heads",
    "masr_modules.pairwise.classifier": "masr_modules.heads",
    "masr_modules.pairwise.losses.MultiSupConLoss": (
        "masr_modules.pairwise.soft_labels.MultiSupConLoss"
    ),
    "masr_modules.pairwise.losses.XSampleLoss": "masr_modules.pairwise.soft_labels.XSampleLoss",
    "masr_modules.huggingface": "masr_modules.encoders.huggingface",
    "masr_modules.pooling": "masr_modules.encoders.pooling",
    "masr_modules.waveform": "masr_modules.encoders.waveform",
}
#: Classes that need the corpus's metadata, and so are built later: blocks give them by `!name:`.
FACTORIES = re.compile(
    r"masr_modules\.(heads|pairwise\.(prototypes|memory))\.\w+$"
    r"|masr_modules\.knowledge\.(?!name_branches)\w*$"
)


def check(tree: Mapping, where: object) -> None:
    """Refuses a YAML that uses a former name, or `!new:` where `!name:` is needed.

    Arguments
    ---------
    tree : Mapping
        The YAML's keys, as ruamel.yaml's round-trip loader gives them.
    where : object
        The file, for errors.

    Raises
    ------
    ValueError
        If the YAML uses one of these. The message names the file and what to write.

    Example
    -------
    >>> check({"hidden_labels": {"language": 0.5}}, "a.yaml")
    Traceback (most recent call last):
    ...
    ValueError: a.yaml: the key hidden_labels is called missing_labels now
    """
    for key, value in tree.items():
        if key in KEYS:
            raise ValueError(f"{where}: the key {key} is called {KEYS[key]} now")
        if isinstance(value, str) and (key, value) in VALUES:
            new = VALUES[key, value]
            raise ValueError(f"{where}: {key}: {value} is called {new} now")
        _check_block(value, where)


def _check_block(node: object, where: object) -> None:
    tag = str(getattr(getattr(node, "tag", None), "value", None) or "")
    kind, _, dotted = tag.partition(":")
    for old, new in MOVED.items():
        if dotted == old or dotted.startswith(f"{old}."):
            moved = new + dotted.removeprefix(old)
            raise ValueError(f"{where}: {dotted} is {moved} now")
    if kind == "!new" and FACTORIES.match(dotted) and not dotted.endswith("Projection"):
        raise ValueError(
            f"{where}: {dotted} is built when the corpus is known: write !name: instead of !new:"
        )
    name = dotted.rpartition(".")[2]
    if isinstance(node, Mapping):
        for key, part in node.items():
            if (name, key) in ARGUMENTS:
                raise ValueError(f"{where}: {name}'s {key} is called {ARGUMENTS[name, key]} now")
            _check_block(part, where)
    elif isinstance(node, list):
        for part in node:
            _check_block(part, where)
