"""`masr knowledge`: reports what an experiment's knowledge says about a corpus before training.

`recipes/pretrain/knowledge_report.py` runs the same command.
"""

import argparse
from pathlib import Path


def main(arguments: list[str], prog: str | None = None) -> int:
    """Prints the report, and saves it together with a heat map.

    Arguments
    ---------
    arguments : list[str]
        See `--help`.
    prog : str, optional
        The command's name in `--help`; by default the name of the script.

    Returns
    -------
    int
        0.

    Raises
    ------
    ValueError
        If the YAML lacks a key that the report reads, or the CSV lacks a column that a source
        reads.
    KeyError
        If an override names a key that the YAML does not have.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Prints each source's coverage, its mean similarity within and across "
        "identities, how the sources correlate, how many anchors a batch has and, if the YAML "
        "sets hard_pairs, how many utterances have such a pair; then, for each identity, which "
        "sources act in its space and which pairs of a batch are the hardest by them. Nothing is "
        "trained.",
        epilog="Any value of the YAML can be overridden by --KEY VALUE, such as --data_folder "
        "FOLDER.",
        allow_abbrev=False,
    )
    parser.add_argument("yaml", help="the experiment's YAML, such as hparams/masr.yaml")
    parser.add_argument(
        "csv",
        help="the corpus's CSV, such as train.csv, or the YAML's key that names it, such as "
        "train_csv",
    )
    parser.add_argument(
        "--output",
        default="results/knowledge_report",
        help="folder for report.md and similarity.png (default: %(default)s)",
    )
    own, rest = parser.parse_known_args(arguments)
    named = own.csv.endswith("_csv")
    for path in (own.yaml, *([] if named else [own.csv])):
        if not Path(path).is_file():
            parser.error(f"{path}: no such file")
    # These are imported here so that --help does not wait for them.
    from masr_modules.config.command_line import parse_arguments
    from masr_modules.config.settings import load_settings, merge_bases
    from masr_modules.data.corpus import load_corpora
    from masr_modules.reporting.knowledge_report import OPTIONAL, SETTINGS, report

    _, _, overrides = parse_arguments([own.yaml, *rest])
    there = {*OPTIONAL} & {*merge_bases(Path(own.yaml))}
    settings = load_settings(
        own.yaml, overrides, only=[*SETTINGS, *sorted(there), *[own.csv] * named]
    )
    rows = load_corpora(settings[own.csv] if named else own.csv, settings["data_folder"])
    print(report(settings, rows, own.output), end="")  # type: ignore[arg-type] # any mapping does
    return 0
