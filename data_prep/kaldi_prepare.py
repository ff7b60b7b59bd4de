"""Kaldi data directories: any corpus that a Kaldi, ESPnet or k2 recipe has prepared.

The name of a directory gives its split: ``train``, ``train_clean``, ``dev``, ``valid``, ``test``,
``eval2000``, ... It holds ``wav.scp`` and ``utt2spk``, and may hold ``segments``, ``text``,
``utt2lang``, ``spk2gender``, ``spk2age`` and ``spk2lang``. speechocean762 (OpenSLR 101) is such a
corpus:

``python -m data_prep.kaldi_prepare --data_folder speechocean762 --save_folder csv/speechocean762``
``--constants language=en``

Relative paths of ``wav.scp`` start at the data folder; absolute ones have to lie in it. Entries
have to name files: commands (``flac -c -d a.flac |``) are refused, because a downloaded table
could then run any program. Utterances of ``segments`` get the columns ``start`` and ``stop``
(samples), which training reads.

Where there is no directory for validation or for the test, speakers of the training set are held
out for it, drawn by seed within each gender.
"""

import os
from collections.abc import Iterator, Mapping

from data_prep.common.audio import DATA_ROOT, add_durations
from data_prep.common.command_line import run
from data_prep.common.corpus import expect_layout
from data_prep.common.links import leads_outside
from data_prep.common.skips import SkipRegister
from data_prep.common.splits import split_of
from data_prep.common.strata import split_by_stratum
from data_prep.common.writing import fingerprint_inputs, is_prepared, write_corpus
from data_prep.custom.columns import ROLES, make_row, wav_cell
from data_prep.kaldi.segments import cut, read_segment
from data_prep.kaldi.tables import (
    SPEAKER_TABLES,
    TABLES,
    UTTERANCE_TABLES,
    Entry,
    audio_file,
    read_entries,
    read_optional,
)
from masr_modules.data.schema import METADATA_COLUMNS

#: Version of the output; raised when the same folder gives other CSVs.
VERSION = 1


def find_directories(kaldi_folder: str, names: list[str] | None = None) -> dict[str, str]:
    """Finds the Kaldi data directories of a folder.

    Arguments
    ---------
    kaldi_folder : str
        Folder that holds the directories, or is one itself (then it is `train`).
    names : list of str, optional
        Names of the directories (default: all).

    Returns
    -------
    dict of str to str
        Path of each directory -> its split.

    Raises
    ------
    FileNotFoundError
        If there is no directory, or a named one is missing.
    ValueError
        If a directory's name is not that of a split.
    """
    if names is None:
        layout = {"*/wav.scp": "a Kaldi directory for each split", "wav.scp": "a single one"}
        expect_layout(kaldi_folder, "a corpus in Kaldi's form", layout, any_of=True)
        if os.path.exists(os.path.join(kaldi_folder, "wav.scp")):
            return {kaldi_folder: "train"}
        names = sorted(
            name
            for name in os.listdir(kaldi_folder)
            if os.path.exists(os.path.join(kaldi_folder, name, "wav.scp"))
        )
    found = {os.path.join(kaldi_folder, name): name for name in names}
    for path in found:
        expect_layout(path, "a Kaldi directory", {"wav.scp": "paths", "utt2spk": "speakers"})
    return {
        path: split_of(name, f"{path} (directories=… leaves directories out)")
        for path, name in found.items()
    }


class _Directory:
    """The utterances of one Kaldi data directory."""

    def __init__(self, folder: str):
        self.recordings = read_entries(os.path.join(folder, "wav.scp"))
        self.files = {key: audio_file(entry) for key, entry in self.recordings.items()}
        self.speakers = read_entries(os.path.join(folder, "utt2spk"))
        parts = read_optional(folder, "segments")
        self.segments = {key: read_segment(entry) for key, entry in parts.items()}
        self.entries = parts or self.recordings
        tables = {name: read_optional(folder, name) for name in TABLES[3:]}
        self.by_utterance = {UTTERANCE_TABLES[n]: tables[n] for n in UTTERANCE_TABLES}
        self.by_speaker = {SPEAKER_TABLES[n]: tables[n] for n in SPEAKER_TABLES}

    def cells(self, utterance: str, speaker: str) -> dict[str, str]:
        """Returns an utterance's cells; tables by utterance override those by speaker."""
        cells = {}
        for key, tables in ((speaker, self.by_speaker), (utterance, self.by_utterance)):
            for column, entries in tables.items():
                if (entry := entries.get(key)) is not None and entry.value:
                    cells[column] = entry.value
        return cells

    def gender(self, speaker: str) -> str:
        entry = self.by_speaker["gender"].get(speaker)
        return entry.value.lower() if entry else ""

    def rows(
        self, folders: tuple[str, str], skips: SkipRegister
    ) -> Iterator[tuple[str, str, dict, dict[str, str]]]:
        """Yields each utterance's place, speaker, audio columns, and cells from the tables."""
        for utterance, entry in self.entries.items():
            segment = self.segments.get(utterance)
            recording = segment[0] if segment else utterance
            if recording not in self.files:
                skips.skip("recording is not in wav.scp", f"{entry.where}: {recording}")
                continue
            speaker = self.speakers.get(utterance, Entry("", "")).value
            if not speaker:
                skips.skip("utterance is not in utt2spk", f"{entry.where}: {utterance}")
                continue
            wav = wav_cell(self.files[recording], *folders, self.recordings[recording].where)
            if leads_outside(wav.removeprefix(DATA_ROOT), folders[0]):
                skips.skip("audio: link that leaves the folder", f"{entry.where}: {wav}")
                continue
            audio: dict[str, object] = {"ID": utterance, "wav": wav}
            if segment:
                audio["segment"] = segment[1:]
            yield entry.where, speaker, audio, self.cells(utterance, speaker)
        for utterance, entry in self.speakers.items():
            if utterance not in self.entries:
                skips.skip("utterance has no audio", f"{entry.where}: {utterance}")


