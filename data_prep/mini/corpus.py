"""Making of the synthetic corpus: plan it, speak utterances that lack a file, write the CSVs."""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable

from tqdm import tqdm

from data_prep.common.checks import check_disjoint
from data_prep.common.corpus import language_cells
from data_prep.common.writing import is_prepared, write_corpus
from data_prep.mini import espeak_synthesis
from data_prep.mini.plan import SPLITS, Utterance, plan_corpus
from data_prep.mini.vocabulary import check_languages, has_digits
from masr_modules.config.files import atomic_file

logger = logging.getLogger(__name__)

#: Name of the file that records the job from which each audio file was made.
FILES_FILE = "mini_files.json"


def make_row(utterance: Utterance, duration: float) -> dict[str, object]:
    """Describe a spoken utterance by the schema's columns.

    Arguments
    ---------
    utterance : Utterance
        The utterance.
    duration : float
        Duration of its file (seconds).

    Returns
    -------
    dict of str to object
        Its row.

    Raises
    ------
    AssertionError
        If the text has a digit.
    """
    assert not has_digits(utterance.text), f"{utterance.ID}: digits in {utterance.text!r}"
    return {
        "ID": utterance.ID,
        "duration": duration,
        "wav": f"$data_root/{utterance.file}",
        **language_cells(utterance.code),
        "speaker": f"espeak_{utterance.voice.name}",
        "gender": utterance.voice.gender,
        "emotion": utterance.emotion,
        "source": "espeak-ng",
        "text": utterance.text,
    }


def speak_corpus(
    plan: dict[str, list[Utterance]], data_folder: str, num_workers: int
) -> dict[str, float]:
    """Speak the utterances that have no file yet.

    Arguments
    ---------
    plan : dict of str to list of Utterance
        The utterances of each split.
    data_folder : str
        Folder of the corpus.
    num_workers : int
        How many processes to start.

    Returns
    -------
    dict of str to float
        ID -> duration (seconds) of each utterance that has a file.

    Raises
    ------
    RuntimeError
        If the engine fails on more than one utterance in twenty.
    """
    paths, durations, jobs = {}, {}, []
    for utterance in (utterance for split in plan.values() for utterance in split):
        path = paths[utterance.ID] = os.path.join(data_folder, utterance.file)
        key = espeak_synthesis.job_key(utterance.job)
        duration = espeak_synthesis.duration_if_made(path, key)
        if duration is None:
            jobs.append(utterance.job)
        else:
            durations[utterance.ID] = duration
    with tqdm(total=len(jobs), desc="speaking", unit="utt", disable=not jobs) as bar:
        made, errors = espeak_synthesis.synthesise(jobs, paths, num_workers, bar.update)
    for name, error in sorted(errors.items()):
        logger.warning("left out %s, %s", name, error)
    if errors:
        logger.warning("%d of %d utterances left out", len(errors), len(paths))
    if 20 * len(errors) > len(paths):
        raise RuntimeError(f"eSpeak NG failed on {len(errors)} of {len(paths)} utterances")
    return {**durations, **made}


def all_files_made(data_folder: str, save_folder: str) -> bool:
    """Tell whether every audio file of the last run is there, as that run made it.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    save_folder : str
        Folder of the CSVs.

    Returns
    -------
    bool
        Whether all files are there; False also where no run has been completed.
    """
    try:
        with open(os.path.join(save_folder, FILES_FILE), encoding="utf-8") as file:
            files = json.load(file)
    except (OSError, ValueError):
        return False
    return all(
        espeak_synthesis.duration_if_made(os.path.join(data_folder, name), key) is not None
        for name, key in files.items()
    )


def check_unheard(utterances: Iterable[tuple[str, Utterance]]) -> None:
    """Check that speakers of valid and test, and similar voices, are in no other split.

    Arguments
    ---------
    utterances : iterable of (str, Utterance)
        Split and utterance.

    Raises
    ------
    AssertionError
        If a voice, or two similar voices, are in two splits; the message names both splits.
    """
    voices = defaultdict(list)
    for split, utterance in utterances:
        where = "train or labelled" if split in ("train", "labelled") else split
        voice = {"voice": utterance.voice.name, "voices like": utterance.voice.group}
        voices[where].append(voice)
    check_disjoint(voices, ("voice",))
    check_disjoint(voices, ("voices like",))


def make_corpus(
    data_folder: str,
    save_folder: str,
    languages: list[str] | None,
    hours: float,
    seed: int,
    num_workers: int,
) -> None:
    """Make the corpus unless it is there already; for the arguments see `prepare_mini`."""
    codes = check_languages(languages)
    settings = {
        "languages": list(codes),
        "hours": hours,
        "seed": seed,
        "engine": espeak_synthesis.engine_version(),
    }
    if all_files_made(data_folder, save_folder) and is_prepared(save_folder, settings, SPLITS):
        return
    plan = plan_corpus(codes, hours, seed, num_workers)
    durations = speak_corpus(plan, data_folder, num_workers)
    plan = {split: [u for u in plan[split] if u.ID in durations] for split in SPLITS}
    utterances = [(split, utterance) for split in SPLITS for utterance in plan[split]]
    check_unheard(utterances)
    files = {u.file: espeak_synthesis.job_key(u.job) for _, u in utterances}
    path = os.path.join(save_folder, FILES_FILE)
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(files, file, indent=1)
    rows = ((split, make_row(u, durations[u.ID])) for split, u in utterances)
    write_corpus(save_folder, rows, settings, disjoint=[("language", "text")], splits=SPLITS)
