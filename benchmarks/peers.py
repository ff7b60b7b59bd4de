#!/usr/bin/env python3
"""Evaluates a published speaker encoder and acoustic features in an experiment's protocol.

> pip install resemblyzer opensmile      # not dependencies of this project; see their licences
> python -m data_prep.people_prepare --data_folder FOLDER --save_folder data/people
> python -m benchmarks.peers --data_folder FOLDER
> python -m benchmarks.peers --data_folder FOLDER --record --readme docs/results/people.md

Utterances, probes and metrics are those of recipes/pretrain/train.py, as the study's YAML sets
them. With `--record`, the results go to the study's record, so that its tables have a row for each
peer, and a peer that is recorded is not measured again.
"""

import argparse
import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from masr_modules.config.settings import load_settings
from masr_modules.metrics.by_corpus import evaluate_corpora
from masr_modules.metrics.embeddings import LabelledEmbeddings, embed
from masr_modules.metrics.probes import Evaluation
from masr_modules.metrics.tables import CORPORA_COLUMNS, format_table, replace_block
from masr_modules.reporting.pretrain_record import (
    PretrainRun,
    extra_columns,
    pretrain_record,
    save_labels,
)
from masr_modules.reporting.pretrain_report import correct_of, table_references
from masr_modules.reporting.study import MEASURED, Comparison, Studies, Study
from masr_modules.training.experiment import load_rows

ROOT = Path(__file__).parents[1]
HPARAMS = ROOT / "hparams"
STUDIES = Studies(ROOT / "recipes/study/studies.yaml")
#: Keys of the YAML that say from what a table is made; MEASURED has those that say how.
DATA = ("data_folder", "output_folder", "max_unreadable", "seed")

logger = logging.getLogger(__name__)

#: A function from the samples of one utterance to its embedding (D,).
Measure = Callable[[np.ndarray], np.ndarray]


def import_peer(package: str) -> ModuleType:
    """Imports a package that is not a dependency of this project.

    Raises
    ------
    SystemExit
        If the package, or one that it needs, is not installed; the message says what to install.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error}: pip install {package}") from error


def resemblyzer(sample_rate: int) -> Measure:
    """Loads Resemblyzer's speaker encoder; it gets whole utterances where no voice is detected."""
    package = import_peer("resemblyzer")
    encoder = package.VoiceEncoder("cpu", verbose=False)

    def measure(samples: np.ndarray) -> np.ndarray:
        voiced = package.preprocess_wav(samples, source_sr=sample_rate)
        return encoder.embed_utterance(voiced if len(voiced) else samples)

    return measure


def egemaps(sample_rate: int) -> Measure:
    """Loads openSMILE's extractor of the 88 functionals of eGeMAPS."""
    package = import_peer("opensmile")
    smile = package.Smile(package.FeatureSet.eGeMAPSv02, package.FeatureLevel.Functionals)
    return lambda samples: smile.process_signal(samples, sample_rate).to_numpy()[0]


#: Name on the command line -> row of the table, and function that loads the peer for a sample rate
#: (Hz).
PEERS: dict[str, tuple[str, Callable[[int], Measure]]] = {
    "resemblyzer": ("Resemblyzer", resemblyzer),
    "egemaps": ("eGeMAPS", egemaps),
}


