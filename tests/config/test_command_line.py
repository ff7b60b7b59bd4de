"""Values on the command line mean what was typed."""

import logging

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from masr_modules.config.command_line import parse_arguments
from masr_modules.config.provenance import facts_of, fingerprint
from masr_modules.config.settings import load_settings, resolve_settings

YAML = """
lr: 0.1
steps: 7
freeze: false
labelled_csv: null
system: MASR
name: 2024-01-01
data_folder: !PLACEHOLDER
output_folder: !ref results/<system>/<steps>
save_folder: !ref <output_folder>/save
width: !ref 2 * <steps>
loss: !new:collections.Counter {a: 1}
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("yaml") / "a.yaml"
    path.write_text(YAML)
    return str(path)


def read(path, *arguments):
    """What a recipe gets."""
    if not any(argument.startswith("--data_folder") for argument in arguments):
        arguments = (*arguments, "--data_folder", "d")
    _, _, overrides = parse_arguments([path, *arguments])
    return load_settings(path, overrides)


TEXTS = ["run #1", "a=b", "a: b", "2026-11-29", "007", "1_000", "1e3", "yes", "~", "- a", "&a"]
TEXTS += ["*a", "@", "%a", "a\\b", "'open", '"open', "C:\\x", " a ", "ß/日本", "a\tb", "true"]
TEXTS += ["12:30", "x: # y"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_path_or_a_name_is_what_was_typed(path, text):
    for key in ("output_folder", "data_folder", "system", "name", "labelled_csv"):
        # Of a key that holds nothing it is open what is meant by 1e3 and true.
        if key == "labelled_csv" and text in ("1e3", "true"):
            continue
        assert read(path, f"--{key}", text)[key] == text
        assert read(path, f"--{key}={text}")[key] == text
    assert read(path, "--output_folder", text)["save_folder"] == f"{text}/save"


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=120))
@example("#")
@example("word " * 40)
def test_any_text_of_a_path_survives_into_the_run(path, text):
    if text == "null" or text.startswith(("[", "{", "!", "'", '"')) or "<" in text or "  " in text:
        return  # YAML, or refused
    found = read(path, f"--output_folder={text}")
    assert found["output_folder"] == text and found["save_folder"] == f"{text}/save"


def test_runs_that_differ_by_what_yaml_calls_a_comment_are_two(path):
    texts = [
        resolve_settings(path, parse_arguments([path, "--data_folder=d", "--system", name])[2])
        for name in ("run #1", "run #2")
    ]
    assert facts_of(texts[0]) != facts_of(texts[1])


def test_numbers_switches_lists_and_blocks_are_yaml(path):
    found = read(path, "--lr", "1e-4", "--steps", "-3", "--freeze", "True", "--width=9")
    assert (found["lr"], found["steps"], found["freeze"], found["width"]) == (1e-4, -3, True, 9)
    found = read(path, "--loss", "!new:collections.Counter {d: !ref <steps>}", "--lr", "null")
    assert found["loss"] == {"d": 7} and found["lr"] is None
    assert read(path, "--labelled_csv", "[{csv: a, data_root: b}]")["labelled_csv"] == [
        {"csv": "a", "data_root": "b"}
    ]
    assert read(path, "--system", '"a: b"')["system"] == "a: b"
    assert read(path, "--system", "!ref <name>")["system"] == read(path)["name"]
    assert read(path, "--labelled_csv", "null")["labelled_csv"] is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--lr"], "--lr has no value"),
        (["--lr", "--steps", "3"], "--lr has no value"),
        (["--lr", "fast"], "--lr fast: a number is needed"),
        (["--lr", "true"], "--lr true: a number is needed"),
        (["--steps", "007"], "--steps 007: a number is needed"),
        (["--freeze", "no"], "--freeze no: choose true or false"),
        (["--freeze", "1"], "--freeze 1: choose true or false"),
        (["--loss", "[1, 2"], "--loss: '.1, 2' is not valid YAML"),
        (["--system", "<steps>"], "--system <steps>: <> marks a reference: write !ref"),
        (["--system", "a  b"], "two spaces in a row would be lost"),
        (["--system", "a\udcff"], "--system: .* is not UTF-8"),
    ],
)
def test_what_a_key_cannot_be_is_an_error_that_names_it(path, arguments, message):
    with pytest.raises(ValueError, match=message):
        parse_arguments([path, *arguments])


def test_an_unknown_key_is_an_error_whatever_its_value(path):
    with pytest.raises(KeyError, match="no key 'stepps' to override; did you mean steps"):
        parse_arguments([path, "--stepps", "#"])


def test_of_an_option_given_twice_the_last_counts_and_it_is_told(path, caplog):
    with caplog.at_level(logging.WARNING):
        assert read(path, "--lr", "1", "--lr=2")["lr"] == 2
    assert "--lr is given twice: 2 takes the place of 1" in caplog.text
    assert fingerprint(path, ["--steps", "1", "--steps", "2"]) == fingerprint(path, ["--steps=2"])


def test_speechbrains_own_options_reach_it(path):
    _, run_opts, overrides = parse_arguments(
        [path, "--device=cpu", "--lr", "1", "--max_grad_norm", "2", "--debug", "--noprogressbar"]
    )
    assert (run_opts["device"], run_opts["max_grad_norm"], run_opts["debug"]) == ("cpu", 2.0, True)
    assert overrides == {"lr": 1}
