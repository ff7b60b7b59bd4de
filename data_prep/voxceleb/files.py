"""What a VoxCeleb folder holds: speakers, their files and their metadata."""

import glob
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from data_prep.common.skips import SkipRegister
from data_prep.common.tables import read_table
from masr_modules.knowledge.territories import territory_code

#: A speaker's folder. VoxCeleb1 has id10001 to id11251, VoxCeleb2 id00012 to id09279.
SPEAKER = re.compile(r"id([01])\d{4}")

#: Folders beside the audio, with a file a clip that is no audio.
NO_AUDIO = {"txt", "mp4", "vid"}

GENDERS = {"m": "male", "f": "female"}


class Clip(NamedTuple):
    """One utterance: `file` is relative to the corpus's folder."""

    ID: str
    speaker: str
    video: str
    file: str


def corpus_of(speaker: str) -> str:
    """The corpus that a speaker's number belongs to.

    Example
    -------
    >>> corpus_of("id10270"), corpus_of("id00012")
    ('voxceleb1', 'voxceleb2')
    """
    return "voxceleb1" if SPEAKER.fullmatch(speaker)[1] == "1" else "voxceleb2"


def clip_id(speaker: str, video: str, name: str) -> str:
    """The ID of an utterance.

    Example
    -------
    >>> clip_id("id10270", "5r0dWxy17C8", "00001")
    'voxceleb1_id10270--5r0dWxy17C8--00001'
    """
    return f"{corpus_of(speaker)}_{speaker}--{video}--{name}"


def find_roots(data_folder: str, depth: int = 3) -> list[str]:
    """The folders that hold speakers' folders, such as `wav`, `dev/wav` and `dev/aac`.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    depth : int
        How many levels down to look.

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
    """Where each speaker's files are.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.

    Returns
    -------
    dict of str to list of str
        Speaker -> folders relative to `data_folder`, sorted. A folder in `aac` is not
        among them where the folder `wav` beside it has that speaker: it was converted.
    """
    folders: dict[str, list[str]] = {}
    for root in find_roots(data_folder):
        converted = set()
        if os.path.basename(root) == "aac":
            wav = os.path.join(data_folder, os.path.dirname(root), "wav")
            converted = set(os.listdir(wav)) if os.path.isdir(wav) else set()
        for name in os.listdir(os.path.join(data_folder, root)):
            if SPEAKER.fullmatch(name) and name not in converted:
                folders.setdefault(name, []).append(os.path.join(root, name))
    return {speaker: sorted(folders[speaker]) for speaker in sorted(folders)}


def list_videos(data_folder: str, folders: list[str]) -> list[tuple[str, str]]:
    """A speaker's videos.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    folders : list of str
        The speaker's folders.

    Returns
    -------
    list of (str, str)
        Video and its folder relative to `data_folder`, sorted.
    """
    videos = []
    for folder in folders:
        with os.scandir(os.path.join(data_folder, folder)) as entries:
            videos += [(e.name, f"{folder}/{e.name}") for e in entries if e.is_dir()]
    return sorted((v, f) for v, f in videos if not v.startswith("."))


def list_clips(
    data_folder: str, speaker: str, video: str, folder: str, skips: SkipRegister
) -> Iterator[Clip]:
    """The utterances of a video; other files (`._*` of a Mac, .txt) are passed over.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    speaker : str
        Who speaks.
    video : str
        Its name.
    folder : str
        Its folder, relative to `data_folder`.
    skips : SkipRegister
        Counts .m4a files without a .wav beside them.

    Yields
    ------
    Clip
        Sorted by name.
    """
    names = sorted(os.listdir(os.path.join(data_folder, folder)))
    there, prefix = set(names), clip_id(speaker, video, "")
    for name in names:
        stem, _, extension = name.rpartition(".")
        if name.startswith("."):
            continue
        if extension == "wav":
            yield Clip(prefix + stem, speaker, video, f"{folder}/{name}")
        elif extension == "m4a" and f"{stem}.wav" not in there:
            skips.skip("m4a without a wav beside it", f"{folder}/{name}")


def find_file(data_folder: str, name: str) -> str | None:
    """A file of metadata or trials: in the folder, in `meta`, or one level further down.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    name : str
        Name of the file.

    Returns
    -------
    str or None
        Its path.
    """
    base = glob.escape(data_folder)
    places = (f"{base}/{place}{name}" for place in ("", "meta/", "*/", "*/meta/"))
    return next((path for place in places for path in sorted(glob.glob(place))), None)


def read_speakers(data_folder: str, corpus: str, skips: SkipRegister) -> dict[str, dict]:
    """Reads `vox1_meta.csv` or `vox2_meta.csv`.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    corpus : str
        `voxceleb1` or `voxceleb2`.
    skips : SkipRegister
        Counts malformed lines, notes unknown genders and nationalities.

    Returns
    -------
    dict of str to dict
        Speaker -> `gender`, `set` (dev or test), and for VoxCeleb1 `nationality` and its
        `region`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    name = f"vox{corpus[-1]}_meta.csv"
    path = find_file(data_folder, name)
    if path is None:
        raise FileNotFoundError(
            f"{data_folder}: no {name}, neither there nor in its folder meta; the VoxCeleb site "
            "offers it beside the audio"
        )
    with open(path, "rb") as file:
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
    """Raises where a speaker to be used has not been converted from .m4a.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    speakers : dict of str to list of str
        Speakers to be used -> folders.

    Raises
    ------
    ValueError
        If there are any: gives the command that converts them.
    """
    waiting = [
        speaker
        for speaker, folders in speakers.items()
        if any(f"/{folder}".endswith(f"/aac/{speaker}") for folder in folders)
    ]
    if waiting:
        raise ValueError(
            f"{len(waiting)} speakers have .m4a files that are not converted to wav (first: "
            f"{speakers[waiting[0]][0]}). Convert them once: python -m data_prep.voxceleb_convert "
            f"--data_folder {data_folder}"
        )
