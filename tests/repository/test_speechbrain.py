"""What is taken from inside SpeechBrain is there, is called, and is all listed."""

import ast
import inspect
import textwrap
from pathlib import Path

import pytest
import speechbrain as sb
from speechbrain.utils.checkpoints import Checkpointer as TheirCheckpointer

from masr_modules.training import checkpoints, trainer

ROOT = Path(__file__).parents[2]
HOOKS = [
    (base, own, name, caller)
    for base, own, hooks in (
        (sb.Brain, trainer.Trainer, trainer.PRIVATE_HOOKS),
        (TheirCheckpointer, checkpoints.Checkpointer, checkpoints.PRIVATE_HOOKS),
    )
    for name, caller in hooks.items()
]


def parameters(owner, name):
    """Names and kinds of a method's parameters, and which may be left out."""
    function = inspect.getattr_static(owner, name)
    function = function.fget if isinstance(function, property) else function
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default is not p.empty) for p in found]


def asked_of_self(function):
    """Attributes of `self` that a method reads or calls."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
    }


def check_hook(base, own, name, caller):
    """A base class's private method is there, is called, and takes what ours takes."""
    assert hasattr(base, name), f"{base.__name__} has no {name}"
    assert parameters(base, name) == parameters(own, name), f"{name} takes something else"
    asked = asked_of_self(getattr(base, caller))
    assert name in asked, f"{base.__name__}.{caller} does not ask for {name}"


@pytest.mark.parametrize("base, own, name, caller", HOOKS, ids=[hook[2] for hook in HOOKS])
def test_a_hook_is_there_and_called(base, own, name, caller):
    check_hook(base, own, name, caller)


class Gone:
    """A release without the hook."""

    def fit(self):
        self._fit_train()


class OtherSignature:
    def _fit_valid(self, valid_set, epoch):
        pass

    def fit(self):
        self._fit_valid(None, 1)


class NotCalled:
    def _fit_valid(self, valid_set, epoch, enable):
        pass

    def fit(self):
        pass


@pytest.mark.parametrize(
    "base, message",
    [
        (Gone, "Gone has no _fit_valid"),
        (OtherSignature, "_fit_valid takes something else"),
        (NotCalled, "NotCalled.fit does not ask for _fit_valid"),
    ],
)
def test_a_release_that_changed_a_hook_is_seen(base, message):
    with pytest.raises(AssertionError, match=message):
        check_hook(base, trainer.Trainer, "_fit_valid", "fit")


def private_names(*classes):
    return {n for c in classes for n in dir(c) if n.startswith("_") and not n.startswith("__")}


def test_every_private_name_of_speechbrain_that_is_used_is_listed():
    theirs = private_names(sb.Brain, TheirCheckpointer)
    used = {}
    for folder in ("masr_modules", "recipes", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                name = getattr(node, "attr", getattr(node, "name", None))
                if name in theirs:
                    used[name] = path
    listed = trainer.PRIVATE_HOOKS.keys() | checkpoints.PRIVATE_HOOKS.keys()
    assert not {name: path for name, path in used.items() if name not in listed}
    assert listed == used.keys()


def test_the_limit_of_updates_is_a_value_and_no_method():
    limit = inspect.getattr_static(sb.Brain, "_optimizer_step_limit_exceeded")
    assert isinstance(limit, property)  # a method would be true before the first update


DOCUMENTED = [
    name
    for name, value in vars(trainer.Trainer).items()
    if inspect.isfunction(value) and hasattr(sb.Brain, name) and not name.startswith("_")
]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_documented_method_takes_what_speechbrain_gives(name):
    theirs = inspect.signature(getattr(sb.Brain, name)).parameters.values()
    ours = inspect.signature(getattr(trainer.Trainer, name))
    needed = [p.name for p in theirs if p.default is p.empty]
    assert list(ours.parameters)[: len(needed)] == needed
    ours.bind(*needed, **{p.name: None for p in theirs if p.name not in needed})
