"""The Debian corpus: about nine hours of people speaking 30 languages, from Debian packages.

The recordings come with games, a drawing program and a telephone exchange
(``debian_packages.py``); licences differ and allow use and redistribution (column
``licence``). Packages are downloaded with apt, or taken as .deb files from
``DATA_FOLDER/packages``. The text is what the packages' own files say
(``debian_clips.py``); it is kept where its length fits the recording.

Most languages come from one source and one voice, hence the protocols:

- ``source_disjoint``: no source of the test set is in train or valid. The only one that
  says anything about language.
- ``random``: measures the recording channel and the voice. Upper bound, not a result.
- ``asr``: the random split of utterances whose text can be trusted; no sentence on two sides.

``trials.csv`` holds speaker verification trials of the test set, within source and language.

Example
-------
``python -m data_prep.debian_prepare --data_folder data/debian --save_folder data/debian/csv``
"""

import argparse
import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Sequence

from tqdm import tqdm

from data_prep.common import SPLITS, check_disjoint, summarise, write_csv
from data_prep.debian_audio import NotSpeech, convert
from data_prep.debian_clips import Clip, read_clips
from data_prep.debian_packages import PACKAGES, fetch_packages, unpack
from data_prep.debian_splits import (
    check_texts,
    speaker_trials,
    split_by_source,
    split_random,
)
from masr_modules.languages import language_family, language_region, resolve_language
from masr_modules.results import format_table, replace_block, write_atomic

logger = logging.getLogger(__name__)

PROTOCOLS = ("source_disjoint", "random", "asr")
#: Of the random split and the trials.
SEED = 1234


def make_row(clip: Clip, wav: str, duration: float, recording: str) -> dict[str, object]:
    """Describe a recording by the schema's columns, and some of its own.

    Arguments
    ---------
    clip : Clip
        The recording.
    wav : str
        Its converted file, relative to the corpus' folder.
    duration : float
        Seconds.
    recording : str
        Fingerprint of its samples.

    Returns
    -------
    dict of str to object
        Its row.
    """
    source, language = clip.package.source, resolve_language(clip.label)
    words = " ".join(re.findall(r"\w+", clip.text.casefold()))
    sentence = hashlib.sha256(f"{language}/{words}".encode()).hexdigest()[:16] if words else ""
    return {
        "ID": f"debian_{source}_{clip.label}_{clip.name.replace('/', '.')}",
        "duration": duration,
        "wav": f"$data_root/{wav}",
        "language": language,
        "language_label": clip.label,
        "family": language_family(clip.label),
        "region": language_region(clip.label),
        "speaker": clip.speaker,
        "gender": clip.gender,
        "source": source,
        "text": clip.text,
        "character": clip.character,
        "level": clip.level,
        "sentence": sentence,
        "recording": recording,
        "package": clip.package.name,
        "licence": clip.package.licence,
    }


def convert_clips(clips: list[Clip], data_folder: str) -> list[dict[str, object]]:
    """Convert recordings that are not there yet, and describe those that can be used.

    Of copies of one recording the first is kept; copies under different languages
    are left out altogether, for one of the labels is wrong.

    Arguments
    ---------
    clips : list of Clip
        The recordings.
    data_folder : str
        Folder of the corpus; WAV files go to its folder ``wav``.

    Returns
    -------
    list of dict
        Rows in the order of the clips.
    """
    rows, left_out = [], Counter()
    for clip in tqdm(clips, desc="converting", unit="recording"):
        wav = f"wav/{clip.package.source}/{clip.label}/{clip.name}.wav"
        key = os.path.relpath(clip.path, data_folder).replace(os.sep, "/")
        try:
            audio = convert(clip.path, os.path.join(data_folder, wav), key)
        except NotSpeech as error:
            left_out[clip.package.source, str(error)] += 1
        else:
            rows.append(make_row(clip, wav, audio.duration, audio.recording))
    languages: dict[object, set] = {}
    for row in rows:
        languages.setdefault(row["recording"], set()).add(row["language"])
    kept: dict[object, dict] = {}
    for row in rows:
        if len(languages[row["recording"]]) > 1:
            left_out[row["source"], "copy under another language"] += 1
        elif row["recording"] in kept:
            left_out[row["source"], "copy of another recording"] += 1
        else:
            kept[row["recording"]] = row
    for (source, reason), count in sorted(left_out.items()):
        logger.info("%s: %d left out: %s", source, count, reason)
    return list(kept.values())


