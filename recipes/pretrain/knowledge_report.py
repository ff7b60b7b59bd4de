"""Describes an experiment's knowledge of a corpus before any training, as `masr knowledge` does.

> python recipes/pretrain/knowledge_report.py hparams/masr.yaml data/mini/csv/train.csv

It prints each source's coverage, its mean similarity within and across identities, the agreement
of the sources and the number of anchors of a batch; then, for each identity, the sources that act
in its space and their view of the hardest pairs of a batch. It saves the text and a heat map under
`--output`. Any value of the YAML can be overridden: `--max_batch_seconds 96`.
"""

import logging
import sys

from masr_modules.commands.knowledge import main

if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    main(sys.argv[1:])
