"""What every recipe starts with: its YAML, its folder, its corpus."""

import atexit
import logging
from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.distributed import run_on_main

from masr_modules.config.command_line import parse_arguments
from masr_modules.config.files import write_atomic
from masr_modules.config.provenance import check_same, claim, facts_of
from masr_modules.config.settings import load_settings, resolve_settings
from masr_modules.data.audio_check import drop_unreadable
from masr_modules.data.candidates import drop_non_candidates
from masr_modules.data.corpus import Rows, load_corpora
from masr_modules.data.corruption import corrupt, keep_share
from masr_modules.data.overlap import warn_of_shared
from masr_modules.distributed import leave_group, rank
from masr_modules.knowledge import name_branches
from masr_modules.training.starter import RUN_LOCK, end_with_starter, hold


def start_experiment(arguments: list[str]) -> tuple[dict, dict]:
    """Reads the YAML with its overrides, makes the output folder, prepares the corpus.

    Arguments
    ---------
    arguments : list[str]
        Of the command line: the YAML, then `--key value`.

    Returns
    -------
    hparams, run_opts : dict
        As `sb.Brain` takes them.

    Raises
    ------
    ValueError
        If the output folder is that of a run with other settings or inputs.
    RuntimeError
        If another process works in it: says which.
    """
    path, run_opts, overrides = parse_arguments(arguments)
    sb.utils.distributed.ddp_init_group(run_opts)
    atexit.register(leave_group)
    if rank() > 0:  # all ranks have the same to say: SpeechBrain sets logging up on the first alone
        logging.getLogger("masr_modules").setLevel(logging.ERROR)
    text = resolve_settings(path, overrides)
    end_with_starter()
    hparams = load_hyperpyyaml(text)
    run_on_main(hold, args=[Path(hparams["output_folder"], RUN_LOCK)])
    sb.create_experiment_directory(hparams["output_folder"])
    run_preparation(hparams)
    run_on_main(_claim, args=[hparams, text, run_opts.get("test_only", False)])
    return hparams, run_opts


def run_preparation(hparams: Mapping) -> None:
    """Calls the YAML's `prepare` on one process, with its `skip_prep`.

    Arguments
    ---------
    hparams : mapping
        Of an experiment. Where `prepare` is missing or null, there is nothing to prepare, whatever
        `skip_prep` says.

    Example
    -------
    >>> run_preparation({"prepare": None, "skip_prep": False})
    >>> run_preparation({"prepare": lambda skip_prep: print(skip_prep), "skip_prep": True})
    True
    """
    if hparams.get("prepare") is not None:
        run_on_main(hparams["prepare"], kwargs={"skip_prep": hparams["skip_prep"]})


def prepare_corpus(arguments: list[str]) -> None:
    """Prepares the corpus of a YAML, once before runs that share it.

    Arguments
    ---------
    arguments : list[str]
        Of a run's command line: the YAML, then `--key value`.
    """
    path, _, overrides = parse_arguments(arguments)
    hparams = load_settings(path, overrides, only=("prepare", "skip_prep"))
    run_preparation(hparams)


def _claim(hparams: dict, text: str, test_only: bool) -> None:
    folder = Path(hparams["output_folder"])
    if test_only:  # a test may search or score in another way
        check_same(folder, facts_of(text), kinds=("inputs",))
        return
    saved = Path(hparams.get("save_folder", folder)).glob("CKPT+*/CKPT.yaml")
    claim(folder, text, begun=any(saved) or (folder / "results.json").is_file())
    write_atomic(folder / "hyperparams.yaml", text)


def _check_ids(rows: dict[str, Mapping[str, dict]], hparams: dict) -> None:
    """Raises a ValueError where an ID stands for other things in two splits.

    Metadata are looked up by ID: one's labels would be taken for the other's.
    """
    for split, other in combinations(rows, 2):
        for utterance in rows[split].keys() & rows[other].keys():
            row, known = rows[other][utterance], rows[split][utterance]
            if row != known:
                differs = next(c for c in {*row, *known} if row.get(c) != known.get(c))
                raise ValueError(
                    f"ID {utterance!r} is in {hparams[f'{split}_csv']} and in "
                    f"{hparams[f'{other}_csv']} with another {differs}: give each its own ID"
                )


def keep_per_speaker(rows: Rows, limit: int) -> Rows:
    """At most `limit` utterances of each speaker and emotion, evenly spread; all without a speaker.

    So that a metric of utterances is not that of a few speakers who said the most.

    Example
    -------
    >>> import pyarrow as pa
    >>> speakers = ["s", "s", "s", "t"]
    >>> rows = Rows(pa.table({"ID": ["a", "b", "c", "d"], "speaker": speakers}))
    >>> list(keep_per_speaker(rows, 2))
    ['a', 'b', 'd']
    """
    spoken = defaultdict(list)
    columns = (rows.column(name) for name in ("speaker", "emotion"))
    for utterance, speaker, emotion in zip(rows, *columns, strict=True):
        if speaker:
            spoken[speaker, emotion].append(utterance)
    left_out: list[str] = []
    for utterances in spoken.values():
        kept = {utterances[i * len(utterances) // limit] for i in range(limit)}
        left_out += [u for u in utterances if u not in kept]
    return rows.without(left_out)


def load_rows(hparams: dict) -> dict[str, dict[str, dict]]:
    """Split -> ID -> row of train, valid and test, without the unreadable ones.

    And of `labelled`, where the YAML names a CSV for it. With `evaluated_per_speaker`, all but
    train are without a speaker's further utterances: see `keep_per_speaker`. The training set is
    changed by the keys `left_out`, `family_depth`, `label_noise`, `missing_labels`,
    `permuted_columns` and `drop_non_candidates`; `labelled` is the fraction `labelled_share`.
    """
    splits = ["train", "valid", "test"]
    if hparams.get("labelled_csv"):
        splits.append("labelled")
    rows = {}
    for split in splits:
        source = hparams[f"{split}_csv"]
        memory = Path(hparams["output_folder"], f"{split}_readable.sha256")
        if isinstance(source, str):  # beside the CSV, for all runs
            memory = Path(source).with_suffix(".readable.sha256")
        every = load_corpora(source, hparams["data_folder"])
        if split != "train" and hparams.get("evaluated_per_speaker"):
            every = keep_per_speaker(every, hparams["evaluated_per_speaker"])
        limit, decode = hparams["max_unreadable"], split != "train"  # training meets it later
        rows[split] = drop_unreadable(every, limit, memory=memory, decode=decode)
    _check_ids(rows, hparams)
    warn_of_shared(rows)
    rows["train"] = name_branches(rows["train"], hparams.get("family_depth", 1))
    rows["train"] = corrupt(rows["train"], hparams, hparams["seed"])
    rows["train"] = drop_non_candidates(rows["train"], hparams.get("drop_non_candidates") or {})
    share = hparams.get("labelled_share", 1)
    if share != 1:
        if "labelled" not in rows:
            raise ValueError("labelled_share is of labelled_csv: name one")
        probed = (hparams.get("probe_column", "language"), "gender", "emotion")
        rows["labelled"] = keep_share(rows["labelled"], share, probed, hparams["seed"])
    return rows