def split(
    rows: list[dict], protocol: str, test_sources: Sequence[str], valid_sources: Sequence[str]
) -> dict[str, list[dict]]:
    """The sides of a protocol, checked.

    Arguments
    ---------
    rows : list of dict
        All utterances.
    protocol : str
        One of `PROTOCOLS`.
    test_sources, valid_sources : sequence of str
        Of the source-disjoint split.

    Returns
    -------
    dict of str to list of dict
        The sides.

    Raises
    ------
    ValueError
        If the protocol is unknown.
    """
    if protocol == "source_disjoint":
        sides = split_by_source(rows, test_sources, valid_sources)
        check_disjoint(
            {"train": sides["train"] + sides["valid"], "test": sides["test"]}, ("source",)
        )
    elif protocol in PROTOCOLS:
        trusted = [row for row in rows if row["text"]] if protocol == "asr" else rows
        sides = split_random(trusted, SEED)
        told = {side: [row for row in sides[side] if row["sentence"]] for side in SPLITS}
        check_disjoint(told, ("sentence",))
    else:
        raise ValueError(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
    check_disjoint(sides, ("recording",))
    return sides


def corpus_table(rows: list[dict]) -> str:
    """Minutes of each language from each source, as a Markdown table.

    Arguments
    ---------
    rows : list of dict
        All utterances.

    Returns
    -------
    str
        One line a language, and one of all; below it the licences.

    Example
    -------
    >>> row = {"language": "fra", "source": "fillets", "duration": 90.0, "licence": "GPL-2"}
    >>> print(corpus_table([row]).splitlines()[2])
    | fra      | 1          | 1.5           | 1.5       |
    """
    sources = sorted({row["source"] for row in rows})
    lines: dict[str, dict[str, float]] = {}
    for row in sorted(rows, key=lambda row: row["language"]) + [
        row | {"language": "all"} for row in rows
    ]:
        line = lines.setdefault(row["language"], {"utterances": 0, "all": 0.0})
        line["utterances"] += 1
        for column in (row["source"], "all"):
            line[column] = line.get(column, 0.0) + row["duration"]
    columns = [("utterances", "utterances", "count")]
    columns += [(source, source, "minutes") for source in [*sources, "all"]]
    table = format_table({name: [line] for name, line in lines.items()}, columns, "language")
    licences = {
        source: sorted({row["licence"] for row in rows if row["source"] == source})
        for source in sources
    }
    told = "; ".join(f"{source} {', '.join(names)}" for source, names in licences.items())
    return f"{table}\n\nLicences: {told}."


def write_trials(path: str, trials: list[dict[str, object]]) -> None:
    """Write trials as a CSV: target (1 or 0), enrol and test (IDs)."""
    lines = ["target,enrol,test"]
    lines += [f"{trial['target']},{trial['enrol']},{trial['test']}" for trial in trials]
    write_atomic(path, "\n".join(lines) + "\n")


def prepare_debian(
    data_folder: str,
    save_folder: str,
    packages: Sequence[str] | None = None,
    protocol: str = "source_disjoint",
    test_sources: Sequence[str] = ("asterisk", "ktuberling"),
    valid_sources: Sequence[str] = ("klettres",),
    skip_prep: bool = False,
) -> None:
    """Make the Debian corpus and the CSVs of a protocol.

    Interrupted work goes on where it was when the same command is given again.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus. Its folder ``packages`` holds the .deb files; those that
        are missing are downloaded with apt.
    save_folder : str
        Folder of ``train.csv``, ``valid.csv``, ``test.csv``, ``trials.csv`` and
        ``corpus.md`` (the hours of all languages and sources).
    packages : sequence of str, optional
        Names of the packages (default: all that are known).
    protocol : str
        ``source_disjoint``, ``random`` or ``asr``.
    test_sources, valid_sources : sequence of str
        Of the source-disjoint split.
    skip_prep : bool
        If True, nothing is done.

    Raises
    ------
    FileNotFoundError
        If packages are missing and there is no apt.
    RuntimeError
        If apt fails.
    ValueError
        If a package or protocol is unknown, a package is broken, or a side is empty.

    Example
    -------
    >>> prepare_debian("data/debian", "data/debian/csv", skip_prep=True)
    """
    if skip_prep:
        return
    names = list(PACKAGES) if packages is None else list(packages)
    unknown = [name for name in names if name not in PACKAGES]
    if unknown or not names:
        raise ValueError(f"packages {unknown}: none of those known ({', '.join(PACKAGES)})")
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
    debs = fetch_packages(names, os.path.join(data_folder, "packages"))
    unpacked = os.path.join(data_folder, "unpacked")
    roots = [(PACKAGES[name], unpack(path, unpacked)) for name, path in debs.items()]
    rows = convert_clips(read_clips(roots), data_folder)
    if not rows:
        raise ValueError(f"{data_folder}: none of the packages' recordings can be used")
    check_texts(rows)
    sides = split(rows, protocol, test_sources, valid_sources)
    for side, members in sides.items():
        write_csv(os.path.join(save_folder, f"{side}.csv"), members)
    write_trials(os.path.join(save_folder, "trials.csv"), speaker_trials(sides["test"], SEED))
    write_atomic(os.path.join(save_folder, "corpus.md"), corpus_table(rows) + "\n")
    logger.info("%s", summarise(sides))


def main() -> None:
    """Prepare the corpus from the command line."""
    parser = argparse.ArgumentParser(description="Prepare the recordings in Debian packages.")
    parser.add_argument("--data_folder", required=True, help="folder of the corpus")
    parser.add_argument("--save_folder", required=True, help="folder of the CSVs")
    parser.add_argument("--packages", nargs="+", help="names (default: all that are known)")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="source_disjoint")
    parser.add_argument("--test_sources", nargs="+", default=["asterisk", "ktuberling"])
    parser.add_argument("--valid_sources", nargs="+", default=["klettres"])
    parser.add_argument("--readme", help="also replace the corpus' table in this file")
    arguments = vars(parser.parse_args())
    readme = arguments.pop("readme")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    prepare_debian(**arguments)
    if readme:
        with open(os.path.join(arguments["save_folder"], "corpus.md"), encoding="utf-8") as file:
            replace_block(readme, "debian-corpus", file.read())


if __name__ == "__main__":
    main()
