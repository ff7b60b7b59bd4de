"""The Debian corpus: about nine hours of people speaking 30 languages, from Debian packages.

The recordings come with games, a drawing program and a telephone exchange
(``debian_packages.py``); licences differ and allow use and redistribution (column
``licence``). Packages are downloaded with apt, or taken as .deb files from
``DATA_FOLDER/packages``. The text is what the packages' own files say
(``debian_clips.py``); it is kept where its length fits the recording.

Most languages come from one source and one voice, hence the protocols:

- ``source_disjoint``: every source is on one side. The only one that says anything about
  language.
- ``random``: measures the recording channel and the voice. Upper bound, not a result.
- ``asr``: the random split of utterances whose text can be trusted; no sentence on two sides.

``trials_within_source.csv`` (enrol, test, target) holds speaker verification trials of the test
set, within source and language: none where no source and language has two known speakers.

Example
-------
``python -m data_prep.debian_prepare --data_folder data/debian --save_folder data/debian/csv``
"""

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from typing import Literal, get_args

from tqdm import tqdm

from data_prep.common.command_line import run
from data_prep.common.corpus import SPLITS, language_cells
from data_prep.common.headers import BrokenAudio
from data_prep.common.skips import SkipRegister
from data_prep.common.trials import remove_trials, trials_path, write_trials
from data_prep.common.writing import is_prepared, write_corpus
from data_prep.debian.audio import LEVEL, SAMPLE_RATE, convert
from data_prep.debian.clips import Clip, read_clips
from data_prep.debian.packages import PACKAGES, fetch_packages, unpack
from data_prep.debian.splits import (
    check_texts,
    speaker_trials,
    split_by_source,
    split_random,
)

logger = logging.getLogger(__name__)

Protocol = Literal["source_disjoint", "random", "asr"]
PROTOCOLS = get_args(Protocol)
#: Name of the list of trials.
TRIALS = "within_source"
#: Of the random split and the trials.
SEED = 1234
#: Beyond the schema; `sentence` and `recording` are fingerprints.
EXTRA_COLUMNS = ("character", "level", "sentence", "recording", "package", "licence")


def make_row(clip: Clip, wav: str, duration: float, recording: str) -> dict[str, object]:
    """Describe a recording by the schema's columns, and some of its own.

    Arguments
    ---------
    clip : Clip
        The recording.
    wav : str
        Its converted file, relative to the corpus' folder.
    duration : float
        Seconds.
    recording : str
        Fingerprint of its samples.

    Returns
    -------
    dict of str to object
        Its row.
    """
    source, language = clip.package.source, language_cells(clip.label)
    words = " ".join(re.findall(r"\w+", clip.text.casefold()))
    sentence = (
        hashlib.sha256(f"{language['language']}/{words}".encode()).hexdigest()[:16] if words else ""
    )
    return {
        "ID": re.sub(r"\s", "_", f"debian_{source}_{clip.label}_{clip.name.replace('/', '.')}"),
        "duration": duration,
        "wav": f"$data_root/{wav}",
        **language,
        "speaker": clip.speaker,
        "gender": clip.gender,
        "source": source,
        "text": clip.text,
        "character": clip.character,
        "level": clip.level,
        "sentence": sentence,
        "recording": recording,
        "package": clip.package.name,
        "licence": clip.package.licence,
    }


def convert_clips(
    clips: list[Clip], data_folder: str, skips: SkipRegister
) -> list[dict[str, object]]:
    """Convert recordings that are not there yet, and describe those that can be used.

    Of copies of one recording the first is kept; copies under different languages
    are left out altogether, for one of the labels is wrong.

    Arguments
    ---------
    clips : list of Clip
        The recordings.
    data_folder : str
        Folder of the corpus; WAV files go to its folder ``wav``.
    skips : SkipRegister
        Where those left out are counted.

    Returns
    -------
    list of dict
        Rows in the order of the clips.
    """
    rows = []
    for clip in tqdm(clips, desc="converting", unit="recording"):
        wav = f"wav/{clip.package.source}/{clip.label}/{clip.name}.wav"
        key = os.path.relpath(clip.path, data_folder).replace(os.sep, "/")
        try:
            audio = convert(clip.path, os.path.join(data_folder, wav), key)
        except BrokenAudio as broken:
            skips.skip(f"{clip.package.source}: {broken}", clip.path)
        else:
            rows.append(make_row(clip, wav, audio.duration, audio.recording))
    languages: dict[object, set] = {}
    for row in rows:
        languages.setdefault(row["recording"], set()).add(row["language"])
    kept: dict[object, dict] = {}
    for row in rows:
        if len(languages[row["recording"]]) > 1:
            skips.exclude(f"{row['source']}: copy under another language", row["ID"])
        elif row["recording"] in kept:
            skips.exclude(f"{row['source']}: copy of another recording", row["ID"])
        else:
            kept[row["recording"]] = row
    skips.kept += len(kept)
    return list(kept.values())


