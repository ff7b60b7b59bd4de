"""IEMOCAP: acted emotional dialogues in English (Busso et al., 2008, LREC journal 42).

Layout of the release: ``SessionN/dialog/EmoEvaluation/DIALOGUE.txt`` (labels),
``SessionN/dialog/transcriptions/DIALOGUE.txt`` and
``SessionN/sentences/wav/DIALOGUE/UTTERANCE.wav``, N from 1 to 5.

A dialogue's name (``Ses01F_impro01``) says which actor wore the motion-capture markers; the last
part of the utterance's name says who speaks (``Ses01F_impro01_M003``: the man).

Each fold has its folder ``foldN`` of CSVs; see `data_prep.iemocap.folds` for the protocols.

Scripted dialogues have the same text in every session, from which a model that recognises words
can profit. The column ``scenario`` separates scripted from improvised dialogues.

Example
-------
``python -m data_prep.iemocap_prepare --data_folder /corpora/IEMOCAP --save_folder csv/iemocap``
"""

import glob
import logging
import os
import re
from collections.abc import Iterator
from typing import Literal

from data_prep.common.audio import DATA_ROOT, add_durations
from data_prep.common.command_line import run
from data_prep.common.corpus import expect_layout, language_cells
from data_prep.common.skips import SkipRegister
from data_prep.common.writing import fingerprint_inputs, is_prepared, write_corpus
from data_prep.iemocap.folds import (
    DISJOINT,
    SESSIONS,
    assign_splits,
    make_folds,
    remove_stale_folds,
)
from masr_modules.data.csv_text import open_text

logger = logging.getLogger(__name__)

#: Label of the corpus -> emotion; `xxx` (the raters do not agree) stays empty.
EMOTIONS = {
    "ang": "angry",
    "hap": "happy",
    "exc": "excited",
    "sad": "sad",
    "neu": "neutral",
    "fru": "frustrated",
    "fea": "fearful",
    "sur": "surprised",
    "dis": "disgusted",
    "oth": "other",
    "xxx": None,
}

#: The four classes of most published work: 5531 utterances of the release.
FOUR_CLASSES = {"ang": "angry", "hap": "happy", "exc": "happy", "sad": "sad", "neu": "neutral"}

#: Version of the output; raised when the same folder gives other CSVs.
VERSION = 2

GENDERS = {"F": "female", "M": "male"}

# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
_LABEL = re.compile(r"\[[\d. -]+\]\s+(\w+)\s+(\w+)\s+\[([\d.]+), *([\d.]+), *([\d.]+)\]\s*")
# Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
_TRANSCRIPTION = re.compile(r"(\w+) +\[[\d. -]+\] *: *(.*)")
_UTTERANCE = re.compile(r"(Ses0([1-5])[FM]_(impro|script)\w+)_([FM])\w+", re.ASCII)


def dialogue_files(data_folder: str, session: int, kind: str) -> list[str]:
    """Lists the text files of a session's dialogues.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    session : int
        1 to 5.
    kind : str
        `EmoEvaluation` or `transcriptions`.

    Returns
    -------
    list of str
        Sorted paths, relative to the data folder, without other files (notes, macOS's `._*`).
    """
    pattern = f"Session{session}/dialog/{kind}/Ses0{session}[FM]_*.txt"
    return sorted(glob.glob(pattern, root_dir=data_folder))


def read_lines(data_folder: str, file: str, skips: SkipRegister) -> Iterator[tuple[str, str]]:
    """Reads the lines that are not empty; a line that is not UTF-8 is read as Windows-1252.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    file : str
        Path of the file in it.
    skips : SkipRegister
        Notes lines that are not UTF-8.

    Yields
    ------
    (str, str)
        Place of the line (`path, line N`), and the line.
    """
    with open_text(os.path.join(data_folder, file)) as content:
        for number, line in enumerate(content, start=1):
            where = f"{file}, line {number}"
            try:
                text = line.decode("utf-8-sig")
            except UnicodeDecodeError:
                text = line.decode("cp1252", errors="replace")
                skips.note("line is not UTF-8, read as Windows-1252", where)
            if text.strip():
                yield where, text.strip()


def read_transcriptions(data_folder: str, session: int, skips: SkipRegister) -> dict[str, str]:
    """Reads the texts of a session.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    session : int
        1 to 5.
    skips : SkipRegister
        Notes lines that are not UTF-8.

    Returns
    -------
    dict of str to str
        Utterance -> text, without the remarks between utterances.
    """
    texts = {}
    for file in dialogue_files(data_folder, session, "transcriptions"):
        for _, line in read_lines(data_folder, file, skips):
            if match := _TRANSCRIPTION.fullmatch(line):
                texts.setdefault(match[1], match[2])
    return texts


