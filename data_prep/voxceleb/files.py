"""Speakers, their files and their metadata in a VoxCeleb folder."""

import glob
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from data_prep.common.skips import SkipRegister
from data_prep.common.tables import read_table
from masr_modules.data.csv_text import open_text
from masr_modules.knowledge.territories import territory_code

#: A speaker's folder. VoxCeleb1 has id10001 to id11251, VoxCeleb2 id00012 to id09279.
SPEAKER = re.compile(r"id([01])\d{4}")

#: Folders beside the audio, with a file for each clip that is not audio.
NO_AUDIO = {"txt", "mp4", "vid"}

GENDERS = {"m": "male", "f": "female"}


class Clip(NamedTuple):
    """One utterance: `file` is relative to the corpus's folder."""

    ID: str
    speaker: str
    video: str
    file: str


def corpus_of(speaker: str) -> str:
    """Returns the corpus to which a speaker's number belongs.

    Example
    -------
    >>> corpus_of("id10270"), corpus_of("id00012")
    ('voxceleb1', 'voxceleb2')
    """
    return "voxceleb1" if SPEAKER.fullmatch(speaker)[1] == "1" else "voxceleb2"


def clip_id(speaker: str, video: str, name: str) -> str:
    """Returns the ID of an utterance.

    Example
    -------
    >>> clip_id("id10270", "5r0dWxy17C8", "00001")
    'voxceleb1_id10270--5r0dWxy17C8--00001'
    """
    return f"{corpus_of(speaker)}_{speaker}--{video}--{name}"


def find_roots(data_folder: str, depth: int = 3) -> list[str]:
    """Finds the folders that hold speakers' folders, such as `wav`, `dev/wav` and `dev/aac`.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    depth : int
        Number of levels below `data_folder` to search.

    Returns
    -------
    list of str
        Sorted paths relative to `data_folder`.
    """
    roots, level = [], [""]
    for _ in range(depth + 1):
        below = []
        for folder in level:
            with os.scandir(os.path.join(data_folder, folder)) as entries:
                names = [entry.name for entry in entries if entry.is_dir()]
            if any(SPEAKER.fullmatch(name) for name in names):
                roots.append(folder)
                continue
            visible = (n for n in names if not n.startswith(".") and n not in NO_AUDIO)
            below += [os.path.join(folder, name) for name in visible]
        level = below
    return sorted(roots)


def find_speakers(data_folder: str) -> dict[str, list[str]]:
    """Finds the folders of each speaker.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.

    Returns
    -------
    dict of str to list of str
        Speaker -> folders relative to `data_folder`, those in `aac` last, as their files have
        usually been converted to another folder.
    """
    folders: dict[str, list[str]] = {}
    for root in sorted(find_roots(data_folder), key=lambda root: os.path.basename(root) == "aac"):
        for name in os.listdir(os.path.join(data_folder, root)):
            if SPEAKER.fullmatch(name):
                folders.setdefault(name, []).append(os.path.join(root, name))
    return dict(sorted(folders.items()))


def list_videos(data_folder: str, folders: list[str]) -> dict[str, list[str]]:
    """Lists a speaker's videos.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    folders : list of str
        The speaker's folders.

    Returns
    -------
    dict of str to list of str
        Video, sorted -> its folders relative to `data_folder`, in the order of `folders`.
    """
    videos: dict[str, list[str]] = {}
    for folder in folders:
        with os.scandir(os.path.join(data_folder, folder)) as entries:
            for entry in entries:
                if entry.is_dir() and not entry.name.startswith("."):
                    videos.setdefault(entry.name, []).append(f"{folder}/{entry.name}")
    return dict(sorted(videos.items()))


def list_files(data_folder: str, folders: list[str]) -> tuple[dict, dict]:
    """Lists the audio files of a video; other files (macOS's `._*`, .txt) are ignored.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    folders : list of str
        The video's folders.

    Returns
    -------
    wavs, waiting : dict of str to list of str
        Clip -> its .wav files, and clip -> its .m4a files where it has no .wav in any folder.
    """
    wavs: dict[str, list[str]] = {}
    compressed: dict[str, list[str]] = {}
    for folder in folders:
        for name in sorted(os.listdir(os.path.join(data_folder, folder))):
            stem, _, extension = name.rpartition(".")
            if not name.startswith(".") and extension in ("wav", "m4a"):
                found = wavs if extension == "wav" else compressed
                found.setdefault(stem, []).append(f"{folder}/{name}")
    return wavs, {stem: files for stem, files in compressed.items() if stem not in wavs}


