"""Acted emotion: nEMO, RAVDESS, EMO-DB, EMOVO, CREMA-D, SAVEE, TESS, URDU, ASED, and one in Korean.

The names of the files code speaker, emotion and sentence, as `data_prep.acted_emotion.corpora`
describes. All corpora get the same words for emotions:
neutral, calm, happiness, sadness, anger, fear, disgust, surprise, boredom.

``python -m data_prep.acted_emotion_prepare --corpus ravdess --data_folder RAVDESS``
``--save_folder csv/ravdess``

No speaker is in two splits, each split has speakers of every gender that has enough of them, and
every emotion of the validation and test sets is in the training set. ``--split corpus --side test``
makes the whole corpus one split, for studies that leave one corpus out.

A warning names confounds: speakers who act one emotion, sentences that are said with one emotion,
and files that all have one length.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from data_prep.acted_emotion.confounds import find_confounds
from data_prep.acted_emotion.corpora import CORPORA, ActedCorpus
from data_prep.acted_emotion.files import (
    choose_files,
    find_audio,
    read_about,
    read_text,
    text_path,
)
from data_prep.common.audio import DATA_ROOT, add_durations
from data_prep.common.command_line import run
from data_prep.common.corpus import SPLITS, language_cells
from data_prep.common.skips import SkipRegister
from data_prep.common.strata import split_by_stratum
from data_prep.common.writing import fingerprint_inputs, is_prepared, write_corpus
from data_prep.custom.columns import make_row

logger = logging.getLogger(__name__)

#: Version of the output; raised when the same folder gives other CSVs.
VERSION = 1

#: Speakers are drawn at most this often, until training has every emotion of the other splits.
DRAWS = 100


def make_rows(
    files: Mapping[str, tuple[str, dict[str, str]]],
    about: Mapping[str, dict[str, str]],
    data_folder: str,
    name: str,
    skips: SkipRegister,
) -> Iterator[dict]:
    """Makes the rows of a corpus, without durations.

    Arguments
    ---------
    files : mapping of str to (str, dict)
        Name -> path and labels, from `choose_files`.
    about : mapping of str to dict
        The corpus's table, from `read_about`.
    data_folder : str
        Folder of the corpus.
    name : str
        Key of the corpus in `CORPORA`.
    skips : SkipRegister
        Notes values that are not known; counts files of the table that are missing.

    Yields
    ------
    dict
        Column -> value.
    """
    corpus = CORPORA[name]
    language = language_cells(corpus.language)
    for utterance, (path, told) in files.items():
        gender, age = corpus.speakers.get(told["speaker"], ("", None))
        known = {"gender": gender, "age": "" if age is None else str(age)}
        if about and corpus.table is not None:
            more = about.get(told[corpus.table.by])
            if more is None:
                skips.note(f"{corpus.table.by} is not in {corpus.table.path}", path)
            known |= more or {}
        known |= {"gender": told["gender"] or known["gender"]}
        known["text"] = known.get("text") or _text(corpus, data_folder, path, told, skips)
        yield {
            **language,
            **make_row(known, {}, path, skips),
            "ID": f"{name}_{utterance}",
            "wav": DATA_ROOT + path,
            "speaker": f"{name}_{told['speaker']}",
            "emotion": told["emotion"],
            "sentence_id": told["sentence_id"],
            "source": name,
        }
    if corpus.table is not None and corpus.table.by == "name":
        for missing in sorted(about.keys() - files.keys()):
            skips.skip("audio: no such file", f"{corpus.table.path}: {missing}")


def _text(
    corpus: ActedCorpus, data_folder: str, path: str, told: dict[str, str], skips: SkipRegister
) -> str:
    """Returns the text of an utterance; empty where the corpus does not give it."""
    if corpus.phrase:
        return corpus.phrase.format(told["sentence_id"])
    if corpus.text_folder:
        return read_text(data_folder, text_path(path, corpus), skips)
    return corpus.texts.get(told["sentence_id"], "")


def keep_shared(rows: Iterable[dict], corpus: ActedCorpus, skips: SkipRegister) -> Iterator[dict]:
    """Leaves out sentences that are said with one emotion only, in corpora that have such.

    Arguments
    ---------
    rows : iterable of dict
        Rows of the corpus.
    corpus : ActedCorpus
        Its description.
    skips : SkipRegister
        Counts rows that are left out.

    Yields
    ------
    dict
        The other rows.
    """
    for row in rows:
        if corpus.shared and row["sentence_id"] not in corpus.shared:
            skips.exclude("sentence is said with one emotion only (see all_sentences)", row["ID"])
        else:
            yield row


def assign_speakers(
    rows: Sequence[Mapping], valid_share: float, test_share: float, seed: int
) -> dict[str, str]:
    """Divides the speakers among the splits.

    Arguments
    ---------
    rows : sequence of mapping
        Rows of the corpus: `speaker`, `gender`, `emotion`.
    valid_share : float
        Approximate fraction of the speakers for validation.
    test_share : float
        Approximate fraction of the speakers for the test.
    seed : int
        Seed of the draw of speakers.

    Returns
    -------
    dict of str to str
        Speaker -> split. Each gender is divided separately, and in it the speakers with and those
        without emotions; every emotion of the validation and test sets is in the training set.

    Raises
    ------
    ValueError
        If there are too few speakers, or too few act an emotion.
    """
    emotions: dict[str, set[str]] = defaultdict(set)
    genders = {}
    for row in rows:
        emotions[row["speaker"]] |= {row["emotion"]} - {""}
        genders[row["speaker"]] = row.get("gender") or ""
    strata = {s: f"{genders[s]}, {'acted' if emotions[s] else 'read'}" for s in genders}
    remedy = "make the whole corpus one split: split=corpus side=test"
    for draw in range(DRAWS):
        try:
            shares = {"test": test_share, "valid": valid_share}
            splits = split_by_stratum(strata, shares, f"{seed}/{draw}")
        except ValueError as error:
            raise ValueError(f"{error}; or {remedy}") from error
        heard: dict[str, set[str]] = {split: set() for split in SPLITS}
        for speaker, split in splits.items():
            heard[split] |= emotions[speaker]
        unheard = (heard["test"] | heard["valid"]) - heard["train"]
        if not unheard:
            return splits
    raise ValueError(
        f"no division of the speakers has {', '.join(sorted(unheard))} in the training set too: "
        f"too few speakers act it; {remedy}"
    )


def prepare_acted_emotion(
    data_folder: str,
    save_folder: str,
    corpus: str,
    split: Literal["speaker", "corpus"] = "speaker",
    side: Literal["train", "valid", "test"] = "test",
    all_sentences: bool = False,
    valid_share: float = 0.15,
    test_share: float = 0.35,
    seed: int = 1234,
    sample_rate: int = 16000,
    num_workers: int = 8,
    skip_limit: float = 0.01,
    skip_prep: bool = False,
) -> None:
    """Prepares a corpus of acted emotion.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus, as it was unpacked.
    save_folder : str
        Folder of `train.csv`, `valid.csv` and `test.csv`.
    corpus : str
        nemo, ravdess, emodb, emovo, cremad, savee, tess, urdu, ased or emotts.
    split : str
        `speaker`: no speaker is in two splits. `corpus`: the whole corpus is one split, and the
        other CSVs have no rows.
    side : str
        The split that the whole corpus becomes with `split=corpus`.
    all_sentences : bool
        Whether to keep sentences that are said with one emotion only (ASED).
    valid_share : float
        Approximate fraction of the speakers for validation.
    test_share : float
        Approximate fraction of the speakers for the test.
    seed : int
        Seed of the draw of speakers.
    sample_rate : int
        Expected sample rate (Hz); audio of another is noted, and resampled when it is read.
    num_workers : int
        Processes that read audio headers.
    skip_limit : float
        Largest fraction of utterances that may be left out as broken.
    skip_prep : bool
        If True, nothing is done.

    Raises
    ------
    FileNotFoundError
        If the folder holds no audio.
    ValueError
        If the corpus is unknown, no file is named as the corpus names its files, the speakers are
        too few to be divided, or too many utterances are left out.

    Example
    -------
    >>> prepare_acted_emotion("/corpora/RAVDESS", "csv/ravdess", "ravdess", skip_prep=True)
    """
    if skip_prep:
        return
    _check_options(data_folder, corpus, split, side)
    described, skips = CORPORA[corpus], SkipRegister(skip_limit)
    paths = list(find_audio(data_folder, skips))
    tables = [described.table.path] if described.table else []
    texts = [text_path(path, described) for path in paths if described.text_folder]
    settings = {
        "corpus": f"acted_emotion: {corpus}",
        "version": VERSION,
        "inputs": fingerprint_inputs(data_folder, [*paths, *tables, *texts]),
        "data_folder": os.path.abspath(data_folder),
        "all_sentences": all_sentences,
        "split": side if split == "corpus" else [valid_share, test_share, seed],
    }
    if is_prepared(save_folder, settings):
        return
    files = choose_files(paths, data_folder, described, skips)
    about = read_about(data_folder, described, skips)
    made = make_rows(files, about, data_folder, corpus, skips)
    kept = made if all_sentences else keep_shared(made, described, skips)
    sized = add_durations((("", r) for r in kept), data_folder, skips, sample_rate, num_workers)
    rows = [row for _, row in sized]
    skips.check()
    splits = {} if split == "corpus" else assign_speakers(rows, valid_share, test_share, seed)
    write_corpus(
        save_folder,
        ((splits.get(row["speaker"], side), row) for row in rows),
        settings,
        skips,
        extra_columns=("sentence_id",),
        disjoint=[("speaker",)],
    )
    for confound in find_confounds(rows):
        logger.warning("%s: %s", described.title, confound)


def _check_options(data_folder: str, corpus: str, split: str, side: str) -> None:
    if corpus not in CORPORA:
        raise ValueError(f"corpus {corpus!r} is none of {', '.join(CORPORA)}")
    if split not in ("speaker", "corpus") or side not in SPLITS:
        raise ValueError(
            f"split ({split!r}) has to be speaker or corpus, and side ({side!r}) one of "
            f"{', '.join(SPLITS)}"
        )
    if not os.path.isdir(data_folder):
        raise FileNotFoundError(f"{data_folder} is no folder: it has to hold {corpus}'s files")


if __name__ == "__main__":
    run(prepare_acted_emotion)