def hold_out(
    directories: Mapping[_Directory, str], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Draws speakers of the training directories for the splits that have no directory.

    Arguments
    ---------
    directories : mapping of _Directory to str
        Directory -> split.
    shares : mapping of str to float
        Split -> approximate fraction of the speakers.
    seed : int
        Seed of the draw.

    Returns
    -------
    dict of str to str
        Speaker of the training directories -> split; empty where no split lacks a directory.
    """
    shares = {name: s for name, s in shares.items() if name not in directories.values()}
    genders = {
        entry.value: directory.gender(entry.value)
        for directory, split in directories.items()
        if split == "train"
        for entry in directory.speakers.values()
    }
    return split_by_stratum(genders, shares, seed) if shares and genders else {}


def make_rows(
    directories: Mapping[_Directory, str],
    held_out: Mapping[str, str],
    corpus: str,
    constants: Mapping[str, str],
    folders: tuple[str, str],
    skips: SkipRegister,
) -> Iterator[tuple[str, dict]]:
    """Yields the split and the row of each utterance.

    Arguments
    ---------
    directories : mapping of _Directory to str
        Directory -> split.
    held_out : mapping of str to str
        Speaker of the training directories -> split, from `hold_out`.
    corpus : str
        Prefix of IDs and speakers, and the rows' `source`.
    constants : mapping of str to str
        Values for rows to which the tables give none.
    folders : (str, str)
        Data folder and save folder.
    skips : SkipRegister
        Counts utterances that are left out, notes what is odd.

    Yields
    ------
    (str, dict)
        Split and row, without duration.
    """
    first: dict[str, str] = {}
    for directory, given in directories.items():
        for where, speaker, audio, cells in directory.rows(folders, skips):
            split = held_out.get(speaker, given) if given == "train" else given
            if first.setdefault(speaker, split) != split:
                skips.note("speaker in two of the given splits", f"{where}: {speaker}")
            row = make_row(cells, constants, where, skips)
            row |= {"speaker": f"{corpus}_{speaker}", "source": corpus}
            yield split, row | audio | {"ID": f"{corpus}_{audio['ID']}"}


def prepare_kaldi(
    data_folder: str,
    save_folder: str,
    kaldi_folder: str | None = None,
    directories: list[str] | None = None,
    corpus: str | None = None,
    constants: dict[str, str] | None = None,
    valid_share: float = 0.15,
    test_share: float = 0.35,
    seed: int = 1234,
    sample_rate: int = 16000,
    num_workers: int = 8,
    skip_limit: float = 0.01,
    skip_prep: bool = False,
) -> None:
    """Prepares a corpus in Kaldi's form.

    Arguments
    ---------
    data_folder : str
        Folder of the audio, to which relative paths refer.
    save_folder : str
        Folder of `train.csv`, `valid.csv` and `test.csv`.
    kaldi_folder : str, optional
        Folder of the Kaldi directories, or one of them (default: the data folder).
    directories : list of str, optional
        Names of the directories, each of which gives its split (default: all there are).
    corpus : str, optional
        Prefix of IDs and speakers, and the column `source` (default: the data folder's name).
    constants : dict of str to str, optional
        Values that hold for all utterances, such as language=en.
    valid_share : float
        Approximate fraction of the training speakers for validation, where it has no directory.
    test_share : float
        Approximate fraction of the training speakers for the test, where it has no directory.
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
        If there is no Kaldi directory.
    ValueError
        If `wav.scp` names a command or a path outside the data folder, a table is broken, or too
        many utterances are left out.

    Example
    -------
    >>> prepare_kaldi("/corpora/speechocean762", "csv/speechocean762", skip_prep=True)
    """
    if skip_prep:
        return
    kaldi_folder, constants = kaldi_folder or data_folder, constants or {}
    corpus = corpus or os.path.basename(os.path.abspath(data_folder))
    found = find_directories(kaldi_folder, directories)
    settings = {
        "corpus": "kaldi",
        "version": VERSION,
        "inputs": fingerprint_inputs(
            ".", [os.path.join(f, name) for f in found for name in TABLES]
        ),
        "data_folder": os.path.abspath(data_folder),
        "name": [corpus, constants],
        "directories": {os.path.abspath(path): split for path, split in found.items()},
        "split": [valid_share, test_share, seed],
    }
    if is_prepared(save_folder, settings):
        return
    skips = SkipRegister(skip_limit)
    read = {_Directory(path): split for path, split in found.items()}
    held_out = hold_out(read, {"test": test_share, "valid": valid_share}, seed)
    rows = make_rows(read, held_out, corpus, constants, (data_folder, save_folder), skips)
    schema = {*ROLES, *METADATA_COLUMNS}
    segments = ("start", "stop") if any(directory.segments for directory in read) else ()
    write_corpus(
        save_folder,
        add_durations(
            *(rows, data_folder, skips, sample_rate, num_workers),
            expand=lambda _, row, info: cut(row, info, skips),
        ),
        settings,
        skips,
        extra_columns=(*(name for name in constants if name not in schema), *segments),
        disjoint=[("speaker",)] if set(found.values()) == {"train"} else [],
    )


if __name__ == "__main__":
    run(prepare_kaldi)
