"""Speakers and simulated emotions of the synthetic corpus.

A speaker is a voice variant of eSpeak NG, which any of its languages can speak
with. An emotion is a setting of rate, pitch, pitch range and volume: simulated,
not acted or felt.
"""

import functools
import os
import random
import re
from collections import defaultdict
from dataclasses import dataclass

import espeakng_loader

#: Variants that sound alike, by ear or by the distance of means and deviations of their
#: MFCCs over the same sentences. They stay in one split.
CLOSE_VARIANTS = (
    ("f1", "f2", "f5"),
    ("f3", "f4", "aunty", "linda"),
    ("m2", "m6"),
    ("m4", "croak"),
    ("m3", "Mike", "pedro", "john", "Alex", "croak", "m6"),
    ("Diogo", "Henrique", "Hugo", "michel", "miguel"),
    ("adam", "Reed", "benjamin", "announcer", "robosoft"),
    ("m7", "Nguyen"),
    ("Denis", "victor"),
    ("anika", "anikaRobot"),
    ("gustave", "Michael"),
    ("rob", "robert"),
)
#: Variants that are no voice of their own: `fast` is the engine's default at another speed.
EXCLUDED = ("fast",)

SPLIT_SHARES = {"train": 0.56, "valid": 0.12, "test": 0.32}


@dataclass(frozen=True)
class Voice:
    """A voice variant.

    Arguments
    ---------
    variant : str
        File name of the variant, such as ``"f2"``.
    gender : str
        ``"female"`` or ``"male"`` where the file declares it, else empty.
    group : str
        Name of the group of variants that sound alike.
    """

    variant: str
    gender: str
    group: str

    @property
    def name(self) -> str:
        """The variant's name without spaces, for IDs and file names."""
        return self.variant.replace(" ", "-")


@dataclass(frozen=True)
class Prosody:
    """Settings of the engine that simulate an emotion.

    Arguments
    ---------
    rate : int
        Words per minute.
    pitch : int
        Base pitch, 0 to 100.
    range : int
        Pitch range, 0 to 100.
    volume : int
        Volume, 0 to 200; the loudest variants saturate from about 100 on.
    """

    rate: int
    pitch: int
    range: int
    volume: int

    def vary(self, rng: random.Random) -> "Prosody":
        """Draw the settings of one utterance, at random about these."""
        return Prosody(
            rate=round(self.rate * rng.uniform(0.95, 1.05)),
            pitch=round(self.pitch + rng.uniform(-4, 4)),
            range=round(self.range + rng.uniform(-6, 6)),
            volume=round(self.volume * rng.uniform(0.93, 1.07)),
        )


EMOTIONS = {
    "neutral": Prosody(rate=170, pitch=50, range=50, volume=55),
    "happy": Prosody(rate=190, pitch=63, range=80, volume=62),
    "sad": Prosody(rate=135, pitch=40, range=22, volume=35),
    "angry": Prosody(rate=205, pitch=56, range=88, volume=90),
}


def _read_variants() -> dict[str, str]:
    """Map each variant's file name to its contents, without numbered copies of another."""
    folder = os.path.join(espeakng_loader.get_data_path(), "voices", "!v")
    names = {name.lower() for name in os.listdir(folder)}
    variants = {}
    for name in sorted(os.listdir(folder)):
        original = re.sub(r"\d+$", "", name).lower()
        if name in EXCLUDED or (original != name.lower() and original in names):
            continue
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            variants[name] = file.read()
    return variants


def _group_variants(variants: dict[str, str]) -> dict[str, str]:
    """Map each variant to its group, named after its first member.

    A group has variants of `CLOSE_VARIANTS`, and those that differ in name and gender alone.
    """
    group = {name: name for name in variants}
    same = defaultdict(list)
    for name, contents in variants.items():
        settings = [line.split() for line in contents.splitlines()]
        kept = [words for words in settings if words and words[0] not in ("name", "gender")]
        same[str(kept)].append(name)
    for close in (*CLOSE_VARIANTS, *same.values()):
        groups = {group[name] for name in close}
        for name in group:
            if group[name] in groups:
                group[name] = min(groups)
    return group


@functools.cache
def load_voices() -> tuple[Voice, ...]:
    """List the voices that serve as speakers.

    Returns
    -------
    tuple of Voice
        The voices, sorted by name.

    Example
    -------
    >>> {voice.variant: voice.gender for voice in load_voices()}["f2"]
    'female'
    """
    variants = _read_variants()
    group = _group_variants(variants)
    voices = []
    for name, contents in variants.items():
        declared = re.search(r"^gender\s+(female|male)\b", contents, re.MULTILINE | re.IGNORECASE)
        voices.append(Voice(name, declared[1].lower() if declared else "", group[name]))
    return tuple(voices)


def split_speakers(seed: int) -> dict[str, list[Voice]]:
    """Divide the voices among train, valid and test, each group in one split.

    Arguments
    ---------
    seed : int
        The corpus's seed.

    Returns
    -------
    dict of str to list of Voice
        The voices of each split, in the order in which utterances take them, with the
        genders spread evenly.

    Example
    -------
    >>> splits = split_speakers(1234)
    >>> all({"female", "male"} <= {voice.gender for voice in split} for split in splits.values())
    True
    """
    groups = defaultdict(list)
    for voice in load_voices():
        groups[voice.group].append(voice)
    by_gender = defaultdict(list)
    for group in groups.values():
        genders = [voice.gender for voice in group]
        by_gender[max(("female", "male", ""), key=genders.count)].append(group)
    splits = {split: [] for split in SPLIT_SHARES}
    for gender in sorted(by_gender):
        members = by_gender[gender]
        random.Random(f"{seed}|{gender}|voices").shuffle(members)
        members.sort(key=len, reverse=True)  # large groups are placed first
        total, filled = sum(map(len, members)), dict.fromkeys(SPLIT_SHARES, 0)
        for group in members:
            # the split that has the most room left for its fraction takes the group
            split = max(filled, key=lambda s: SPLIT_SHARES[s] * total - filled[s])
            filled[split] += len(group)
            splits[split] += group
    return {split: _spread_genders(voices, seed) for split, voices in splits.items()}


def _spread_genders(voices: list[Voice], seed: int) -> list[Voice]:
    """Order voices so that any stretch holds the genders in about equal numbers."""
    order = []
    for gender in ("", "female", "male"):
        members = sorted((v for v in voices if v.gender == gender), key=lambda v: v.variant)
        random.Random(f"{seed}|{gender}|order").shuffle(members)
        order += [((place + 0.5) / len(members), voice) for place, voice in enumerate(members)]
    return [voice for _, voice in sorted(order, key=lambda pair: (pair[0], pair[1].variant))]
