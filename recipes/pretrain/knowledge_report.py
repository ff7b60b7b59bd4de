"""What an experiment's knowledge says about a corpus, before any training.

> python recipes/pretrain/knowledge_report.py hparams/masr.yaml data/mini/csv/train.csv

Prints each source's coverage, its mean similarity within and across identities, how the
sources go together and how many anchors a batch has; then, for each identity, which sources act in
its space and what they call the hardest pairs of a batch. Saves that and a heat map under
`--output`. Any value of the YAML can be overridden: `--max_batch_seconds 96`.
"""

import argparse
import logging
import sys
from pathlib import Path

from masr_modules.config.command_line import parse_arguments
from masr_modules.config.settings import load_settings, merge_bases
from masr_modules.data.corpus import load_csv
from masr_modules.reporting.knowledge_report import OPTIONAL, SETTINGS, report


def main(arguments: list[str]) -> None:
    """Reads the command line, reports."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", 1)[0],
        epilog="Any value of the YAML can be overridden: --KEY VALUE.",
        allow_abbrev=False,
    )
    parser.add_argument("yaml", help="the experiment, such as hparams/masr.yaml")
    parser.add_argument("csv", help="the corpus's CSV, such as train.csv")
    parser.add_argument(
        "--output", default="results/knowledge_report", help="folder (default: %(default)s)"
    )
    own, rest = parser.parse_known_args(arguments)
    for path in (own.yaml, own.csv):
        if not Path(path).is_file():
            parser.error(f"{path}: no such file")
    _, _, overrides = parse_arguments([own.yaml, *rest])
    there = {*OPTIONAL} & {*merge_bases(Path(own.yaml))}
    settings = load_settings(own.yaml, overrides, only=[*SETTINGS, *sorted(there)])
    rows = load_csv(own.csv, settings["data_folder"])
    print(report(settings, rows, own.output), end="")


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    main(sys.argv[1:])
