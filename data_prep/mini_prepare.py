"""The mini corpus: about an hour of synthetic speech in many languages, made on the spot.

Nothing is downloaded: eSpeak NG speaks dates, quantities, names and numbers in
words (``mini_text.py``) with its voice variants as speakers (``mini_voices.py``).
It serves to try recipes and to test them. It is no substitute for recordings:
the languages share one engine, and ``emotion`` is a *simulated speaking style*,
made of rate, pitch, pitch range and volume (``mini_plan.py`` deals them out).

Training, validation and test differ in speakers and in sentences. The same seed
gives the same bytes in any order, with any number of workers; more hours or
more languages only add utterances to those of a smaller corpus.

eSpeak NG is licensed under the GPL-3. It comes with the package
``espeakng-loader`` and runs as a separate process (``espeak_worker.py``).

Example
-------
``python -m data_prep.mini_prepare --data_folder data/mini --save_folder data/mini/csv``
"""

import argparse
import json
import logging
import os

from tqdm import tqdm

from data_prep import espeak_synthesis
from data_prep.common import SPLITS, atomic_file, check_disjoint, summarise, write_csv
from data_prep.mini_plan import Utterance, plan_corpus
from data_prep.mini_vocabulary import check_languages, has_digits
from masr_modules.languages import language_family, language_region, resolve_language

logger = logging.getLogger(__name__)

SETTINGS_FILE = "mini_settings.json"


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
        If a digit has found its way into the text.
    """
    assert not has_digits(utterance.text), f"{utterance.ID}: digits in {utterance.text!r}"
    language = resolve_language(utterance.code)
    return {
        "ID": utterance.ID,
        "duration": duration,
        "wav": f"$data_root/{utterance.file}",
        "language": language,
        "language_label": utterance.code,
        "family": language_family(utterance.code),
        "region": language_region(utterance.code),
        "speaker": f"espeak_{utterance.voice.name}",
        "gender": utterance.voice.gender,
        "emotion": utterance.emotion,
        "source": "espeak-ng",
        "text": utterance.text,
    }


def speak_corpus(
    plan: dict[str, list[Utterance]], data_folder: str, num_workers: int
) -> dict[str, float]:
    """Speak the utterances that are not there yet.

    Arguments
    ---------
    plan : dict of str to list of Utterance
        The utterances of each side.
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
    for utterance in (utterance for side in plan.values() for utterance in side):
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


def is_prepared(data_folder: str, save_folder: str, settings: dict) -> bool:
    """Whether the CSVs are there, made with these settings, and all of their files.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    save_folder : str
        Folder of the CSVs.
    settings : dict
        The settings of this run.

    Returns
    -------
    bool
        True if there is nothing to do.
    """
    try:
        with open(os.path.join(save_folder, SETTINGS_FILE), encoding="utf-8") as file:
            saved = json.load(file)
    except (OSError, ValueError):
        return False
    if saved.get("settings") != settings:
        return False
    if not all(os.path.exists(os.path.join(save_folder, f"{side}.csv")) for side in SPLITS):
        return False
    return all(
        espeak_synthesis.duration_if_made(os.path.join(data_folder, file), key) is not None
        for file, key in saved["files"].items()
    )


def prepare_mini(
    data_folder: str,
    save_folder: str,
    languages: list[str] | None = None,
    hours: float = 1.2,
    seed: int = 1234,
    num_workers: int = 2,
    skip_prep: bool = False,
) -> None:
    """Make the mini corpus and its CSVs.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus; the speech goes to its folder ``wav``.
    save_folder : str
        Folder of ``train.csv``, ``valid.csv`` and ``test.csv``.
    languages : list of str, optional
        Codes of the languages (default: 24 of Europe and South Asia).
    hours : float
        Hours over all languages and sides.
    seed : int
        Seed of everything that is drawn.
    num_workers : int
        How many processes speak at once; the result does not depend on it.
    skip_prep : bool
        If True, nothing is done.

    Raises
    ------
    ValueError
        If a language is unknown, or the hours or the workers are not positive.
    RuntimeError
        If the engine fails.

    Example
    -------
    >>> prepare_mini("data/mini", "data/mini/csv", ["fr", "de"], skip_prep=True)
    """
    if skip_prep:
        return
    if hours <= 0 or num_workers < 1:
        raise ValueError(f"hours ({hours}) and num_workers ({num_workers}) have to be positive")
    codes = check_languages(languages)
    settings = {
        "languages": list(codes),
        "hours": hours,
        "seed": seed,
        "engine": espeak_synthesis.engine_version(),
    }
    if is_prepared(data_folder, save_folder, settings):
        logger.info("the mini corpus is there already: %s", save_folder)
        return
    plan = plan_corpus(codes, hours, seed, num_workers)
    durations = speak_corpus(plan, data_folder, num_workers)
    plan = {side: [u for u in plan[side] if u.ID in durations] for side in SPLITS}
    rows = {side: [make_row(u, durations[u.ID]) for u in plan[side]] for side in SPLITS}
    _write_corpus(save_folder, settings, plan, rows)
    logger.info("%s", summarise(rows))


def _write_corpus(save_folder: str, settings: dict, plan: dict, rows: dict) -> None:
    """Check the splits, then write the CSVs and, last, the settings."""
    check_disjoint(rows, ("speaker",))
    check_disjoint(rows, ("language", "text"))
    groups = {side: [{"voices like": u.voice.group} for u in plan[side]] for side in SPLITS}
    check_disjoint(groups, ("voices like",))
    settings_path = os.path.join(save_folder, SETTINGS_FILE)
    if os.path.exists(settings_path):
        os.remove(settings_path)  # what is interrupted from here on is not taken for complete
    for side in SPLITS:
        write_csv(os.path.join(save_folder, f"{side}.csv"), rows[side])
    utterances = [utterance for side in SPLITS for utterance in plan[side]]
    files = {u.file: espeak_synthesis.job_key(u.job) for u in utterances}
    with atomic_file(settings_path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump({"settings": settings, "files": files}, file, indent=1)


def main() -> None:
    """Prepare the corpus from the command line."""
    parser = argparse.ArgumentParser(description="Make a small corpus of synthetic speech.")
    parser.add_argument("--data_folder", required=True, help="folder of the corpus")
    parser.add_argument("--save_folder", required=True, help="folder of the CSVs")
    parser.add_argument("--languages", nargs="+", help="codes such as fr de (default: 24)")
    parser.add_argument("--hours", type=float, default=1.2, help="hours over all sides")
    parser.add_argument("--seed", type=int, default=1234, help="seed of everything drawn")
    parser.add_argument("--num_workers", type=int, default=2, help="synthesis processes")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    prepare_mini(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
