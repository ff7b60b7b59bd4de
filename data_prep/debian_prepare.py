"""The Debian corpus: about nine hours of people speaking 30 languages, from Debian packages.

The recordings come with games, a drawing program and a telephone exchange
(``debian/packages.py``); their licences differ, and all allow use and redistribution (column
``licence``). Packages are downloaded with apt, or taken as .deb files from
``DATA_FOLDER/packages``. The texts come from the packages' own files (``debian/clips.py``); a
text is kept where its length fits the recording.

Each task has its folder of CSVs: ``pretrain``, ``asr`` and ``speaker``. Pretraining trains on
nothing that the others validate or test on (``debian/splits.py``), so that one encoder serves
both. ``speaker/trials_within_language.csv`` (enrol, test, target) has the trials.

Most languages come from one source and one speaker, so no measurement on this corpus can separate
languages from recording channels.

Example
-------
``python -m data_prep.debian_prepare --data_folder data/debian --save_folder data/debian/csv``
"""

import hashlib
import logging
import os
import re
from collections import defaultdict

from tqdm import tqdm

from data_prep.common.checks import check_disjoint
from data_prep.common.command_line import run
from data_prep.common.corpus import SPLITS, language_cells
from data_prep.common.skips import SkipRegister
from data_prep.common.trials import remove_trials, trials_path, write_trials
from data_prep.common.writing import is_prepared, write_corpus
from data_prep.debian.audio import LEVEL, SAMPLE_RATE, convert
from data_prep.debian.clips import Clip, read_clips
from data_prep.debian.packages import PACKAGES, fetch_packages, unpack
from data_prep.debian.splits import (
    SEED,
    SHARES,
    SPEAKER_SOURCES,
    check_texts,
    speaker_trials,
    split_tasks,
)
from masr_modules.data.headers import BrokenAudio

logger = logging.getLogger(__name__)

#: Name of the list of trials.
TRIALS = "within_language"
#: Folder of each task -> names of its CSVs.
FILES = {"pretrain": SPLITS, "asr": SPLITS, "speaker": (*SPLITS, f"trials_{TRIALS}")}
#: Version of the output; raised when the same packages give other CSVs.
VERSION = 2
#: Columns beyond the schema; `sentence` and `recording` are fingerprints.
EXTRA_COLUMNS = ("sentence", "recording", "package", "licence")


def make_row(clip: Clip, wav: str, duration: float, recording: str) -> dict[str, object]:
    """Describe a recording by the schema's columns, and some of its own.

    Arguments
    ---------
    clip : Clip
        The recording.
    wav : str
        Its converted file, relative to the corpus's folder.
    duration : float
        Duration in seconds.
    recording : str
        Fingerprint of its samples, which identifies the sentence where no text is known.

    Returns
    -------
    dict of str to object
        Its row.
    """
    source, language = clip.package.source, language_cells(clip.label)
    words = " ".join(re.findall(r"\w+", clip.text.casefold()))
    sentence = hashlib.sha256(f"{language['language']}/{words}".encode()).hexdigest()[:16]
    return {
        "ID": re.sub(r"\s", "_", f"debian_{source}_{clip.label}_{clip.name.replace('/', '.')}"),
        "duration": duration,
        "wav": f"$data_root/{wav}",
        **language,
        "speaker": clip.speaker,
        "gender": clip.gender,
        "source": source,
        "text": clip.text,
        "sentence": sentence if words else recording,
        "recording": recording,
        "package": clip.package.name,
        "licence": clip.package.licence,
    }


