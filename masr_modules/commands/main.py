"""The `masr` command, which the package installs: `masr COMMAND ...`."""

import argparse
import importlib
import logging
import sys

import masr_modules

#: Command -> what it does. Its module of the same name is imported when it is called, so that
#: `masr doctor` starts where a package is broken.
COMMANDS = {
    "embed": "Writes embeddings of audio files, by a pretrained encoder.",
    "knowledge": "Reports what an experiment's knowledge says about a corpus.",
    "doctor": "Checks packages, devices, audio formats, disk and memory.",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs a command.

    Arguments
    ---------
    arguments : list[str], optional
        What follows `masr` on the command line; by default that of this process.

    Returns
    -------
    int
        The exit status: 0 where all is well, 1 where something could not be done, which the
        command says.

    Raises
    ------
    SystemExit
        After `--help`, and where the command line cannot be understood.

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
            + ["", "masr COMMAND --help says more."]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = f"masr {masr_modules.__version__}"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="see below")
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
