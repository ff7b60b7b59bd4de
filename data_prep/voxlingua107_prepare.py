"""VoxLingua107: speech from YouTube in 107 languages, 6 600 hours.

The folder holds one folder per language with `VIDEO__U__S…---START-END.wav`, and `dev/LANGUAGE/`
with the development set, whose labels were checked; or the downloads `LANGUAGE.zip` and `dev.zip`,
which are unpacked where they lie, or under the save folder where the data folder is read-only. The
languages may also lie in `train/`, and `train/` or `dev/` itself may be given: the other is then
found beside it. A video's ID may itself hold `_`, `__` and `-`.

`dev` is the test set. Where it is missing, videos drawn from the training set are tested instead,
and a warning says so: their labels were not checked. The validation set is drawn by video. No video
is in two splits, even where it is filed under several languages. The languages of the training set
are labelled automatically, and some labels are wrong.

Valk and Alumäe, "VoxLingua107: a dataset for spoken language recognition", SLT
2021, arXiv 2011.12998.

Example
-------
``python -m data_prep.voxlingua107_prepare --data_folder voxlingua107 --save_folder csv``
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from data_prep.common.archives import unpack
from data_prep.common.audio import DATA_ROOT, add_durations, audio_path
from data_prep.common.command_line import run
from data_prep.common.corpus import expect_layout, language_cells
from data_prep.common.skips import SkipRegister
from data_prep.common.splits import draw_split
from data_prep.common.writing import fingerprint_inputs, is_prepared, write_corpus
from masr_modules.data.shards import write_shards

logger = logging.getLogger(__name__)

_CODES = (
    "ab af am ar as az ba be bg bn bo br bs ca ceb cs cy da de el en eo es et eu fa fi fo fr gl "
    "gn gu gv ha haw hi hr ht hu hy ia id is it iw ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk "
    "ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sco sd si sk sl sn so sq sr su sv sw ta "
    "te tg th tk tl tr tt uk ur uz vi war yi yo zh"
)

#: The languages' codes in the corpus, of which iw (Hebrew) and jw (Javanese) are obsolete.
LANGUAGES = tuple(_CODES.split())

#: Form of a file's name: ID of the video, and start and end in it (seconds). The greedy group
#: `video` takes every `__U__` but the last.
FILE_NAME = re.compile(r"(?P<video>.+)__U__S?[^-]*---(?P<start>\d+\.\d+)-(?P<end>\d+\.\d+)\.wav")

EXTRA_COLUMNS = ("video_start",)

#: Version of the output; raised when the same folder gives other CSVs.
VERSION = 2


class Folders(NamedTuple):
    """The folders of the training set's languages and of `dev`, relative to the given folder."""

    train: str
    test: str


