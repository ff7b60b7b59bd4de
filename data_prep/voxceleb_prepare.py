"""VoxCeleb 1 and 2: speech of celebrities from videos (arXiv 1706.08612, 1806.05622).

Layout: folders ``SPEAKER/VIDEO/CLIP.wav`` under ``wav``, ``dev/wav``, ``test/wav``,
``voxceleb1/wav``, ... (any folder up to three levels down), such as SpeechBrain's folder, which
has both corpora in one ``wav``. An utterance may lie in several folders: copies are noted, and
different files are an error. The files ``vox1_meta.csv``, ``vox2_meta.csv``, the lists of
trials (``veri_test.txt``, ``list_test_all.txt`` and ``list_test_hard.txt``; cleaned,
``veri_test2.txt``, ``list_test_all2.txt`` and ``list_test_hard2.txt``) and ``iden_split.txt``
lie in the folder, in ``meta``, or one level further down. VoxCeleb2 comes as .m4a in ``dev/aac``
and ``aac``; this command converts, once, the clips that have no .wav in any folder:
``python -m data_prep.voxceleb_convert --data_folder /corpora/voxceleb``

The preparation writes:

- ``test.csv``: the utterances of the lists of trials that are asked for, and beside it
  ``trials_NAME.csv`` (enrol, test, target) for each list.
- ``train.csv`` and ``valid.csv``: the dev speakers, without those of the trials. For O, these
  are the 40 test speakers of VoxCeleb1; E and H draw on all of VoxCeleb1, so that training on it
  is refused for them. The test speakers of VoxCeleb2 are left out as well.

Validation is by ``speaker`` (other speakers than in train, for verification and pretraining)
or by ``video`` (the same speakers in other videos, for identification). Clips of one video
are never in two splits, because they share room, microphone and noise.

With ``protocol: identification`` the splits are the official ones of VoxCeleb1
(``iden_split.txt``): the same 1251 speakers in train, valid and test, and no trials.

With ``segment_seconds`` train and valid are cut into consecutive segments with ``start`` and
``stop``, as in SpeechBrain's recipes; unlike these, silent segments are kept, since no samples
are read.

Example
-------
``python -m data_prep.voxceleb_prepare --data_folder /corpora/voxceleb --save_folder csv/vox``
"""

import os
from collections.abc import Iterator
from functools import partial
from typing import Literal, NamedTuple

from data_prep.common.audio import DATA_ROOT, add_durations, cut_segments
from data_prep.common.command_line import run
from data_prep.common.corpus import SPLITS, expect_layout
from data_prep.common.skips import SkipRegister
from data_prep.common.trials import remove_trials
from data_prep.common.writing import fingerprint_inputs, is_prepared, write_corpus
from data_prep.voxceleb.files import (
    Clip,
    corpus_of,
    find_file,
    find_speakers,
    read_speakers,
    refuse_unconverted,
)
from data_prep.voxceleb.identification import SPLIT_FILE, follow_split, read_split
from data_prep.voxceleb.protocol import Protocol, assign_clips, choose_corpora
from data_prep.voxceleb.trials import TRIAL_FILES, find_lists, read_list, write_lists
from masr_modules.data.headers import AudioInfo

#: Version of the output; raised when the same folder gives other CSVs.
VERSION = 3


def make_rows(
    clips: Iterator[tuple[str, Clip]], about: dict[str, dict], skips: SkipRegister
) -> Iterator[tuple[str, dict]]:
    """Makes the rows of the CSVs, without durations.

    Arguments
    ---------
    clips : iterator of (str, Clip)
        Split and utterance.
    about : dict of str to dict
        Speaker -> metadata, from `read_speakers`.
    skips : SkipRegister
        Notes utterances whose speaker the metadata lack.

    Yields
    ------
    (str, dict)
        Split and row.
    """
    for split, clip in clips:
        known = about.get(clip.speaker)
        if known is None:
            skips.note("speaker is not in the metadata", clip.file)
            known = {}
        speaker = clip.ID.partition("--")[0]
        row = {"ID": clip.ID, "wav": DATA_ROOT + clip.file, **known}
        row["speaker"], row["source"] = speaker, clip.video
        yield split, row


def _cut(seconds: float, skips: SkipRegister, split: str, row: dict, info: AudioInfo) -> list[dict]:
    """Cuts a file into segments; test utterances stay whole."""
    if split == "test":
        return [row]
    segments = list(cut_segments(row, info, seconds))
    if not segments:
        skips.exclude("shorter than a segment", row["wav"])
    return segments


