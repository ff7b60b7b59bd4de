"""Files of a corpus of acted emotion, and the labels in their names."""

import os
import re
from collections.abc import Iterable, Iterator

from data_prep.acted_emotion.corpora import ActedCorpus
from data_prep.common.links import leads_outside
from data_prep.common.skips import SkipRegister
from data_prep.common.tables import read_table
from masr_modules.data.csv_text import text_lines
from masr_modules.data.labels import trim_cell

#: Extensions of audio, in upper or lower case. Of an utterance in two formats, the first is taken.
AUDIO = (".wav", ".flac", ".opus", ".ogg", ".mp3")


def find_audio(data_folder: str, skips: SkipRegister) -> Iterator[str]:
    """Yields the audio files of a folder and of the folders below it.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus. Hidden files (such as `._*`, which macOS writes) are ignored.
    skips : SkipRegister
        Counts linked folders, which are not entered: they may lead anywhere.

    Yields
    ------
    str
        Path relative to the folder, with `/`, in an order that does not depend on the file system.
    """
    for folder, inner, names in os.walk(data_folder):
        inner.sort()
        for name in filter(lambda name: os.path.islink(os.path.join(folder, name)), inner):
            skips.skip("linked folder is not entered", _shown(os.path.join(folder, name)))
        for name in sorted(names):
            if name.lower().endswith(AUDIO) and not name.startswith("."):
                path = os.path.relpath(os.path.join(folder, name), data_folder)
                yield path.replace(os.sep, "/")


def read_name(path: str, corpus: ActedCorpus) -> dict[str, str] | None:
    """Reads the labels in the name of a file.

    Arguments
    ---------
    path : str
        Path relative to the corpus's folder.
    corpus : ActedCorpus
        Its description.

    Returns
    -------
    dict of str to str, optional
        `name` and `speaker`; `emotion`, `sentence_id` and `gender`, empty where the name has none.
        None where the name matches no pattern of the corpus, or has an unknown code of an emotion.

    Example
    -------
    >>> from data_prep.acted_emotion.corpora import EMODB
    >>> read_name("wav/03a01Fa.wav", EMODB)["emotion"], read_name("wav/notes.wav", EMODB)
    ('happiness', None)
    """
    stem = os.path.splitext(path)[0]
    matches = (re.fullmatch(rf"(?:.*/)?{pattern}", stem) for pattern in corpus.patterns)
    match = next(filter(None, matches), None)
    if match is None:
        return None
    told = {name: cell for name, cell in match.groupdict().items() if cell}
    code = told.get("emotion")
    if code is not None and code not in corpus.emotions:
        return None
    sentence = told.get("sentence", "")
    return {
        "name": told.get("name", stem.rpartition("/")[2]).replace("/", "_"),
        "speaker": told["speaker"],
        "gender": corpus.genders.get(told.get("gender", ""), ""),
        "emotion": corpus.emotions[code] if code else "",
        "sentence_id": f"{told['part']}_{sentence}" if "part" in told else sentence,
    }


def choose_files(
    paths: Iterable[str], data_folder: str, corpus: ActedCorpus, skips: SkipRegister
) -> dict[str, tuple[str, dict[str, str]]]:
    """Chooses the files that are utterances of the corpus, each utterance once.

    Arguments
    ---------
    paths : iterable of str
        Paths from `find_audio`.
    data_folder : str
        Folder of the corpus.
    corpus : ActedCorpus
        Its description.
    skips : SkipRegister
        Counts files that do not belong to the corpus, and those that are left out or duplicates.

    Returns
    -------
    dict of str to (str, dict)
        Name -> path, and the labels from `read_name`.

    Raises
    ------
    FileNotFoundError
        If there is no audio.
    ValueError
        If no file is named as the corpus names its files, or two files of the same name and
        extension differ in size.
    """
    found: dict[str, tuple[str, dict[str, str]]] = {}
    strange = []
    for path in sorted(paths, key=lambda path: (AUDIO.index(_extension(path)), path)):
        shown = _shown(path)
        told = read_name(path, corpus)
        if reason := _why_left_out(path, corpus):
            skips.exclude(reason, shown)
        elif told is None:
            strange.append(shown)
        elif leads_outside(path, data_folder):
            skips.skip("audio: link that leaves the folder", shown)
        elif told["name"] in found:
            _check_same(data_folder, found[told["name"]][0], path)
            skips.note("utterance is there twice, taken once", shown)
        else:
            found[told["name"]] = (path, told)
    expected = f"{corpus.title} names its files like {corpus.example}"
    if not found and not strange and not skips.report():
        raise FileNotFoundError(f"{data_folder}: holds no audio ({', '.join(AUDIO)}); {expected}")
    if not found and strange:
        raise ValueError(
            f"{data_folder}: no audio file has a name of this corpus; {expected}, matching "
            f"{' or '.join(corpus.patterns)}; found: {', '.join(strange[:5])}"
        )
    for shown in strange:
        skips.skip(f"file is not named as in {corpus.title} (like {corpus.example})", shown)
    return found


