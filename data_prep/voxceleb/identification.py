"""VoxCeleb1's official split for identification: the same speakers in every split."""

import re
from collections import defaultdict
from collections.abc import Iterator

from data_prep.common.skips import SkipRegister
from data_prep.voxceleb.files import Clip, clip_id, find_file, list_clips, list_videos
from masr_modules.data.csv_text import open_text

SPLIT_FILE = "iden_split.txt"

#: First column of the list -> split.
SPLITS = {"1": "train", "2": "valid", "3": "test"}

# 1 id10001/1zcIwhmdeo4/00001.wav
_LINE = re.compile(r"([123])\s+(id1\d{4})/([\w-]+)/(\w+)\.wav", re.ASCII)


def read_split(data_folder: str, skips: SkipRegister) -> dict[str, str]:
    """Reads iden_split.txt.

    A clip may be in one split alone. Clips of one video in several splits are noted and stay as
    they are, because comparable figures need the official split.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    skips : SkipRegister
        Counts malformed lines, notes videos in two splits.

    Returns
    -------
    dict of str to str
        ID of an utterance -> train, valid or test.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If a clip is in two splits; the message names the line.
    """
    path = find_file(data_folder, SPLIT_FILE)
    if path is None:
        raise FileNotFoundError(
            f"{data_folder}: no {SPLIT_FILE}, the split for identification, neither there nor in "
            "its folder meta; the VoxCeleb site offers it with VoxCeleb1"
        )
    split_of: dict[str, str] = {}
    splits_of_video = defaultdict(set)
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            text = line.decode("utf-8-sig", errors="replace").strip()
            match = _LINE.fullmatch(text)
            if match is None:
                if text:
                    skips.skip(f"malformed line of {SPLIT_FILE}", f"line {number}: {text[:80]}")
                continue
            split, clip = SPLITS[match[1]], clip_id(*match.groups()[1:])
            if split_of.setdefault(clip, split) != split:
                raise ValueError(
                    f"{path}, line {number}: {text} is in {split_of[clip]} by an earlier line; "
                    "download the list again"
                )
            splits_of_video[match[2], match[3]].add(split)
    for video, splits in splits_of_video.items():
        if len(splits) > 1:
            skips.note(f"clips of a video in several splits of {SPLIT_FILE}", "/".join(video))
    return split_of


def follow_split(
    data_folder: str,
    speakers: dict[str, list[str]],
    split_of: dict[str, str],
    skips: SkipRegister,
) -> Iterator[tuple[str, Clip]]:
    """Yields the utterances that are there, with their official splits.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    speakers : dict of str to list of str
        Speaker -> folders.
    split_of : dict of str to str
        ID of an utterance -> split, from `read_split`.
    skips : SkipRegister
        Counts clips that the official split lacks, and those it names that have no audio.

    Yields
    ------
    (str, Clip)
        Split and utterance.
    """
    missing = dict.fromkeys(split_of)
    for speaker, folders in speakers.items():
        for video, inside in list_videos(data_folder, folders).items():
            for clip in list_clips(data_folder, speaker, video, inside, skips):
                if clip.ID in split_of:
                    del missing[clip.ID]
                    yield split_of[clip.ID], clip
                else:
                    skips.exclude(f"clip is not in {SPLIT_FILE}", clip.file)
    for clip in missing:
        skips.skip(f"clip of {SPLIT_FILE} without audio", clip)