def read_rows(
    data_folder: str, classes: dict[str, str | None], skips: SkipRegister
) -> Iterator[tuple[str, dict]]:
    """Reads the labels and transcriptions of all sessions.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    classes : dict of str to str
        Label of the corpus -> class; an utterance with another label is left out.
    skips : SkipRegister
        Counts malformed lines, and utterances of other classes.

    Yields
    ------
    (str, dict)
        Session and row, without duration.
    """
    language, seen = language_cells("en"), set()
    for session in SESSIONS:
        texts = read_transcriptions(data_folder, session, skips)
        for file in dialogue_files(data_folder, session, "EmoEvaluation"):
            for where, line in read_lines(data_folder, file, skips):
                if not line.startswith("["):
                    continue  # a single rater's opinion
                match = _LABEL.fullmatch(line)
                name = match and _UTTERANCE.fullmatch(match[1])
                if not name or int(name[2]) != session or match[2] not in EMOTIONS:
                    skips.skip("malformed line", f"{where}: {line[:80]}")
                elif match[1] in seen:
                    skips.note("labelled twice, the first label counts", f"{where}: {match[1]}")
                elif match[2] not in classes:
                    skips.exclude(f"emotion {match[2]!r} is none of the classes", match[1])
                else:
                    seen.add(match[1])
                    labels = {"emotion": classes[match[2]], **_ratings(match, where, skips)}
                    cells = {"text": texts.get(match[1]), **language, **labels}
                    yield f"Session{session}", _row(name, cells)


def _ratings(match: re.Match, where: str, skips: SkipRegister) -> dict[str, str]:
    """Returns the means of the raters (scale 1 to 5); None unless above 0 and below 6."""
    ratings = dict(zip(("valence", "activation", "dominance"), match.groups()[2:], strict=True))
    for column, cell in ratings.items():
        if not re.fullmatch(r"\d+(\.\d+)?", cell) or not 0 < float(cell) < 6:
            skips.note(f"{column} out of range, left empty", f"{where}: {cell}")
            ratings[column] = None
    return ratings


def _row(name: re.Match, cells: dict) -> dict:
    utterance, (dialogue, session, scenario, letter) = name[0], name.groups()
    return {
        "ID": f"iemocap_{utterance}",
        "wav": f"{DATA_ROOT}Session{session}/sentences/wav/{dialogue}/{utterance}.wav",
        "speaker": f"iemocap_Ses0{session}{letter}",
        "gender": GENDERS[letter],
        "session": f"Session{session}",
        "source": dialogue,
        "scenario": {"impro": "improvised", "script": "scripted"}[scenario],
        **cells,
    }


def _tables(data_folder: str) -> list[str]:
    """Lists all text files that are read."""
    return [
        file
        for session in SESSIONS
        for kind in ("EmoEvaluation", "transcriptions")
        for file in dialogue_files(data_folder, session, kind)
    ]


def prepare_iemocap(
    data_folder: str,
    save_folder: str,
    classes: Literal["four", "all"] = "four",
    leave_out: Literal["superb", "session", "speaker"] = "superb",
    seed: int = 1234,
    sample_rate: int = 16000,
    num_workers: int = 8,
    skip_limit: float = 0.01,
    skip_prep: bool = False,
) -> None:
    """Prepares IEMOCAP: one folder of CSVs per fold.

    Arguments
    ---------
    data_folder : str
        Folder that holds `Session1` to `Session5`.
    save_folder : str
        Folder of `fold1/train.csv` and so on.
    classes : str
        `four`: angry, happy (with excited), sad and neutral; other utterances are left out.
        `all`: every utterance, with happy and excited separate, and the emotion empty where
        raters disagree.
    leave_out : str
        `superb`: each fold leaves out a session, as in most published figures, and validates on
        training speakers. `session` or `speaker`: no speaker is in two splits. See
        `data_prep.iemocap.folds`.
    seed : int
        Seed of the draw of validation utterances in `superb`; a training's seed does not change
        it.
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
        If the folder does not hold all five sessions.
    ValueError
        If an option is unknown, or too many utterances are left out.

    Example
    -------
    >>> prepare_iemocap("/corpora/IEMOCAP_full_release", "csv/iemocap", skip_prep=True)
    """
    if skip_prep:
        return
    if classes not in ("four", "all") or leave_out not in DISJOINT:
        raise ValueError(
            f"classes ({classes!r}) has to be four or all, and leave_out ({leave_out!r}) superb, "
            "session or speaker"
        )
    layout = {}
    for n in SESSIONS:
        layout[f"Session{n}/dialog/EmoEvaluation/Ses*.txt"] = "labels"
        layout[f"Session{n}/sentences/wav/Ses*"] = "utterances of a dialogue"
    expect_layout(data_folder, "IEMOCAP (IEMOCAP_full_release)", layout)
    root = os.path.abspath(data_folder)
    kinds = ("dialog/EmoEvaluation", "dialog/transcriptions", "sentences/wav")
    inputs = [f"Session{n}/{kind}" for n in SESSIONS for kind in kinds]
    settings = {
        "corpus": "iemocap",
        "version": VERSION,
        "inputs": fingerprint_inputs(data_folder, [*inputs, *_tables(data_folder)]),
        "data_folder": root,
        "classes": classes,
        "leave_out": leave_out,
        "seed": seed,
    }
    folds = make_folds(leave_out)
    folders = {fold: os.path.join(save_folder, fold) for fold in folds}
    if all(is_prepared(folder, settings) for folder in folders.values()):
        return
    skips = SkipRegister(skip_limit)
    kept = read_rows(data_folder, EMOTIONS if classes == "all" else FOUR_CLASSES, skips)
    rows = [row for _, row in add_durations(kept, data_folder, skips, sample_rate, num_workers)]
    skips.check()
    logger.info("%s", skips.report())
    remove_stale_folds(save_folder, settings)
    for fold, splits in folds.items():
        write_corpus(
            folders[fold],
            assign_splits(rows, splits, leave_out, f"{seed}/{fold}"),
            settings,
            extra_columns=("scenario",),
            disjoint=[(column,) for column in DISJOINT[leave_out]],
        )


if __name__ == "__main__":
    run(prepare_iemocap)
