"""Old names in YAMLs and on the command line: an error that says the new one."""

import importlib
from pathlib import Path

import pytest

from masr_modules.config import renamed
from masr_modules.config.command_line import parse_arguments
from masr_modules.config.settings import load_settings, resolve_settings

MASR = Path(__file__).parents[2] / "hparams/masr.yaml"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--hidden_labels", "{language: 0.5}"], "hidden_labels is called missing_labels now"),
        (["--wrong_labels", "{language: 0.5}"], "wrong_labels is called label_noise now"),
        (["--checked_labels", "{}"], "checked_labels is called drop_non_candidates now"),
        (["--mining", "smooth"], "mining: smooth is called soft now"),
        (
            ["--prototypes", "!name:masr_modules.pairwise.prototypes.Prototypes {describe: [a]}"],
            "Prototypes's describe is called candidates_by now",
        ),
        (
            ["--head", "!name:masr_modules.heads.ClassifierHead {plausible_by: [family]}"],
            "ClassifierHead's plausible_by is called candidates_by now",
        ),
        (
            ["--head", "!new:masr_modules.pairwise.heads.PerSourceHead {layers: {}}"],
            "masr_modules.pairwise.heads.PerSourceHead is masr_modules.heads.MultiLabelHead now",
        ),
        (
            ["--checkpointer", "!new:masr_modules.checkpoints.Checkpointer {a: 1}"],
            "masr_modules.checkpoints.Checkpointer is masr_modules.training.checkpoints.Check",
        ),
        (
            ["--knowledge", "[!new:masr_modules.knowledge.Categorical [speaker]]"],
            "Categorical is built when the corpus is known: write !name: instead of !new:",
        ),
        (
            ["--memory", "!new:masr_modules.pairwise.memory.CrossBatchMemory [8, 2]"],
            "CrossBatchMemory is built when the corpus is known: write !name: instead of !new:",
        ),
    ],
)
def test_an_old_name_on_the_command_line_says_the_new_one(arguments, message):
    _, _, overrides = parse_arguments([str(MASR), *arguments])
    with pytest.raises(ValueError, match=f"masr.yaml: .*{message}"):
        resolve_settings(MASR, overrides)


def test_an_old_name_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("lr: 1\nblock: {deeper: [!new:masr_modules.waveform.Waveform {a: 1}]}\n")
    with pytest.raises(ValueError, match="mine.yaml: masr_modules.waveform.Waveform is masr_mod"):
        load_settings(path)


@pytest.mark.parametrize("new", sorted(set(renamed.MOVED.values())))
def test_what_moved_is_where_the_error_says(new):
    module, _, name = new.rpartition(".")
    if name[0].isupper():
        assert hasattr(importlib.import_module(module), name)
    else:
        assert importlib.import_module(new)


@pytest.mark.parametrize("yaml", sorted((MASR.parent).rglob("*.yaml")), ids=lambda path: path.stem)
def test_no_yaml_of_the_collection_has_an_old_name(yaml):
    from masr_modules.config.settings import merge_bases

    renamed.check(merge_bases(yaml), yaml)
    assert not renamed.KEYS.keys() & set(merge_bases(yaml))
