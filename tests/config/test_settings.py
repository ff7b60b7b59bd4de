"""YAMLs on top of others: what is replaced, where, and what is an error."""

import pytest
from hyperpyyaml import load_hyperpyyaml

from masr_modules.config.command_line import parse_arguments
from masr_modules.config.settings import load_settings, resolve_settings

BASE = """
# of the base
width: 8
depth: 2
loss: !new:collections.Counter {a: !ref <width>, b: 1} # two keys
"""


@pytest.fixture
def files(tmp_path):
    def write(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return tmp_path / f"{name}.yaml"

    return write


def test_a_key_replaces_the_bases_key_whole(files):
    path = files(a=BASE, b="base: a.yaml\nloss: !new:collections.Counter {c: !ref <depth>}\n")
    assert load_settings(path)["loss"] == {"c": 2}
    assert "of the base" not in resolve_settings(path) and "two keys" not in resolve_settings(path)


def test_an_override_replaces_a_block_whole(files):
    path = files(a=BASE)
    _, _, overrides = parse_arguments([str(path), "--loss", "!new:collections.Counter {d: 5}"])
    assert load_settings(path, overrides)["loss"] == {"d": 5}
    assert load_hyperpyyaml(resolve_settings(path, overrides))["loss"] == {"d": 5}


def test_blocks_in_a_list_of_one_line_stay_what_they_are(files):
    path = files(a=BASE)
    _, _, overrides = parse_arguments([str(path), "--loss", "[!new:collections.Counter {d: 5}, 1]"])
    assert load_settings(path, overrides)["loss"] == [{"d": 5}, 1]


def test_bases_of_bases_and_keys_taken_away(files):
    path = files(a=BASE, b="base: a.yaml\nwidth: 9\n", c="base: b.yaml\nwithout: [depth]\nlr: 1\n")
    assert load_settings(path) == {"lr": 1, "width": 9, "loss": {"a": 9, "b": 1}}


def test_a_new_key_stands_where_its_file_has_it(files):
    child = "base: a.yaml\nwidth: 1\nunits: !ref x<width>\nloss: !ref <units>\n"
    assert list(load_settings(files(a=BASE, b=child))) == ["width", "units", "depth", "loss"]
    assert load_settings(files(a=BASE, b=child))["loss"] == "x1"


def test_only_what_is_asked_for_is_built(files):
    path = files(a=BASE + "bomb: !new:no.such.Class\n")
    assert load_settings(path, only=["loss"]) == {"loss": {"a": 8, "b": 1}}


@pytest.mark.parametrize(
    "texts, error, message",
    [
        ({"b": "base: a.yaml\n"}, FileNotFoundError, "a.yaml: no such file, which .*b.yaml names"),
        ({"b": "base: b.yaml\n"}, ValueError, "lead back"),
        ({"a": BASE, "b": "base: a.yaml\nwithout: [height]\n"}, ValueError, "b.yaml: .* 'height'"),
        ({"b": "- 1\n"}, ValueError, "holds no keys"),
        ({"b": "data: !PLACEHOLDER\n"}, ValueError, "data.* must be replaced|PLACEHOLDER"),
    ],
)
def test_errors_name_file_and_key(files, texts, error, message):
    with pytest.raises(error, match=message):
        resolve_settings(files(**texts))


def test_a_misspelt_override_names_the_key_that_was_meant(files):
    with pytest.raises(KeyError, match="'widths' to override; did you mean width"):
        resolve_settings(files(a=BASE), {"widths": 3})


def test_a_misspelt_key_of_a_file_names_the_key_that_was_meant(files):
    with pytest.raises(KeyError, match="b.yaml: 'widht' is no key of its base.* mean width"):
        resolve_settings(files(a=BASE, b="base: a.yaml\nwidht: 3\n"))


def test_a_new_key_that_the_file_refers_to_may_be_like_another(files):
    path = files(a=BASE, b="base: a.yaml\nwidths: 3\nsize: !ref 2 * <widths>\n")
    assert load_settings(path)["size"] == 6


def test_print_yaml_shows_the_resolved_file_and_leaves(files, capsys):
    path = files(a=BASE, b="base: a.yaml\ndepth: 3\n")
    with pytest.raises(SystemExit) as left:
        parse_arguments([str(path), "--width", "5", "--print_yaml"])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert load_hyperpyyaml(printed) == {"width": 5, "depth": 3, "loss": {"a": 5, "b": 1}}


def test_of_several_bases_a_later_one_replaces_keys_of_those_before(files):
    path = files(a=BASE, data="folder: x\ndepth: 5\n", b="base: [a.yaml, data.yaml]\nwidth: 1\n")
    settings = load_settings(path)
    assert settings == {"folder": "x", "width": 1, "depth": 5, "loss": {"a": 1, "b": 1}}
