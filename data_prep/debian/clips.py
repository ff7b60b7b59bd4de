"""Readers of the packages' layouts, which give each recording's language, text and speaker.

Each source has a reader, which takes unpacked packages and yields clips. Fields that a package
does not give stay empty.
"""

import glob
import gzip
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from data_prep.debian.packages import Package

logger = logging.getLogger(__name__)

#: An unpacked package, and its folder.
Root = tuple[Package, str]


@dataclass(frozen=True)
class Clip:
    """A recording as its package has it.

    Arguments
    ---------
    package : Package
        The package.
    path : str
        Path of the recording.
    label : str
        The package's code of the language.
    name : str
        Path without suffix, unique within source and label.
    text : str
        Text of the recording; empty where not known.
    speaker : str
        Name of the speaker; empty where not known.
    gender : str
        Gender of the speaker; empty where not known.
    """

    package: Package
    path: str
    label: str
    name: str
    text: str = ""
    speaker: str = ""
    gender: str = ""


#: Languages whose stamps are taken as spoken by one speaker; the others are small and mixed.
_STAMP_SPEAKERS = {"be", "bg", "ca", "da", "el", "es", "fr", "ro", "ru"}
_STAMP = re.compile(r"(?P<stem>.+)_desc(?:_(?P<label>[A-Za-z_@]+))?\.(?:ogg|wav)$")

#: Fonts of the game's leads, each spoken by one actor. Several characters share each of the other
#: fonts, and an actor may play several of them, so their speakers are not known.
_LEADS = {"font_small": "small", "font_big": "big"}
#: The English "dialogue" is mostly clicks, alarms and synthetic speech.
_FILLETS_LANGUAGES = ("cs", "nl")
_STRING = r'"((?:[^"\\]|\\.)*)"'
_DIALOG = re.compile(
    rf"dialogId\(\s*{_STRING}\s*,\s*{_STRING}\s*,\s*{_STRING}\s*\)\s*dialogStr\(\s*{_STRING}\s*\)"
)
_LUA_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)

#: Prompts in which nobody speaks.
_TONES = {"beep", "beeperr", "ascending-2tone", "descending-2tone", "tt-monkeys"}
_TONES |= {"confbridge-join", "confbridge-leave"}
_PROMPTS = re.compile(r"(?P<label>[a-z]{2}_[A-Z]{2})_(?P<gender>[fm])_(?P<name>\w+)$")
_GENDERS = {"f": "female", "m": "male"}

#: Languages of synthetic speech: klettres' own file says so, and ktuberling's recordings sound
#: alike.
_SYNTHETIC = {"nn"}
_AUDIO = (".ogg", ".opus", ".wav")


