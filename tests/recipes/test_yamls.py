"""Every value of every YAML: it can be overridden, and something reads it."""

import dataclasses
import io
import re

import pytest
import ruamel.yaml
from conftest import ROOT, yamls
from speechbrain.core import RunOptions

from masr_modules.config.settings import load_settings, merge_bases, resolve_settings


def resolved(yaml, overrides):
    """The YAML as a tree: bases and references resolved, no object made."""
    return ruamel.yaml.YAML().load(resolve_settings(ROOT / "hparams" / yaml, overrides))


def values(tree):
    """The keys of a block that hold plain values, as a user may override them."""
    return {
        key: value
        for key, value in tree.items()
        if isinstance(value, int | float | str | list | None)
        and not (isinstance(value, list) and value.tag.value)
    }


def other_value(key, value):
    """A value of the same kind that is not the one in the YAML."""
    if isinstance(value, list):
        return [] if value else ["other"]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 2
    if isinstance(value, float):
        return value / 2 + 0.11
    return "other"


@pytest.mark.parametrize(
    "yaml",
    [
        pytest.param(yaml, marks=[] if yaml == "masr.yaml" else pytest.mark.slow)
        for yaml in yamls("*.yaml", "published/*.yaml")
    ],
)
def test_every_top_level_value_can_be_overridden(yaml, small_overrides):
    settings = small_overrides(yaml)
    plain = values(resolved(yaml, settings))
    wanted = {key: other_value(key, value) for key, value in plain.items()}
    changed = resolved(yaml, settings | wanted)
    assert len(wanted) > 30
    for key, value in wanted.items():
        assert changed[key] == value != plain[key], key


#: Every word of the code.
CODE = {
    word
    for folder in ("recipes", "masr_modules")
    for path in (ROOT / folder).rglob("*.py")
    for word in re.findall(r"\w+", path.read_text())
}

RUN_OPTIONS = {field.name for field in dataclasses.fields(RunOptions)}  # sb.Brain reads them


@pytest.mark.parametrize("yaml", yamls("*.yaml", "published/*.yaml"))
def test_every_top_level_value_is_read(yaml):
    tree = merge_bases(ROOT / "hparams" / yaml)
    text = io.StringIO()
    ruamel.yaml.YAML().dump(tree, text)
    references = "\n".join(re.findall("!ref .*", text.getvalue()))
    referred = set(re.findall(r"<(\w+)(?=[>.\[])", references))
    assert not set(tree) - referred - CODE - RUN_OPTIONS - {"__set_seed"}


def test_an_override_reaches_the_object_it_is_for():
    changes = {"num_layers": 1, "margin": 0.7, "mask_span": 4, "lr": 0.5, "codebook_size": 32}
    parts = ["ssl", "head", "opt_class", "lr_schedule"]
    hparams = load_settings(ROOT / "hparams/masr.yaml", changes, only=parts)
    assert len(hparams["ssl"].encoder.context.layers) == 1
    assert hparams["head"].keywords["loss"].margin == 0.7
    assert hparams["ssl"].mask_span == 4
    assert hparams["ssl"].prediction.classifier.out_features == 32
    assert hparams["opt_class"].keywords["lr"] == hparams["lr_schedule"].base_lr == 0.5