def split(
    rows: list[dict], protocol: Protocol, test_sources: Sequence[str], valid_sources: Sequence[str]
) -> dict[str, list[dict]]:
    """The sides of a protocol.

    Arguments
    ---------
    rows : list of dict
        All utterances.
    protocol : str
        One of `PROTOCOLS`.
    test_sources, valid_sources : sequence of str
        Of the source-disjoint split.

    Returns
    -------
    dict of str to list of dict
        The sides.

    Raises
    ------
    ValueError
        If a source is on both lists, or a side is empty.
    """
    if protocol == "source_disjoint":
        return split_by_source(rows, test_sources, valid_sources)
    trusted = [row for row in rows if row["text"]] if protocol == "asr" else rows
    return split_random(trusted, SEED)


def prepare_debian(
    data_folder: str,
    save_folder: str,
    packages: Sequence[str] | None = None,
    protocol: Protocol = "source_disjoint",
    test_sources: Sequence[str] = ("asterisk", "ktuberling"),
    valid_sources: Sequence[str] = ("klettres",),
    skip_limit: float = 0.01,
    skip_prep: bool = False,
) -> None:
    """Make the Debian corpus and the CSVs of a protocol.

    Interrupted work goes on where it was when the same command is given again.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus. Its folder ``packages`` holds the .deb files; those that
        are missing are downloaded with apt.
    save_folder : str
        Folder of ``train.csv``, ``valid.csv``, ``test.csv`` and
        ``trials_within_source.csv``.
    packages : sequence of str, optional
        Names of the packages (default: all that are known).
    protocol : str
        ``source_disjoint``, ``random`` or ``asr``.
    test_sources, valid_sources : sequence of str
        Of the source-disjoint split.
    skip_limit : float
        Largest share of the recordings that may be broken.
    skip_prep : bool
        If True, nothing is done.

    Raises
    ------
    FileNotFoundError
        If packages are missing and there is no apt.
    RuntimeError
        If apt fails.
    ValueError
        If a package or protocol is unknown, a package or too many recordings are
        broken, or a side is empty.

    Example
    -------
    >>> prepare_debian("data/debian", "data/debian/csv", skip_prep=True)
    """
    if skip_prep:
        return
    names = list(PACKAGES) if packages is None else list(packages)
    unknown = [name for name in names if name not in PACKAGES]
    if unknown or not names:
        raise ValueError(f"packages {unknown}: none of those known ({', '.join(PACKAGES)})")
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
    debs = fetch_packages(names, os.path.join(data_folder, "packages"))
    settings = {
        "packages": sorted(os.path.basename(path) for path in debs.values()),
        "protocol": protocol,
        "sources": [list(test_sources), list(valid_sources)],
        "audio": [SAMPLE_RATE, LEVEL],
    }
    if is_prepared(save_folder, settings, [*SPLITS, f"trials_{TRIALS}"]):
        return
    unpacked = os.path.join(data_folder, "unpacked")
    roots = [(PACKAGES[name], unpack(path, unpacked)) for name, path in debs.items()]
    skips = SkipRegister(skip_limit)
    rows = convert_clips(read_clips(roots), data_folder, skips)
    skips.check()
    check_texts(rows, skips)
    sides = split(rows, protocol, test_sources, valid_sources)
    disjoint = [("recording",), ("source",) if protocol == "source_disjoint" else ("sentence",)]
    labelled = ((side, row) for side, members in sides.items() for row in members)
    remove_trials(save_folder, [TRIALS])
    write_corpus(save_folder, labelled, settings, skips, EXTRA_COLUMNS, disjoint)
    count = write_trials(trials_path(save_folder, TRIALS), speaker_trials(sides["test"], SEED))
    logger.info("trials %s: %d", TRIALS, count)


if __name__ == "__main__":
    run(prepare_debian)