def prepare_voxlingua107(
    data_folder: str,
    save_folder: str,
    languages: list[str] | None = None,
    valid_share: float = 0.005,
    shard_folder: str | None = None,
    seed: int = 1234,
    skip_limit: float = 0.01,
    num_workers: int = 8,
    skip_prep: bool = False,
) -> None:
    """Writes the CSVs of VoxLingua107: training and validation by video, `dev` as test.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus, which holds a folder or zip per language, or its `train` or `dev`.
    save_folder : str
        Folder of `train.csv`, `valid.csv` and `test.csv`.
    languages : list of str, optional
        Codes such as de (default: all that are there).
    valid_share : float
        Approximate fraction of the training videos for the validation set, above 0 and at
        most 0.5 (below 0.5 without `dev`, as the same fraction then becomes the test set).
    shard_folder : str, optional
        Folder for a copy of the training set as WebDataset shards, for disks on which
        millions of small files are slow. Run the same command again to resume.
    seed : int
        Seed of the draw of videos, and of the order in the shards.
    skip_limit : float
        Largest fraction of utterances that may be broken.
    num_workers : int
        Processes that read audio headers.
    skip_prep : bool
        If True, nothing is done.

    Raises
    ------
    FileNotFoundError
        If the folder is not laid out like VoxLingua107, or a language is missing.
    ValueError
        If a zip is broken or unsafe, too many utterances are broken, `valid_share` is out
        of range, or there are too few videos for it.

    Example
    -------
    >>> prepare_voxlingua107("voxlingua107", "csv", skip_prep=True)
    """
    if skip_prep:
        return
    if not 0 < valid_share <= 0.5:
        raise ValueError(f"valid_share ({valid_share}) has to be above 0 and at most 0.5")
    folders = find_folders(data_folder)
    found = find_languages(data_folder, folders, languages)
    audio = unpack_languages(data_folder, save_folder, folders, found)
    settings = {
        "corpus": "voxlingua107",
        "version": VERSION,
        "inputs": fingerprint_inputs(
            data_folder,
            [audio_path(p, data_folder) for split in audio.values() for p in split.values()],
        ),
        "data_folder": os.path.abspath(data_folder),
        "languages": found,
        "valid_share": valid_share,
        "seed": seed,
        "skip_limit": skip_limit,
    }
    if not is_prepared(save_folder, settings):
        skips = SkipRegister(skip_limit)
        rows = read_segments(data_folder, audio, valid_share, seed, skips)
        rows = add_durations(rows, data_folder, skips, num_workers=num_workers)
        write_corpus(save_folder, rows, settings, skips, EXTRA_COLUMNS, [("source",)])
    if shard_folder is not None:
        write_shards(os.path.join(save_folder, "train.csv"), data_folder, shard_folder, seed)


def find_folders(data_folder: str) -> Folders:
    """Finds the folders of the training and test sets, in the given folder or beside it.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus, or its `train` or `dev`.

    Returns
    -------
    Folders
        Both folders, relative to the given one.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "corpus"
    >>> (folder / "train/de").mkdir(parents=True)
    >>> (folder / "dev").mkdir()
    >>> find_folders(str(folder)), find_folders(str(folder / "dev"))
    (Folders(train='train', test='dev'), Folders(train='../train', test='.'))
    """

    def there(inner: str) -> bool:
        path = os.path.join(os.path.abspath(data_folder), inner)
        return os.path.isdir(path) or os.path.isfile(f"{path}.zip")

    name = os.path.basename(os.path.abspath(data_folder))
    if not there("dev"):
        if name == "dev":
            return Folders("../train" if there("../train") else "..", ".")
        if name == "train":
            return Folders(".", "../dev")
    return Folders("train" if there("train") else ".", "dev")


def find_languages(data_folder: str, folders: Folders, languages: list[str] | None) -> list[str]:
    """Finds the languages to read, in alphabetical order.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    folders : Folders
        Folders of its splits.
    languages : list of str, optional
        Languages asked for; by default, all that are there.

    Raises
    ------
    FileNotFoundError
        If none of the corpus's languages is there, or one that is asked for is not.
    """
    train = os.path.normpath(os.path.join(data_folder, folders.train))
    if languages is None:
        entries = os.listdir(train) if os.path.isdir(train) else []
        languages = sorted({entry.removesuffix(".zip") for entry in entries} & set(LANGUAGES))
    for language in languages or ["[a-z][a-z]"]:
        layout = {
            f"{language}/*__U__*.wav": "speech of a language, VIDEO__U__S0---START-END.wav",
            f"{language}.zip": "or the same as it is downloaded",
        }
        expect_layout(train, "VoxLingua107 (training set)", layout, any_of=True)
    return sorted(set(languages))


