"""What an experiment's knowledge says about a corpus, before any training: `masr knowledge`.

> python recipes/pretrain/knowledge_report.py hparams/masr.yaml data/mini/csv/train.csv

Prints each source's coverage, its mean similarity within and across identities, how the
sources go together and how many anchors a batch has; then, for each identity, which sources act in
its space and what they call the hardest pairs of a batch. Saves that and a heat map under
`--output`. Any value of the YAML can be overridden: `--max_batch_seconds 96`.
"""

import logging
import sys

from masr_modules.commands.knowledge import main

if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    main(sys.argv[1:])