class EachUtterance:
    """An encoder that embeds a batch one utterance at a time, without its padding.

    Arguments
    ---------
    measure : callable
        Function from (T,) float32 samples to a (D,) embedding.

    Example
    -------
    >>> encode = EachUtterance(lambda samples: samples[:1] + len(samples))
    >>> layers, frame_lens = encode(torch.zeros(2, 4), torch.tensor([1.0, 0.5]))
    >>> layers[0].tolist(), frame_lens.tolist()
    ([[[4.0]], [[2.0]]], [1, 1])
    """

    def __init__(self, measure: Measure):
        self.measure = measure
        self.unmeasured = 0  # number of utterances with zeros for an embedding

    def __call__(self, wavs: Tensor, wav_lens: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encodes a batch in the form of `SSLObjective.encode`, as one layer of one frame.

        An utterance for which the peer gives no finite embedding, such as digital silence, gets
        zeros and is counted.
        """
        counts = (wav_lens * wavs.shape[1]).round().long().tolist()
        pairs = zip(wavs.cpu().numpy(), counts, strict=True)
        found = np.stack([self.measure(wav[:count]) for wav, count in pairs])
        nothing = ~np.isfinite(found).all(axis=1)
        self.unmeasured += int(nothing.sum())
        found[nothing] = 0
        frames = torch.as_tensor(found, dtype=torch.float32).unsqueeze(1)
        return [frames], torch.ones(len(counts), dtype=torch.long)


def evaluate_peer(measure: Measure, rows: Mapping[str, Mapping], settings: Mapping) -> Evaluation:
    """Computes every metric of the experiment's table.

    Arguments
    ---------
    measure : callable
        The peer.
    rows : mapping
        `references`, `valid` and `test` -> ID -> row.
    settings : mapping
        Values of the keys MEASURED in the experiment's YAML.
    """
    encode = EachUtterance(measure)
    splits = []
    for split in ("references", "valid", "test"):
        layers = embed(
            encode,
            rows[split],
            settings["sample_rate"],
            max_seconds=settings["max_eval_seconds"],
            progressbar=True,
        )
        splits.append(LabelledEmbeddings.of(layers, rows[split]))
    if encode.unmeasured:
        total = sum(map(len, rows.values()))
        logger.warning(
            f"{encode.unmeasured} of {total} utterances have zeros for an embedding: the peer "
            "finds nothing to measure in them, as in digital silence"
        )
    return evaluate_corpora(*splits, settings["questions"])


def read_rows(settings: Mapping) -> dict[str, Mapping[str, dict]]:
    """Reads the rows of `references`, `valid` and `test` of the experiment's table."""
    rows = load_rows(settings)
    references = table_references(rows, settings)
    return {"references": references, "valid": rows["valid"], "test": rows["test"]}


def record_peer(comparison: Comparison, row: str, seeds: Sequence[int], found: Evaluation) -> None:
    """Enters a peer's results into the record under each seed, like those of a baseline."""
    for seed in seeds:
        run, extra = PretrainRun(*comparison.system(row), seed), extra_columns(correct_of(found))
        comparison.record.add(run, found.metrics, extra, if_recorded="replace")


def peers_table(
    names: Sequence[str], study: Study, overrides: Mapping[str, str], record: bool
) -> str:
    """Makes the table of some peers, with the columns that any of them has.

    Arguments
    ---------
    names : sequence of str
        Keys of PEERS.
    study : Study
        Study of the experiment.
    overrides : mapping of str to str
        Overrides of its YAML, such as the folder of the corpora.
    record : bool
        Whether to use and fill the study's record.
    """
    path, yaml = ROOT / study.record, HPARAMS / study.yaml
    comparison = Comparison(STUDIES, yaml, study.ssl, pretrain_record(path), {})
    settings = load_settings(yaml, overrides, only=(*MEASURED, *DATA))
    wanted = dict(PEERS[name] for name in names)
    known = {row for row in wanted if record and comparison.common(row, row) >= {*study.seeds}}
    # All peers are loaded first, so that a missing package is found before minutes of audio.
    missing = {row: wanted[row](settings["sample_rate"]) for row in wanted if row not in known}
    rows = read_rows(settings) if missing else {}
    if missing and record:
        save_labels(rows["test"], path.with_name("test_labels.csv"), corpora=True)
    results = {}
    for row in wanted:
        if row in known:
            run = PretrainRun(*comparison.system(row), study.seeds[0])
            results[row] = [comparison.record.metrics(run)]
            continue
        found = evaluate_peer(missing[row], rows, settings)
        results[row] = [found.metrics]
        if record:
            record_peer(comparison, row, study.seeds, found)
    measured = {key for (metrics,) in results.values() for key, x in metrics.items() if x == x}
    return format_table(results, [column for column in CORPORA_COLUMNS if column[1] in measured])


def parse() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    own = [name for name, study in STUDIES.items() if study.experiment]
    parser.add_argument(
        "--study", choices=own, default="people", help="study whose protocol is used"
    )
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--data_folder", required=True, help="folder of the corpora")
    parser.add_argument(
        "--csv_folder", help="folder of the prepared CSVs (default: the experiment's)"
    )
    parser.add_argument(
        "--record", action="store_true", help="record the results for the study's tables"
    )
    parser.add_argument(
        "--readme", type=Path, help="Markdown file with a block <!-- peers --> to fill"
    )
    return parser.parse_args()


def main() -> None:
    """Prints the table, and with `--readme` writes it into a Markdown file."""
    args = parse()
    overrides = {"data_folder": args.data_folder, "output_folder": "results/peers"}
    if args.csv_folder:
        overrides["csv_folder"] = args.csv_folder
    table = peers_table(args.peers, STUDIES[args.study], overrides, args.record)
    print(table)
    if args.readme:
        replace_block(args.readme, "peers", table)


if __name__ == "__main__":
    main()