def _remember(rows: Iterator[tuple[str, dict]], ids: set[str]) -> Iterator[tuple[str, dict]]:
    """Passes rows on and keeps the IDs of the test set."""
    for split, row in rows:
        if split == "test":
            ids.add(row["ID"])
        yield split, row


def _inputs(data_folder: str) -> list[str]:
    """Lists the speakers' folders, the metadata and the lists, for `fingerprint_inputs`."""
    files = ["vox1_meta.csv", "vox2_meta.csv", SPLIT_FILE, *TRIAL_FILES.values()]
    found = [path for name in files if (path := find_file(data_folder, name))]
    speakers = find_speakers(data_folder) if os.path.isdir(data_folder) else {}
    return [*map(os.path.abspath, found), *(f for folders in speakers.values() for f in folders)]


def prepare_voxceleb(
    data_folder: str,
    save_folder: str,
    trials: list[str] | None = None,
    protocol: Literal["verification", "identification"] = "verification",
    train_on: list[str] | None = None,
    valid_by: Literal["speaker", "video"] = "speaker",
    valid_share: float = 0.05,
    segment_seconds: float | None = None,
    seed: int = 1234,
    sample_rate: int = 16000,
    num_workers: int = 8,
    skip_limit: float = 0.01,
    skip_prep: bool = False,
) -> None:
    """Prepares VoxCeleb: CSVs, and lists of trials for speaker verification.

    Arguments
    ---------
    data_folder : str
        Folder that holds VoxCeleb1, VoxCeleb2 or both.
    save_folder : str
        Folder of the CSVs and of `trials_NAME.csv`.
    trials : list of str
        Lists of trials to test on: O_cleaned (veri_test2, the default), E_cleaned
        (list_test_all2), H_cleaned (list_test_hard2), or, with some wrong labels, O (veri_test),
        E (list_test_all), H (list_test_hard).
    protocol : str
        `verification` of unseen speakers by `trials`, or `identification` of VoxCeleb1's
        speakers by iden_split.txt, which has no trials and ignores `valid_by`, `valid_share` and
        `seed`.
    train_on : list of str, optional
        voxceleb1, voxceleb2 or both (default: all that are there and that the trials
        allow).
    valid_by : str
        Validation on other speakers (`speaker`) or on other videos of the training
        speakers (`video`).
    valid_share : float
        Fraction of the speakers or videos that validate, above 0 and at most 0.5.
    segment_seconds : float, optional
        Length (seconds) of the segments into which train and valid are cut (default: whole
        utterances).
    seed : int
        Seed of the draw of speakers or videos.
    sample_rate : int
        Expected sample rate (Hz); audio of another is noted, and resampled when it is read.
    num_workers : int
        Processes that read audio headers.
    skip_limit : float
        Largest fraction of utterances, and of trials, that may be left out as broken.
    skip_prep : bool
        If True, nothing is done.

    Raises
    ------
    FileNotFoundError
        If the folder does not hold VoxCeleb or a list that is asked for or, where no trials are
        asked for, its metadata, which then tell the test speakers.
    ValueError
        If the trials forbid a corpus in training, .m4a files are not converted, different files
        of one utterance are found, an option is wrong or too many utterances are left out.

    Example
    -------
    >>> prepare_voxceleb("/corpora/voxceleb", "csv/voxceleb", ["E_cleaned"], skip_prep=True)
    """
    if skip_prep:
        return
    if trials is None:
        trials = ["O_cleaned"] if protocol == "verification" else []
    _check_options(protocol, trials, train_on, valid_by, valid_share, segment_seconds)
    valid = (valid_by, valid_share, seed)
    settings = {
        "corpus": "voxceleb",
        "version": VERSION,
        "inputs": fingerprint_inputs(data_folder, _inputs(data_folder)),
        "data_folder": os.path.abspath(data_folder),
        "segment_seconds": segment_seconds,
    }
    if protocol == "identification":
        settings["protocol"] = protocol
    else:
        settings |= {"trials": sorted(trials), "train_on": train_on and sorted(train_on)}
        settings["valid"] = list(valid)
    lists_written = [f"trials_{name}" for name in trials]
    if is_prepared(save_folder, settings, [*SPLITS, *lists_written]):
        return
    remove_trials(save_folder, TRIAL_FILES)
    skips = SkipRegister(skip_limit)
    if protocol == "identification":
        plan = _plan_identification(data_folder, skips)
    else:
        plan = _plan_verification(data_folder, list(trials), train_on, valid, skips)
    expand = partial(_cut, segment_seconds, skips) if segment_seconds else None
    rows = make_rows(plan.clips, plan.about, skips)
    rows = add_durations(rows, data_folder, skips, sample_rate, num_workers, expand=expand)
    there: set[str] = set()
    write_corpus(
        save_folder,
        _remember(rows, there),
        settings,
        skips,
        extra_columns=("nationality", *(("start", "stop") if segment_seconds else ())),
        disjoint=plan.disjoint,
    )
    write_lists(plan.lists, save_folder, there, skip_limit)