def unpack_languages(
    data_folder: str, save_folder: str, folders: Folders, languages: list[str]
) -> dict[str, dict[str, str]]:
    """Unpacks the zip files of the corpus that are not unpacked yet.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    save_folder : str
        Folder of the CSVs, which takes unpacked audio where the data folder is read-only.
    folders : Folders
        Folders of the splits.
    languages : list of str
        Codes of the languages.

    Returns
    -------
    dict of str to dict
        `train` and `test` -> language -> its folder, in the form with which a cell of the column
        `wav` begins. `test` has only the languages that `dev` has.

    Raises
    ------
    ValueError
        If a zip is broken or unsafe.
    """

    def audio(inner: str) -> str:
        inner = os.path.normpath(inner)
        return unpack(f"{inner}.zip", inner, data_folder, save_folder)

    found = {"train": {code: audio(f"{folders.train}/{code}") for code in languages}, "test": {}}
    dev = os.path.normpath(os.path.join(data_folder, folders.test))
    if os.path.isdir(dev) or os.path.isfile(f"{dev}.zip"):
        prefix = DATA_ROOT.rstrip("/") if folders.test == "." else audio(folders.test)
        inside = {code: f"{prefix}/{code}" for code in languages}
        found["test"] = {
            code: path
            for code, path in inside.items()
            if os.path.isdir(audio_path(path, data_folder))
        }
    return found


def read_segments(
    data_folder: str,
    audio: dict[str, dict[str, str]],
    valid_share: float,
    seed: int,
    skips: SkipRegister,
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yields the segments with the labels that their paths give, without durations.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    audio : dict of str to dict
        Split -> language -> its folder, from `unpack_languages`.
    valid_share : float
        Approximate fraction of the videos for the validation set.
    seed : int
        Seed of the draw.
    skips : SkipRegister
        Counts files that are left out.

    Yields
    ------
    (str, dict)
        Split and row.

    Raises
    ------
    ValueError
        If the draw leaves a split empty.
    """
    test_videos: set[str] = set()
    for language, folder in audio["test"].items():
        for row in _read_folder(data_folder, folder, f"dev_{language}", skips):
            test_videos.add(row["source"])
            yield "test", row
    shares = {"valid": valid_share, "train": 1 - valid_share}
    if not test_videos:
        shares |= {"train": 1 - 2 * valid_share, "test": valid_share}
        logger.warning(
            "%s: no dev/ with %s. test.csv is drawn from the training set instead, about %g of its "
            "videos: their labels are automatic, and metrics on them do not compare with those on "
            "dev. For the labelled test set put dev.zip there and prepare again.",
            *(data_folder, ", ".join(audio["train"]), valid_share),
        )
    drawn = Counter(dict.fromkeys(shares, 0))
    for language, folder in audio["train"].items():
        for row in _read_folder(data_folder, folder, language, skips):
            if row["source"] in test_videos:
                skips.exclude("video is in dev", row["wav"])
                continue
            split = draw_split(f"{seed}/{row['source']}", shares)
            drawn[split] += 1
            yield split, row
    empty = [split for split, count in drawn.items() if not count]
    if empty and drawn.total():
        raise ValueError(
            f"{data_folder}: none of the {drawn.total()} training segments became "
            f"{' or '.join(empty)}: splits are drawn by video, and there are too few videos for "
            f"valid_share {valid_share}. Try a larger one, such as --valid_share 0.2, or more "
            "languages"
        )


def _read_folder(
    data_folder: str, folder: str, prefix: str, skips: SkipRegister
) -> Iterator[dict[str, object]]:
    cells, short = language_cells(prefix.removeprefix("dev_")), folder.removeprefix(DATA_ROOT)
    for name in sorted(os.listdir(audio_path(folder, data_folder))):
        parts = FILE_NAME.fullmatch(name)
        if name.startswith("._") or not name.endswith(".wav"):
            skips.note("not of the corpus", f"{short}/{name}")
        elif parts is None:
            skips.skip("name is not VIDEO__U__S0---START-END.wav", f"{short}/{name}")
        else:
            yield {
                "ID": f"voxlingua107_{prefix}_{name.removesuffix('.wav')}",
                "wav": f"{folder}/{name}",
                **cells,
                "source": parts["video"],
                "video_start": float(parts["start"]),
            }


if __name__ == "__main__":
    run(prepare_voxlingua107)