def list_clips(
    data_folder: str, speaker: str, video: str, folders: list[str], skips: SkipRegister
) -> Iterator[Clip]:
    """Lists the utterances of a video.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    speaker : str
        The video's speaker.
    video : str
        The video's name.
    folders : list of str
        The video's folders, relative to `data_folder`.
    skips : SkipRegister
        Counts .m4a files without a .wav, notes copies of a .wav.

    Yields
    ------
    Clip
        Utterances, sorted by name.

    Raises
    ------
    ValueError
        If two files of one utterance differ in size; the message names both.
    """
    wavs, waiting = list_files(data_folder, folders)
    prefix = clip_id(speaker, video, "")
    for stem, (first, *copies) in sorted(wavs.items()):
        for copy in copies:
            expect_copy(data_folder, first, copy)
            skips.note("copy of an utterance, the other file is taken", copy)
        yield Clip(prefix + stem, speaker, video, first)
    for _, (first, *_) in sorted(waiting.items()):
        skips.skip("m4a without a wav, which data_prep.voxceleb_convert makes", first)


def expect_copy(data_folder: str, first: str, second: str) -> None:
    """Raises where two files of one utterance differ in size.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    first, second : str
        Paths of the files, relative to the folder.

    Raises
    ------
    ValueError
        If the sizes differ, so that it is unknown which file is the utterance.
    """
    sizes = [os.path.getsize(os.path.join(data_folder, file)) for file in (first, second)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"{data_folder}: {first} ({sizes[0]} bytes) and {second} ({sizes[1]} bytes) are one "
            "utterance by their names, but differ: remove the wrong one, or its folder"
        )


def find_file(data_folder: str, name: str) -> str | None:
    """Finds a file of metadata or trials in the folder, in `meta`, or one level further down.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    name : str
        Name of the file.

    Returns
    -------
    str or None
        Path of the file; None if it is not there.
    """
    base = glob.escape(data_folder)
    places = (f"{base}/{place}{name}" for place in ("", "meta/", "*/", "*/meta/"))
    return next((path for place in places for path in sorted(glob.glob(place))), None)


def read_speakers(
    data_folder: str, corpus: str, skips: SkipRegister, required: bool = True
) -> dict[str, dict]:
    """Reads `vox1_meta.csv` or `vox2_meta.csv`.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    corpus : str
        `voxceleb1` or `voxceleb2`.
    skips : SkipRegister
        Counts malformed lines, notes unknown genders and nationalities, and a missing file.
    required : bool
        Whether the file has to be there.

    Returns
    -------
    dict of str to dict
        Speaker -> `gender`, `set` (dev or test), and for VoxCeleb1 `nationality` and its
        `region`; empty where the file is missing.

    Raises
    ------
    FileNotFoundError
        If the file is required and missing.
    """
    name = f"vox{corpus[-1]}_meta.csv"
    path = find_file(data_folder, name)
    if path is None:
        problem = (
            f"{data_folder}: no {name}, neither there nor in its folder meta; the VoxCeleb site "
            "offers it with the audio"
        )
        if required:
            raise FileNotFoundError(problem)
        skips.note("no metadata: genders and the test speakers are not known", problem)
        return {}
    with open_text(path) as file:
        delimiter = "\t" if b"\t" in file.readline() else ","
    identity = f"VoxCeleb{corpus[-1]} ID"
    speakers = {}
    for where, cells in read_table(path, skips, delimiter, required=[identity, "Gender", "Set"]):
        gender = GENDERS.get(cells["Gender"].lower())
        if gender is None:
            skips.note("unknown gender, left empty", f"{where}: {cells['Gender']!r}")
        speaker = {"gender": gender, "set": cells["Set"].lower()}
        if nationality := cells.get("Nationality"):
            speaker |= {"nationality": nationality, "region": territory_code(nationality)}
            if speaker["region"] is None:
                skips.note("unknown country, region left empty", f"{where}: {nationality!r}")
        speakers[cells[identity]] = speaker
    return speakers


def refuse_unconverted(data_folder: str, speakers: dict[str, list[str]]) -> None:
    """Raises where a speaker has .m4a files and no .wav at all.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    speakers : dict of str to list of str
        Speaker that the protocol uses -> folders.

    Raises
    ------
    ValueError
        If there is such a speaker; the message gives the command that converts the files.
    """
    waiting = [s for s, folders in speakers.items() if _is_unconverted(data_folder, folders)]
    if waiting:
        raise ValueError(
            f"{len(waiting)} speakers have .m4a files that are not converted to wav (first: "
            f"{speakers[waiting[0]][0]}). Convert them once: python -m data_prep.voxceleb_convert "
            f"--data_folder {data_folder}"
        )


def _is_unconverted(data_folder: str, folders: list[str]) -> bool:
    """Tells whether a speaker has .m4a files and no .wav; it stops at the first .wav."""
    unconverted = False
    for folder in folders:
        for inside in list_videos(data_folder, [folder]).values():
            wavs, waiting = list_files(data_folder, inside)
            if wavs:
                return False
            unconverted |= bool(waiting)
    return unconverted