def _check_options(
    protocol: str,
    trials: list[str],
    train_on: list[str] | None,
    valid_by: str,
    valid_share: float,
    segment_seconds: float | None,
) -> None:
    if protocol not in ("verification", "identification"):
        raise ValueError(f"protocol ({protocol!r}) has to be verification or identification")
    if protocol == "identification" and (trials or train_on not in (None, ["voxceleb1"])):
        raise ValueError(
            f"protocol: identification has no trials ({trials}) and trains on voxceleb1 alone "
            f"({train_on}): set trials: [] and train_on: null"
        )
    if valid_by not in ("speaker", "video") or not 0 < valid_share <= 0.5:
        raise ValueError(
            f"valid_by ({valid_by!r}) has to be speaker or video, and valid_share ({valid_share}) "
            "above 0 and at most 0.5"
        )
    if segment_seconds is not None and segment_seconds <= 0:
        raise ValueError(f"segment_seconds ({segment_seconds}) has to be above 0")


class _Plan(NamedTuple):
    """The utterances with their splits, the speakers' metadata, the lists of trials by name, and
    the columns whose values no two splits share."""

    clips: Iterator[tuple[str, Clip]]
    about: dict[str, dict]
    lists: dict[str, str]
    disjoint: list[tuple[str, ...]]


def _find_speakers(data_folder: str) -> dict[str, list[str]]:
    """Finds the folders of each speaker; raises where the folder does not hold VoxCeleb."""
    speakers = find_speakers(data_folder) if os.path.isdir(data_folder) else {}
    if not speakers:
        folder = "wav/id[01][0-9][0-9][0-9][0-9]"
        layout = {folder: "speaker of VoxCeleb, such as wav/id10001 or dev/wav/id00012"}
        expect_layout(data_folder, "VoxCeleb", layout)
    return speakers


def _plan_identification(data_folder: str, skips: SkipRegister) -> _Plan:
    """Plans the official split, which has speakers, and may have videos, in several splits."""
    speakers = _find_speakers(data_folder)
    split_of = read_split(data_folder, skips)
    speakers = {s: folders for s, folders in speakers.items() if corpus_of(s) == "voxceleb1"}
    refuse_unconverted(data_folder, speakers)
    about = read_speakers(data_folder, "voxceleb1", skips, required=False)
    for known in about.values():
        del known["set"]
    return _Plan(follow_split(data_folder, speakers, split_of, skips), about, {}, [])


def _plan_verification(
    data_folder: str,
    trials: list[str],
    train_on: list[str] | None,
    valid: tuple[str, float, int],
    skips: SkipRegister,
) -> _Plan:
    """Plans the splits so that train and valid have no test speaker of the lists or metadata."""
    speakers = _find_speakers(data_folder)
    train_on = choose_corpora(train_on, trials, speakers)
    lists = find_lists(data_folder, trials)
    tested, held_out = set(), set()
    for path in lists.values():
        for enrol, test, _ in read_list(path, SkipRegister()):
            tested |= {enrol, test}
    held_out = {utterance.split("--")[0].split("_")[1] for utterance in tested}
    about = {}
    for corpus in sorted({*train_on, *({"voxceleb1"} if trials else ())}):
        about |= read_speakers(data_folder, corpus, skips, required=not trials)
    held_out |= {speaker for speaker, known in about.items() if known.pop("set") == "test"}
    protocol = Protocol(tested, held_out, train_on, *valid)
    used = {
        speaker: folders
        for speaker, folders in speakers.items()
        if protocol.may_train(speaker) or speaker in held_out
    }
    refuse_unconverted(data_folder, used)
    clips = assign_clips(data_folder, used, protocol, skips)
    disjoint = [("speaker",)] if protocol.valid_by == "speaker" else [("speaker", "source")]
    return _Plan(clips, about, lists, disjoint)


if __name__ == "__main__":
    run(prepare_voxceleb)
