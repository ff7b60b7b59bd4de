"""The plan of the synthetic corpus: every utterance with its speaker, emotion and text.

The draw depends on the seed alone. More hours only add utterances, and a
language's utterances do not depend on which other languages are there.
"""

import hashlib
import random
from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import islice

from data_prep.common.splits import draw_split
from data_prep.mini.espeak_synthesis import measure
from data_prep.mini.text import sentences
from data_prep.mini.vocabulary import VOICE_FILES
from data_prep.mini.voices import EMOTIONS, Prosody, Voice, split_speakers

#: Downstream tasks and probes learn from `labelled`, whose speakers are those of `train`.
SPLITS = ("train", "labelled", "valid", "test")
#: Fraction of the hours that belongs to each split.
TIME_SHARES = {"train": 0.64, "labelled": 0.075, "valid": 0.06, "test": 0.225}
#: Fraction of the sentences that belongs to each split; no sentence is in two.
SENTENCE_SHARES = {"train": 0.6, "labelled": 0.1, "valid": 0.07, "test": 0.23}
#: Sentences per language and emotion on which the speed of speech is measured.
PROBE_SENTENCES = 6
PROBE_VARIANT = "m3"
PROBE_SECONDS_PER_CHAR = 0.07  # an estimate, by which sentences for the measurement are drawn


@dataclass(frozen=True)
class Utterance:
    """One utterance of the corpus, before it is spoken.

    Arguments
    ---------
    ID : str
        Its ID, such as ``"mini_fr_m3_00012"``.
    code : str
        Its language's code, as the user gave it.
    voice : Voice
        Its speaker.
    emotion : str
        Its simulated emotion.
    prosody : Prosody
        Settings of the engine for this utterance, which simulate the emotion.
    text : str
        Text to speak.
    seed : int
        Seed of the engine's random generators.
    """

    ID: str
    code: str
    voice: Voice
    emotion: str
    prosody: Prosody
    text: str
    seed: int

    @property
    def file(self) -> str:
        """Path of the WAV file, relative to the data folder."""
        return f"wav/{self.code}/{self.ID}.wav"

    @property
    def job(self) -> dict:
        """The job for the synthesis worker."""
        return make_job(self.ID, self.code, self.voice.variant, self.text, self.prosody, self.seed)


def make_job(name: str, code: str, variant: str, text: str, prosody: Prosody, seed: int) -> dict:
    """Make the synthesis worker's job for an utterance.

    Arguments
    ---------
    name : str
        The job's ID.
    code : str
        The language's code.
    variant : str
        The voice variant.
    text : str
        Text to speak.
    prosody : Prosody
        Settings of the engine that simulate the emotion.
    seed : int
        Seed of the engine's random generators.

    Returns
    -------
    dict
        The job, see ``espeak_worker.py``.
    """
    voice = f"{VOICE_FILES.get(code, code)}+{variant}"
    return {"id": name, "voice": voice, "text": text, **asdict(prosody), "seed": seed}


def stable_number(*parts: object) -> int:
    """Draw a number below 2^31 that depends on the parts alone.

    Arguments
    ---------
    *parts : object
        Objects whose string is the same in every run.

    Returns
    -------
    int
        The number.

    Example
    -------
    >>> stable_number(1234, "fr") == stable_number(1234, "fr")
    True
    """
    text = "|".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def measure_speech(
    codes: tuple[str, ...], seed: int, num_workers: int
) -> dict[tuple[str, str], float]:
    """Measure the duration of speech per character, for each language and emotion.

    Arguments
    ---------
    codes : tuple of str
        The languages.
    seed : int
        The corpus's seed.
    num_workers : int
        Number of processes to start.

    Returns
    -------
    dict of (str, str) to float
        Language and emotion -> seconds per character.
    """
    jobs, characters = [], {}
    for code in codes:
        texts = list(islice(sentences(code, seed, PROBE_SECONDS_PER_CHAR), PROBE_SENTENCES))
        characters[code] = sum(map(len, texts))
        for emotion, prosody in EMOTIONS.items():
            names = [f"{code} {emotion} {number}" for number in range(len(texts))]
            jobs += [
                make_job(name, code, PROBE_VARIANT, text, prosody, 0)
                for name, text in zip(names, texts, strict=True)
            ]
    totals = defaultdict(float)
    for name, seconds in measure(jobs, num_workers).items():
        code, emotion, _ = name.split()
        totals[code, emotion] += seconds
    return {pair: seconds / characters[pair[0]] for pair, seconds in totals.items()}


def plan_language(
    code: str, hours: float, seed: int, speakers: dict[str, list[Voice]], speed: dict[str, float]
) -> dict[str, list[Utterance]]:
    """Choose one language's utterances.

    Arguments
    ---------
    code : str
        The language's code.
    hours : float
        Hours of this language, over all splits.
    seed : int
        The corpus's seed.
    speakers : dict of str to list of Voice
        The speakers of each split, from `split_speakers`.
    speed : dict of str to float
        Emotion -> seconds per character.

    Returns
    -------
    dict of str to list of Utterance
        The utterances of each split. More hours add utterances after the same first ones.
    """
    utterances = {split: [] for split in SPLITS}
    remaining = {split: 3600 * hours * TIME_SHARES[split] for split in SPLITS}
    for text in sentences(code, seed, speed["neutral"]):
        split = draw_split(f"{seed}|{code}|{text.casefold()}", SENTENCE_SHARES)
        if remaining[split] > 0:
            index = len(utterances[split])
            utterance = _assign(code, split, index, text, seed, speakers[split])
            seconds = len(text) * speed[utterance.emotion]
            if index and remaining[split] < seconds / 2:  # nearer to the split's time without it
                remaining[split] = 0
                continue
            remaining[split] -= seconds
            utterances[split].append(utterance)
        elif max(remaining.values()) <= 0:
            break
    return utterances


def _assign(
    code: str, split: str, index: int, text: str, seed: int, speakers: list[Voice]
) -> Utterance:
    """Give a sentence its speaker and emotion, each in rotation."""
    cycle, place = divmod(index, len(speakers))
    start = stable_number(seed, code, split)
    voice = speakers[(start + place) % len(speakers)]
    emotion = list(EMOTIONS)[(start + place + cycle) % len(EMOTIONS)]
    name = f"mini_{code}_{voice.name}_{index:05d}"
    prosody = EMOTIONS[emotion].vary(random.Random(f"{seed}|{name}|style"))
    return Utterance(name, code, voice, emotion, prosody, text, stable_number(seed, name))


def plan_corpus(
    codes: tuple[str, ...], hours: float, seed: int, num_workers: int
) -> dict[str, list[Utterance]]:
    """Choose all utterances.

    Arguments
    ---------
    codes : tuple of str
        The languages.
    hours : float
        Hours over all languages and splits.
    seed : int
        The corpus's seed.
    num_workers : int
        Number of processes that measure the speed of speech.

    Returns
    -------
    dict of str to list of Utterance
        The utterances of each split.
    """
    speed, speakers = measure_speech(codes, seed, num_workers), split_speakers(seed)
    speakers["labelled"] = speakers["train"]
    plan = {split: [] for split in SPLITS}
    for code in codes:
        own_speed = {emotion: speed[code, emotion] for emotion in EMOTIONS}
        splits = plan_language(code, hours / len(codes), seed, speakers, own_speed)
        for split, utterances in splits.items():
            plan[split] += utterances
    return plan
