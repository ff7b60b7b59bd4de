"""The first steps of every recipe: it reads its YAML, makes its folder and prepares its corpus."""

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
from masr_modules.data.audio_check import drop_undecodable, drop_unreadable
from masr_modules.data.candidates import drop_non_candidates
from masr_modules.data.corpus import Rows, load_corpora
from masr_modules.data.corruption import corrupt, keep_share
from masr_modules.data.metadata import column_of
from masr_modules.data.overlap import warn_of_shared
from masr_modules.distributed import leave_group, rank
from masr_modules.knowledge import name_branches
from masr_modules.training.starter import RUN_LOCK, end_with_starter, hold

logger = logging.getLogger(__name__)


def start_experiment(arguments: list[str]) -> tuple[dict, dict]:
    """Reads the YAML with its overrides, makes the output folder and prepares the corpus.

    Arguments
    ---------
    arguments : list[str]
        The command line's arguments: the YAML, then `--key value`.

    Returns
    -------
    hparams, run_opts : dict
        The arguments of the same names of `sb.Brain`.

    Raises
    ------
    ValueError
        If the output folder is that of a run with other settings or inputs.
    RuntimeError
        If another process, which the message names, works in the output folder.
    """
    path, run_opts, overrides = parse_arguments(arguments)
    sb.utils.distributed.ddp_init_group(run_opts)
    atexit.register(leave_group)
    if rank() > 0:  # all ranks log the same, and SpeechBrain sets logging up on the first alone
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
    """Calls the YAML's `prepare` on one process, with the YAML's `skip_prep`.

    Arguments
    ---------
    hparams : mapping
        The experiment's settings. If `prepare` is missing or null, nothing is prepared, whatever
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
    """Prepares the corpus of a YAML once, before several runs share it.

    Arguments
    ---------
    arguments : list[str]
        The arguments of a run's command line: the YAML, then `--key value`.
    """
    path, _, overrides = parse_arguments(arguments)
    hparams = load_settings(path, overrides, only=("prepare", "skip_prep"))
    run_preparation(hparams)


def _claim(hparams: dict, text: str, test_only: bool) -> None:
    folder = Path(hparams["output_folder"])
    if test_only:  # a test may search or score in another way than the run was trained with
        check_same(folder, facts_of(text), kinds=("inputs",))
        return
    saved = Path(hparams.get("save_folder", folder)).glob("CKPT+*/CKPT.yaml")
    claim(folder, text, begun=any(saved) or (folder / "results.json").is_file())
    write_atomic(folder / "hyperparams.yaml", text)


def _check_ids(rows: dict[str, Mapping[str, dict]], hparams: dict) -> None:
    """Raises a ValueError if an ID has different rows in two splits.

    Metadata are looked up by ID, so that one utterance would get the other's labels.
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


def keep_per_speaker(rows: Mapping[str, dict], limit: int) -> dict[str, dict] | Rows:
    """Keeps at most `limit` utterances of each speaker and emotion, evenly spread over their rows.

    This keeps a few speakers with many utterances from deciding a metric. Utterances without a
    speaker are all kept. From `Rows`, which hold columns, it makes `Rows`.

    Example
    -------
    >>> import pyarrow as pa
    >>> speakers = ["s", "s", "s", "t"]
    >>> rows = Rows(pa.table({"ID": ["a", "b", "c", "d"], "speaker": speakers}))
    >>> list(keep_per_speaker(rows, 2))
    ['a', 'b', 'd']
    """
    spoken = defaultdict(list)
    columns = (column_of(rows, name) for name in ("speaker", "emotion"))
    for utterance, speaker, emotion in zip(rows, *columns, strict=True):
        if speaker:
            spoken[speaker, emotion].append(utterance)
    left_out: set[str] = set()
    for utterances in spoken.values():
        kept = {utterances[i * len(utterances) // limit] for i in range(limit)}
        left_out.update(u for u in utterances if u not in kept)
    if isinstance(rows, Rows):
        return rows.without(left_out)
    return {utterance: row for utterance, row in rows.items() if utterance not in left_out}


def _intact_references(rows: Mapping[str, dict], hparams: Mapping) -> dict[str, dict]:
    """Returns the utterances of an uncorrupted training set that probes may learn from."""
    if hparams.get("evaluated_per_speaker"):
        rows = keep_per_speaker(rows, hparams["evaluated_per_speaker"])
    logger.info(f"probes learn from {len(rows)} training utterances, with their own labels")
    # Of training audio, only the headers have been read so far.
    return drop_undecodable(rows, hparams["max_unreadable"])


def load_rows(hparams: dict) -> dict[str, dict[str, dict]]:
    """Loads the rows of an experiment's splits, without the unreadable utterances.

    The splits are train, valid and test, and `labelled` if the YAML names a CSV for it. With
    `evaluated_per_speaker`, each split but train keeps at most that many utterances of a speaker
    and emotion: see `keep_per_speaker`. The keys `left_out`, `family_depth`, `label_noise`,
    `missing_labels`, `permuted_columns` and `drop_non_candidates` change the training set;
    `labelled_share` is the fraction of `labelled` that is kept. If the training set is corrupted
    and the YAML names no CSV for `labelled`, `labelled` is the training set before the corruption,
    so that probes measure the encoder, and not the corruption of the labels that they learn from.

    Returns
    -------
    dict
        Split -> ID -> row.

    Raises
    ------
    ValueError
        If an ID has different rows in two splits, or `labelled_share` is set without
        `labelled_csv`.
    """
    splits = ["train", "valid", "test"]
    share = hparams.get("labelled_share", 1)
    if hparams.get("labelled_csv"):
        splits.append("labelled")
    elif share != 1:
        raise ValueError(
            f"labelled_share is {share}, a fraction of labelled_csv, but labelled_csv is not "
            "set: name a CSV there, or remove labelled_share"
        )
    rows = {}
    for split in splits:
        source = hparams[f"{split}_csv"]
        memory = Path(hparams["output_folder"], f"{split}_readable.sha256")
        if isinstance(source, str):  # the memory lies beside the CSV, where all runs find it
            memory = Path(source).with_suffix(".readable.sha256")
        every = load_corpora(source, hparams["data_folder"])
        if split != "train" and hparams.get("evaluated_per_speaker"):
            every = keep_per_speaker(every, hparams["evaluated_per_speaker"])
        # Training audio is decoded only in training, which then finds the files that cannot be.
        limit, decode = hparams["max_unreadable"], split != "train"
        rows[split] = drop_unreadable(every, limit, memory=memory, decode=decode)
    _check_ids(rows, hparams)
    warn_of_shared(rows)
    checks = hparams.get("drop_non_candidates") or {}
    intact = name_branches(rows["train"], hparams.get("family_depth", 1))
    corrupted = corrupt(intact, hparams, hparams["seed"])
    if "labelled" not in rows and corrupted is not intact:
        rows["labelled"] = _intact_references(drop_non_candidates(intact, checks), hparams)
    rows["train"] = drop_non_candidates(corrupted, checks)
    if share != 1:
        probed = (hparams.get("probe_column", "language"), "gender", "emotion")
        rows["labelled"] = keep_share(rows["labelled"], share, probed, hparams["seed"])
    return rows
