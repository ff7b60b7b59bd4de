#!/usr/bin/env python3
"""Others' encoders on the trials of an experiment: one of speakers, and acoustic features.

> pip install resemblyzer opensmile      # no dependencies of this project; see their licences
> python -m data_prep.people_prepare --data_folder FOLDER --save_folder data/people
> python -m benchmarks.peers --data_folder FOLDER
> python -m benchmarks.peers --data_folder FOLDER --record --readme docs/people.md

Utterances, probes and metrics are those of recipes/pretrain/train.py, as the study's YAML has them.
With `--record`, what is measured goes to the study's record, whose tables then have a row for it,
and a peer that the record has is not measured again.
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
#: What a table is made of, beside how it is measured.
DATA = ("data_folder", "output_folder", "max_unreadable", "seed")

logger = logging.getLogger(__name__)

#: Samples of one utterance -> its embedding, (D,).
Measure = Callable[[np.ndarray], np.ndarray]


def import_peer(package: str) -> ModuleType:
    """A package that is no dependency.

    Raises
    ------
    SystemExit
        If it, or what it needs, is not installed: says what to install.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error}: pip install {package}") from error


def resemblyzer(sample_rate: int) -> Measure:
    """Resemblyzer's speaker encoder; of an utterance without voice, of all of it."""
    package = import_peer("resemblyzer")
    encoder = package.VoiceEncoder("cpu", verbose=False)

    def measure(samples: np.ndarray) -> np.ndarray:
        voiced = package.preprocess_wav(samples, source_sr=sample_rate)
        return encoder.embed_utterance(voiced if len(voiced) else samples)

    return measure


def egemaps(sample_rate: int) -> Measure:
    """The 88 functionals of eGeMAPS, by openSMILE."""
    package = import_peer("opensmile")
    smile = package.Smile(package.FeatureSet.eGeMAPSv02, package.FeatureLevel.Functionals)
    return lambda samples: smile.process_signal(samples, sample_rate).to_numpy()[0]


#: Name on the command line -> row of the table, and what loads the peer for a sample rate in Hz.
PEERS: dict[str, tuple[str, Callable[[int], Measure]]] = {
    "resemblyzer": ("Resemblyzer", resemblyzer),
    "egemaps": ("eGeMAPS", egemaps),
}


class EachUtterance:
    """Encodes a batch one utterance at a time, without its padding.

    Arguments
    ---------
    measure : callable
        (T,) float32 samples -> (D,).

    Example
    -------
    >>> encode = EachUtterance(lambda samples: samples[:1] + len(samples))
    >>> layers, frame_lens = encode(torch.zeros(2, 4), torch.tensor([1.0, 0.5]))
    >>> layers[0].tolist(), frame_lens.tolist()
    ([[[4.0]], [[2.0]]], [1, 1])
    """

    def __init__(self, measure: Measure):
        self.measure = measure
        self.unmeasured = 0  # utterances

    def __call__(self, wavs: Tensor, wav_lens: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns what `SSLObjective.encode` does: one layer of one frame.

        Zeros where the peer finds nothing to measure, such as in digital silence; counted.
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
    """Every metric of the experiment's table.

    Arguments
    ---------
    measure : callable
        The peer.
    rows : mapping
        Of `references`, `valid` and `test`: ID -> row.
    settings : mapping
        MEASURED of the experiment.
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
            f"{encode.unmeasured} of {total} utterances are zeros: nothing to measure in them"
        )
    return evaluate_corpora(*splits, settings["questions"])


def read_rows(settings: Mapping) -> dict[str, Mapping[str, dict]]:
    """Rows of `references`, `valid` and `test`, as the experiment's table has them."""
    rows = load_rows(settings)
    references = table_references(rows, settings)
    return {"references": references, "valid": rows["valid"], "test": rows["test"]}


def record_peer(comparison: Comparison, row: str, seeds: Sequence[int], found: Evaluation) -> None:
    """Enters what was measured of a peer under each seed, as of a baseline."""
    for seed in seeds:
        run, extra = PretrainRun(*comparison.system(row), seed), extra_columns(correct_of(found))
        comparison.record.add(run, found.metrics, extra, if_recorded="replace")


def peers_table(
    names: Sequence[str], study: Study, overrides: Mapping[str, str], record: bool
) -> str:
    """The table of some peers, with the columns that any of them has.

    Arguments
    ---------
    names : sequence of str
        Keys of PEERS.
    study : Study
        Whose experiment it is.
    overrides : mapping of str to str
        Of its YAML: where the corpus lies.
    record : bool
        Whether to use and fill the study's record.
    """
    path, yaml = ROOT / study.record, HPARAMS / study.yaml
    comparison = Comparison(STUDIES, yaml, study.ssl, pretrain_record(path), {})
    settings = load_settings(yaml, overrides, only=(*MEASURED, *DATA))
    wanted = dict(PEERS[name] for name in names)
    known = {row for row in wanted if record and comparison.common(row, row) >= {*study.seeds}}
    # All are loaded before audio is read, which takes minutes.
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
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    own = [name for name, study in STUDIES.items() if study.experiment]
    parser.add_argument("--study", choices=own, default="people", help="whose trials")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--data_folder", required=True, help="of the corpora")
    parser.add_argument("--csv_folder", help="of the prepared CSVs; by default the experiment's")
    parser.add_argument("--record", action="store_true", help="add rows to the study's tables")
    parser.add_argument("--readme", type=Path, help="Markdown file with a block <!-- peers -->")
    return parser.parse_args()


def main() -> None:
    """Prints the table, or writes it into a Markdown file too."""
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
