"""Assignment of VoxCeleb's speakers, videos and clips to splits."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from data_prep.common.skips import SkipRegister
from data_prep.voxceleb.files import Clip, corpus_of, list_clips, list_videos
from data_prep.voxceleb.trials import DRAW_ON_ALL

CORPORA = ("voxceleb1", "voxceleb2")


class Protocol(NamedTuple):
    """The rules that assign speakers, videos and clips to splits.

    Arguments
    ---------
    tested : set of str
        IDs of the utterances that the trials name.
    held_out : set of str
        Speakers that may not be in train or valid.
    train_on : list of str
        Corpora to train on.
    valid_by : str
        `speaker` (validation on other speakers) or `video` (on other videos).
    valid_share : float
        Fraction of the training speakers or videos that validate.
    seed : int
        Seed of the draw.
    """

    tested: set[str]
    held_out: set[str]
    train_on: list[str]
    valid_by: str
    valid_share: float
    seed: int

    def valid_speakers(self, speakers: list[str]) -> set[str]:
        """Draws the speakers all of whose utterances validate; none with `valid_by=video`."""
        if self.valid_by != "speaker":
            return set()
        usable = [s for s in speakers if self.may_train(s)]
        random.Random(self.seed).shuffle(usable)
        return set(usable[: round(max(1, self.valid_share * len(usable)))])

    def may_train(self, speaker: str) -> bool:
        """Tells whether a speaker may be in train or valid."""
        return speaker not in self.held_out and corpus_of(speaker) in self.train_on


def choose_corpora(
    train_on: list[str] | None, trials: list[str], speakers: dict[str, list[str]]
) -> list[str]:
    """Chooses the corpora to train on.

    Arguments
    ---------
    train_on : list of str, optional
        Corpora that the user asks for; by default, all that are there and allowed.
    trials : list of str
        Names of the lists of trials.
    speakers : dict of str to list of str
        Speakers that are there.

    Returns
    -------
    list of str
        `voxceleb1`, `voxceleb2` or both.

    Raises
    ------
    ValueError
        If a corpus is unknown or not there, or the trials forbid it.
    """
    there = sorted({corpus_of(speaker) for speaker in speakers})
    unknown = sorted(set(train_on or ()) - set(CORPORA))
    if unknown:
        raise ValueError(f"train_on: {unknown[0]!r} is none of {', '.join(CORPORA)}")
    on_all = [name for name in trials if name in DRAW_ON_ALL]
    forbidden = {"voxceleb1"} if on_all else set()
    chosen = sorted(train_on) if train_on else [c for c in there if c not in forbidden]
    if forbidden & set(chosen) or not chosen:
        raise ValueError(
            f"the trials {' and '.join(on_all)} draw on all speakers of VoxCeleb1: train on "
            f"voxceleb2 for them (found: {', '.join(there)}), or test on O"
        )
    absent = sorted(set(chosen) - set(there))
    if absent:
        raise ValueError(f"train_on: no speaker of {absent[0]} is there (found: {there})")
    return chosen


def assign_clips(
    data_folder: str, speakers: dict[str, list[str]], protocol: Protocol, skips: SkipRegister
) -> Iterator[tuple[str, Clip]]:
    """Yields the utterances that are there, with their splits.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    speakers : dict of str to list of str
        Speaker -> folders.
    protocol : Protocol
        The rules that assign them to splits.
    skips : SkipRegister
        Counts utterances that the protocol leaves out.

    Yields
    ------
    (str, Clip)
        Split and utterance.
    """
    validating, position = protocol.valid_speakers(list(speakers)), 0
    for speaker, folders in speakers.items():
        videos = list_videos(data_folder, folders)
        trained = protocol.may_train(speaker)
        names = list(videos)
        random.Random(f"{protocol.seed}/{speaker}").shuffle(names)
        split_of = dict.fromkeys(names, "valid" if speaker in validating else "train")
        if protocol.valid_by == "video" and len(names) > 1 and trained:
            for name in names:
                position += 1
                steps = [int(n * protocol.valid_share) for n in (position - 1, position)]
                split_of[name] = "valid" if steps[0] < steps[1] else "train"
        for video, inside in videos.items():
            for clip in list_clips(data_folder, speaker, video, inside, skips):
                if clip.ID in protocol.tested:
                    yield "test", clip
                elif trained:
                    yield split_of[video], clip
                else:
                    skips.exclude("speaker of a test set, clip in none of the trials", clip.file)
