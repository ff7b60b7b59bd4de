"""The `masr` command, which the package installs: `masr COMMAND ...`."""

import argparse
import importlib
import logging
import sys

import masr_modules

#: Command -> what it does. The module of the same name is imported only when the command is called,
#: so that `masr doctor` starts even where a package is broken.
COMMANDS = {
    "embed": "Writes the embeddings of audio files by a pretrained encoder.",
    "knowledge": "Reports what an experiment's knowledge says about a corpus.",
    "doctor": "Checks packages, devices, audio formats, disk and memory.",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs a command of `masr`.

    Arguments
    ---------
    arguments : list[str], optional
        The arguments after `masr`; by default those of this process's command line.

    Returns
    -------
    int
        The exit status: 0 on success; 1 if something failed, which the command prints.

    Raises
    ------
    SystemExit
        After `--help`, and if the command line is not valid.

    Example
    -------
    >>> main(["embed", "speech.wav", "--encoder", "/nowhere/encoder"])
    1
    """
    parser = argparse.ArgumentParser(
        prog="masr",
        description="Multi-label Aware Speech Representations.",
        epilog="\n".join(
            ["commands:", *(f"  {name:<10} {text}" for name, text in COMMANDS.items())]
            + ["", "Run masr COMMAND --help for the options of a command."]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"masr {masr_modules.__version__}"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument(
        "command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below"
    )
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    own = sys.argv[1:] if arguments is None else arguments
    if not own:
        parser.print_help()
        return 0
    called = parser.parse_args(own)
    logging.basicConfig(format="%(message)s")
    module = importlib.import_module(f"masr_modules.commands.{called.command}")
    try:
        return module.main(called.rest, prog=f"masr {called.command}")
    except (ValueError, KeyError, OSError, ImportError) as error:
        text = error.args[0] if isinstance(error, KeyError) else error
        print(f"masr {called.command}: {text}", file=sys.stderr)
        return 1
