"""VoxCeleb's lists of trials, and the lists that forbid training on VoxCeleb1."""

import logging
import re
from collections.abc import Iterator

from data_prep.common.skips import SkipRegister
from data_prep.common.trials import trials_path, write_trials
from data_prep.voxceleb.files import clip_id, find_file
from masr_modules.data.csv_text import open_text

logger = logging.getLogger(__name__)

#: List -> its file. O has the 40 test speakers of VoxCeleb1; E and H have all 1251. The cleaned
#: lists, on which most papers report, omit trials whose labels were found to be wrong.
TRIAL_FILES = {
    "O": "veri_test.txt",
    "O_cleaned": "veri_test2.txt",
    "E": "list_test_all.txt",
    "E_cleaned": "list_test_all2.txt",
    "H": "list_test_hard.txt",
    "H_cleaned": "list_test_hard2.txt",
}

#: Lists that draw on all speakers of VoxCeleb1.
DRAW_ON_ALL = ("E", "E_cleaned", "H", "H_cleaned")

# 1 id10270/5r0dWxy17C8/00001.wav id10270/x6uYqmx31kE/00001.wav
_CLIP = r"(id1\d{4})/([\w-]+)/(\w+)\.wav"
_TRIAL = re.compile(rf"([01])\s+{_CLIP}\s+{_CLIP}", re.ASCII)


def find_lists(data_folder: str, trials: list[str]) -> dict[str, str]:
    """Finds the files of the lists of trials.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    trials : list of str
        Names of the lists, which are keys of TRIAL_FILES.

    Returns
    -------
    dict of str to str
        Name -> path.

    Raises
    ------
    ValueError
        If a name is not that of a list.
    FileNotFoundError
        If the file of a list is missing.
    """
    lists = {}
    for name in trials:
        if name not in TRIAL_FILES:
            raise ValueError(f"{name!r} is no list of trials; there are {', '.join(TRIAL_FILES)}")
        path = find_file(data_folder, TRIAL_FILES[name])
        if path is None:
            raise FileNotFoundError(
                f"{data_folder}: no {TRIAL_FILES[name]} (trials {name}), neither there nor in "
                "its folder meta; the VoxCeleb site offers it"
            )
        lists[name] = path
    return lists


def read_list(path: str, skips: SkipRegister) -> Iterator[tuple[str, str, int]]:
    """Reads a list of trials.

    Arguments
    ---------
    path : str
        Path of the list.
    skips : SkipRegister
        Counts malformed lines, among them those whose label contradicts the speakers.

    Yields
    ------
    (str, str, int)
        IDs of the two utterances, and 1 if the same speaker says both, else 0.
    """
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            text = line.decode("utf-8-sig", errors="replace").strip()
            if not text:
                continue
            match = _TRIAL.fullmatch(text)
            if match is None or (match[2] == match[5]) != (match[1] == "1"):
                skips.skip("malformed trial", f"{path}, line {number}: {text[:80]}")
                continue
            yield clip_id(*match.groups()[1:4]), clip_id(*match.groups()[4:7]), int(match[1])


def write_lists(
    lists: dict[str, str], save_folder: str, there: set[str], skip_limit: float
) -> None:
    """Writes the lists with the IDs of the CSVs, without trials that lack audio.

    Arguments
    ---------
    lists : dict of str to str
        Name -> path of the list.
    save_folder : str
        Folder of `trials_NAME.csv`.
    there : set of str
        IDs of the test set.
    skip_limit : float
        Largest fraction of the trials of a list that may be left out.

    Raises
    ------
    ValueError
        If more trials of a list are left out.
    """
    for name, path in lists.items():
        skips = SkipRegister(skip_limit)
        found = (trial for trial in read_list(path, skips) if _has_audio(trial, there, skips))
        write_trials(trials_path(save_folder, name), _checked(found, skips))
        logger.info("trials %s: %d\n%s", name, skips.kept, skips.report())


def _has_audio(trial: tuple[str, str, int], there: set[str], skips: SkipRegister) -> bool:
    for utterance in trial[:2]:
        if utterance not in there:
            skips.skip("trial without audio", utterance)
            return False
    skips.kept += 1
    return True


def _checked(trials: Iterator, skips: SkipRegister) -> Iterator:
    """Passes trials on, then checks what was left out, before the file takes its name."""
    yield from trials
    skips.check()