def _shown(path: str) -> str:
    """Returns a path in a form that can be printed, whatever bytes it has."""
    return path.encode(errors="backslashreplace").decode()


def _extension(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _why_left_out(path: str, corpus: ActedCorpus) -> str:
    """Returns the reason why a file is left out by its name; empty where it is not."""
    stem = os.path.splitext(path)[0]
    for pattern, reason in corpus.left_out.items():
        if re.fullmatch(pattern, stem) or re.fullmatch(pattern, stem.rpartition("/")[2]):
            return reason
    return ""


def _check_same(data_folder: str, first: str, second: str) -> None:
    """Raises where two files of one name and extension differ in size.

    Another extension means the same utterance in another format, so sizes are not compared.
    """
    if _extension(first) != _extension(second):
        return
    sizes = [os.path.getsize(os.path.join(data_folder, path)) for path in (first, second)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"{data_folder}: {first} and {second} are one utterance by their names, but differ in "
            "size; remove the wrong one"
        )


def read_about(
    data_folder: str, corpus: ActedCorpus, skips: SkipRegister
) -> dict[str, dict[str, str]]:
    """Reads the table that comes with the corpus.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    corpus : ActedCorpus
        Its description.
    skips : SkipRegister
        Counts malformed lines, notes a table that is missing.

    Returns
    -------
    dict of str to dict
        Speaker or name -> column -> cell; empty where the corpus has no table.

    Raises
    ------
    ValueError
        If the table lacks a column, or a key occurs in two of its lines.
    """
    table = corpus.table
    if table is None:
        return {}
    path = os.path.join(data_folder, table.path)
    if not os.path.lexists(path):
        what = ", ".join(table.columns)
        skips.note(f"table is missing: its columns ({what}) stay empty", path)
        return {}
    about: dict[str, dict[str, str]] = {}
    tabs = path.endswith(".tsv")
    required = (table.key, *table.columns.values())
    rows = read_table(path, skips, "\t" if tabs else ",", quoted=not tabs, required=required)
    for where, cells in rows:
        key = os.path.splitext(cells[table.key])[0]
        if key in about:
            raise ValueError(f"{where}: {table.key} {key!r} comes twice; keep one of the lines")
        about[key] = {ours: cells[theirs] for ours, theirs in table.columns.items()}
    return about


def text_path(path: str, corpus: ActedCorpus) -> str:
    """Returns the path of an utterance's text file; empty where the corpus has none.

    Example
    -------
    >>> from data_prep.acted_emotion.corpora import EMOTTS
    >>> text_path("Personality/pfa/wav/pfa00001.wav", EMOTTS)
    'Personality/pfa/transcript/pfa00001.txt'
    """
    if not corpus.text_folder:
        return ""
    folder, name = os.path.split(os.path.splitext(path)[0])
    return f"{os.path.dirname(folder)}/{corpus.text_folder}/{name}.txt"


def read_text(data_folder: str, path: str, skips: SkipRegister) -> str:
    """Reads a text file as one line; a missing file, or one outside, is noted and gives "".

    Raises
    ------
    ValueError
        If the file is not UTF-8.
    """
    full = os.path.join(data_folder, path)
    if not os.path.isfile(full) or leads_outside(path, data_folder):
        skips.note("text file is missing", path)
        return ""
    return " ".join(filter(None, (trim_cell(line) for _, line in text_lines(full))))