def convert_clips(
    clips: list[Clip], data_folder: str, skips: SkipRegister
) -> list[dict[str, object]]:
    """Convert recordings that are not converted yet, and describe those that can be used.

    The first of several copies of a recording is kept. If copies have different languages, all of
    them are left out, because one of the labels is wrong.

    Arguments
    ---------
    clips : list of Clip
        The recordings.
    data_folder : str
        Folder of the corpus; WAV files go to its folder ``wav``.
    skips : SkipRegister
        Counts recordings that are left out.

    Returns
    -------
    list of dict
        Rows in the order of the clips.
    """
    copies = defaultdict(list)
    for clip in tqdm(clips, desc="converting", unit="recording"):
        wav = f"wav/{clip.package.source}/{clip.label}/{clip.name}.wav"
        key = os.path.relpath(clip.path, data_folder).replace(os.sep, "/")
        try:
            audio = convert(clip.path, os.path.join(data_folder, wav), key)
        except BrokenAudio as broken:
            skips.skip(f"{clip.package.source}: {broken}", clip.path)
        else:
            copies[audio.recording].append(make_row(clip, wav, audio.duration, audio.recording))
    rows = []
    for first, *others in copies.values():
        contradicted = any(row["language"] != first["language"] for row in others)
        reason = "copy under another language" if contradicted else "copy of another recording"
        for row in [first, *others] if contradicted else others:
            skips.exclude(f"{row['source']}: {reason}", row["ID"])
        rows += [] if contradicted else [first]
    skips.kept += len(rows)
    return rows


def write_tasks(save_folder: str, rows: list[dict], settings: dict) -> None:
    """Write the CSVs of every task, and the trials.

    Arguments
    ---------
    save_folder : str
        Folder in which each task gets a folder.
    rows : list of dict
        All utterances.
    settings : dict
        Everything that the result depends on.

    Raises
    ------
    AssertionError
        If pretraining trains on what another task validates or tests on.
    """
    tasks = split_tasks(rows)
    speaker = os.path.join(save_folder, "speaker")
    remove_trials(speaker, [TRIALS])
    kept_away = [row for t in ("asr", "speaker") for s in SPLITS[1:] for row in tasks[t][s]]
    seen = {"pretrain/train": tasks["pretrain"]["train"], "validation or test": kept_away}
    check_disjoint(seen, ("sentence",))
    for task, splits in tasks.items():
        labelled = ((split, row) for split, members in splits.items() for row in members)
        disjoint = [("recording",), ("sentence",)]
        folder = os.path.join(save_folder, task)
        write_corpus(folder, labelled, settings, None, EXTRA_COLUMNS, disjoint)
    count = write_trials(trials_path(speaker, TRIALS), speaker_trials(tasks["speaker"]["test"]))
    logger.info("trials %s: %d", TRIALS, count)


def prepare_debian(
    data_folder: str, save_folder: str, skip_limit: float = 0.01, skip_prep: bool = False
) -> None:
    """Make the Debian corpus and the CSVs of its tasks.

    Run the same command again to resume.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus. Its folder ``packages`` holds the .deb files; those that
        are missing are downloaded with apt.
    save_folder : str
        Its folders ``pretrain``, ``asr`` and ``speaker`` get ``train.csv``, ``valid.csv`` and
        ``test.csv`` each.
    skip_limit : float
        Largest fraction of the recordings that may be broken.
    skip_prep : bool
        If True, nothing is done.

    Raises
    ------
    FileNotFoundError
        If packages are missing and apt-get is not installed.
    RuntimeError
        If apt-get fails.
    ValueError
        If a package is broken, or too many recordings are.

    Example
    -------
    >>> prepare_debian("data/debian", "data/debian/csv", skip_prep=True)
    """
    if skip_prep:
        return
    debs = fetch_packages(list(PACKAGES), os.path.join(data_folder, "packages"))
    settings = {
        "corpus": "debian",
        "version": VERSION,
        "packages": sorted(os.path.basename(path) for path in debs.values()),
        "split": [SEED, SHARES, SPEAKER_SOURCES],
        "audio": [SAMPLE_RATE, LEVEL],
    }
    folders = {task: os.path.join(save_folder, task) for task in FILES}
    if all(is_prepared(folders[task], settings, names) for task, names in FILES.items()):
        return
    unpacked = os.path.join(data_folder, "unpacked")
    roots = [(PACKAGES[name], unpack(path, unpacked)) for name, path in debs.items()]
    skips = SkipRegister(skip_limit)
    rows = convert_clips(read_clips(roots), data_folder, skips)
    skips.check()
    check_texts(rows, skips)
    logger.info(skips.report())
    write_tasks(save_folder, rows, settings)


if __name__ == "__main__":
    run(prepare_debian)