def _files(folder: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Yield paths below a folder in an order that does not depend on the file system."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (os.path.join(parent, name) for name in sorted(names) if name.endswith(suffixes))


def _name(path: str, folder: str) -> str:
    return os.path.splitext(os.path.relpath(path, folder))[0].replace(os.sep, "/")


def _folder(path: str) -> str:
    return os.path.basename(os.path.dirname(path))


def _read(path: str) -> str:
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        return file.read()


def read_stamp_text(path: str) -> dict[str, str]:
    """Read a stamp's description in each language: English on line 1, then ``CODE.utf8=``.

    Example
    -------
    >>> path = getfixture("tmp_path") / "frog.txt"
    >>> _ = path.write_text("A frog.\\r\\nfr.utf8=Une grenouille.\\r\\n")
    >>> read_stamp_text(str(path))
    {'en': 'A frog.', 'fr': 'Une grenouille.'}
    """
    if not os.path.isfile(path):
        return {}
    english, *lines = _read(path).splitlines() or [""]
    texts = {"en": english.strip()}
    for line in lines:
        code, found, text = line.partition(".utf8=")
        if found:
            texts[code.strip()] = text.strip()
    return texts


def read_tuxpaint(roots: list[Root]) -> Iterator[Clip]:
    """Yield descriptions of stamps: ``STEM_desc_LANG.ogg`` (no LANG: English) and ``STEM.txt``."""
    for package, root in roots:
        stamps = os.path.join(root, "usr/share/tuxpaint/stamps")
        for path in _files(stamps, (".ogg", ".wav")):
            match = _STAMP.match(path)
            if match is None:
                continue  # a noise, or the name of a letter or a digit
            label = match["label"] or "en"
            yield Clip(
                package,
                path,
                label,
                _name(match["stem"] + ".ogg", stamps),
                text=read_stamp_text(match["stem"] + ".txt").get(label, ""),
                speaker=f"tuxpaint_{label}" if label in _STAMP_SPEAKERS else "",
            )


def read_dialogs(path: str) -> dict[str, tuple[str, str]]:
    """Read the lines of a script: ID -> (font, text in the script's language).

    Example
    -------
    >>> path = getfixture("tmp_path") / "dialogs_cs.lua"
    >>> _ = path.write_text('dialogId("v-1", "font_big", "Hi.")\\n-- a\\ndialogStr("Ahoj.")')
    >>> read_dialogs(str(path))
    {'v-1': ('font_big', 'Ahoj.')}
    """
    script = _LUA_COMMENT.sub("", _read(path))
    return {
        dialog: (font, re.sub(r"\\(.)", r"\1", text).strip())
        for dialog, font, _, text in _DIALOG.findall(script)
    }


def read_fillets(roots: list[Root]) -> Iterator[Clip]:
    """Yield game dialogue: ``sound/LEVEL/LANG/ID.ogg``, ``script/LEVEL/dialogs_LANG.lua``.

    A sound without a line in the script is not speech and is left out.
    """
    game = "usr/share/games/fillets-ng"
    lines: dict[tuple[str, str, str], tuple[str, str]] = {}
    for label in _FILLETS_LANGUAGES:
        for _, root in roots:
            pattern = os.path.join(glob.escape(root), game, f"script/*/*dialogs_{label}.lua")
            for script in sorted(glob.glob(pattern)):
                for dialog, line in read_dialogs(script).items():
                    lines[_folder(script), label, dialog] = line
    for package, root in roots:
        sounds = os.path.join(root, game, "sound")
        for path in _files(sounds, (".ogg",)):
            level, label = os.path.relpath(path, sounds).split(os.sep)[0], _folder(path)
            dialog = os.path.basename(path).removesuffix(".ogg")
            font, text = lines.get((level, label, dialog), ("", ""))
            if not text:
                continue
            lead = _LEADS.get(font)
            yield Clip(
                package,
                path,
                label,
                _name(path, sounds).replace(f"/{label}/", "/"),
                text="" if "%" in text else text,  # a placeholder, in whose place a word is said
                speaker=f"fillets_{label}_{lead}" if lead else "",
            )


def read_prompt_texts(path: str) -> dict[str, str]:
    """Read the lines ``NAME: TEXT`` of a gzipped file, without remarks in brackets.

    Example
    -------
    >>> path = getfixture("tmp_path") / "core-sounds-en.txt.gz"
    >>> _ = path.write_bytes(gzip.compress(b"; English\\nletters/at: at [@]\\nadded: Added.\\n"))
    >>> read_prompt_texts(str(path))
    {'letters/at': 'at', 'added': 'Added.'}
    """
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        lines = [line.partition(":") for line in file if not line.startswith(";")]
    return {
        name.strip(): re.sub(r"[\[(<][^\])>]*[\])>]", "", text).strip() for name, _, text in lines
    }


def read_asterisk(roots: list[Root]) -> Iterator[Clip]:
    """Yield telephone prompts, ``sounds/LANG_REGION_GENDER_SPEAKER/NAME.g722``.

    Only the English prompts have texts.
    """
    texts: dict[str, str] = {}
    for _, root in roots:
        for path in _files(os.path.join(root, "usr/share/doc"), ("core-sounds-en.txt.gz",)):
            texts |= read_prompt_texts(path)
    for package, root in roots:
        pattern = os.path.join(glob.escape(root), "usr/share/asterisk/sounds/*/")
        for folder in sorted(glob.glob(pattern)):
            prompts = _PROMPTS.match(_folder(folder))
            if prompts is None:
                logger.warning(
                    "left out %s: its name is not LANG_REGION_GENDER_SPEAKER, as in en_US_f_Name",
                    folder,
                )
                continue
            for path in _files(folder, (".g722",)):
                name = _name(path, folder)
                if name in _TONES or name.startswith("silence/"):
                    continue
                yield Clip(
                    package,
                    path,
                    prompts["label"],
                    name,
                    text=texts.get(name, "") if prompts["label"].startswith("en") else "",
                    speaker=f"asterisk_{prompts['name'].lower()}",
                    gender=_GENDERS[prompts["gender"]],
                )


def _read_words(roots: list[Root], folder: str) -> Iterator[Clip]:
    """Yield words, syllables or letters, which lie in folders named after their languages."""
    for package, root in roots:
        top = os.path.join(root, folder)
        for path in _files(top, _AUDIO):
            label, _, name = _name(path, top).partition("/")
            # sr@latin and sr@ijekavian repeat the recordings of sr
            if name and "@" not in label and label not in _SYNTHETIC:
                yield Clip(package, path, label, name)


def read_ktuberling(roots: list[Root]) -> Iterator[Clip]:
    """Yield words: ``sounds/LANG/WORD.ogg``."""
    return _read_words(roots, "usr/share/ktuberling/sounds")


def read_klettres(roots: list[Root]) -> Iterator[Clip]:
    """Yield letters and syllables: ``LANG/{alpha,syllab}/NAME.ogg``."""
    return _read_words(roots, "usr/share/klettres")


#: Source -> its reader.
READERS = {
    "tuxpaint": read_tuxpaint,
    "fillets": read_fillets,
    "asterisk": read_asterisk,
    "ktuberling": read_ktuberling,
    "klettres": read_klettres,
}


def read_clips(roots: list[Root]) -> list[Clip]:
    """List all recordings of unpacked packages.

    Arguments
    ---------
    roots : list of (Package, str)
        The packages and their folders.

    Returns
    -------
    list of Clip
        Sorted by source, language and name.
    """
    clips = []
    for source, read in READERS.items():
        clips += read([root for root in roots if root[0].source == source])
    return sorted(clips, key=lambda clip: (clip.package.source, clip.label, clip.name, clip.path))
