"""The `masr` command: what it is called, what it says, and how it ends."""

import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from masr_modules import __version__
from masr_modules.commands.main import COMMANDS, main
from masr_modules.config.settings import merge_bases

ROOT = Path(__file__).parents[2]


def test_the_package_installs_the_command():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"masr": "masr_modules.commands.main:main"}
    assert EntryPoint("masr", project["scripts"]["masr"], "console_scripts").load() is main


def test_without_arguments_it_says_what_there_is(capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name}" in said and text in said for name, text in COMMANDS.items())


def test_a_command_that_is_not_there_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        main(["sing", "a.wav"])
    assert end.value.code == 2 and "'sing'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--version"], *([name, "--help"] for name in COMMANDS)])
def test_versions_and_helps_end_well(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = capsys.readouterr().out
    assert end.value.code == 0
    assert said.startswith(f"usage: masr {arguments[0]}") or said == f"masr {__version__}\n"


def test_every_module_beside_this_one_is_a_command():
    folder = ROOT / "masr_modules/commands"
    assert {path.stem for path in folder.glob("*.py")} == {*COMMANDS, "main", "__init__"}
    for name in COMMANDS:
        assert callable(importlib.import_module(f"masr_modules.commands.{name}").main)


def test_an_error_is_one_line_and_the_status_is_1(capsys, tmp_path):
    (tmp_path / "plain.yaml").write_text("seed: 1\n")
    (tmp_path / "a.csv").write_text("ID,duration,wav\n")
    assert main(["knowledge", str(tmp_path / "plain.yaml"), str(tmp_path / "a.csv")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("masr knowledge: ") and "no top-level key knowledge" in said
    assert (
        main(["knowledge", str(tmp_path / "plain.yaml"), str(tmp_path / "a.csv"), "--sed=1"]) == 1
    )
    assert "plain.yaml has no key 'sed' to override" in capsys.readouterr().err


def test_help_does_not_wait_for_torch():
    code = (
        "import sys, masr_modules.commands.main as command\n"
        "import masr_modules.commands.doctor, masr_modules.commands.embed\n"
        "import masr_modules.commands.knowledge\n"
        "command.main([])\n"
        "assert not {'torch', 'speechbrain', 'soundfile'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", ["README.md", *sorted(ROOT.glob("docs/**/*.md"))])
def test_commands_of_the_documents_have_the_options_that_they_name(document, capsys):
    text = (ROOT / document).read_text(encoding="utf-8")
    for line in re.findall(r"(?:^    |`)masr ([^`\n]+)", text.replace("\\\n", ""), re.M):
        name, *words = line.partition("  ")[0].split()
        assert name in COMMANDS, line
        with pytest.raises(SystemExit):
            main([name, "--help"])
        said = capsys.readouterr().out
        options = {word for word in words if word.startswith("--")} - {"--help"}
        options -= {f"--{key}" for key in merge_bases(ROOT / "hparams/masr.yaml")}  # overrides
        assert all(option in said for option in options), line
