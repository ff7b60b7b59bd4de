"""Tiny .deb files in the layout of the packages that debian_prepare reads."""

import gzip
import io
import tarfile

import numpy as np
import soundfile

STAMPS = "usr/share/tuxpaint/stamps"
GAME = "usr/share/games/fillets-ng"
SOUNDS = "usr/share/asterisk/sounds"


def sound(seconds, seed, suffix="OGG", rate=22050, channels=1):
    """Bytes of a noise."""
    noise = 0.1 * np.random.default_rng(seed).standard_normal((int(seconds * rate), channels))
    file = io.BytesIO()
    soundfile.write(file, noise, rate, format=suffix)
    return file.getvalue()


def silence(seconds):
    """Bytes of a silent WAV."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(int(16000 * seconds)), 16000, format="WAV")
    return file.getvalue()


def g722(seconds, seed):
    """Any bytes are G.722: 8 000 a second."""
    return np.random.default_rng(seed).bytes(int(8000 * seconds))


def make_deb(path, files):
    """Writes a .deb: an ar archive of a version and two tar archives.

    Arguments
    ---------
    path : Path
        Of the .deb file.
    files : dict of str to bytes
        Path in the package -> content.
    """
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": _tar({"./control": b"Package: tiny\n"})}
    parts["data.tar.xz"] = _tar({f"./{name}": content for name, content in files.items()})
    with open(path, "wb") as file:
        file.write(b"!<arch>\n")
        for name, content in parts.items():
            header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
            file.write(header.encode() + content + b"\n" * (len(content) % 2))


def _tar(files):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:xz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def stamps():
    """26 stamps in Spanish and French; the French text of each is another's."""
    files = {}
    for i in range(26):
        stem, words = f"{STAMPS}/animals/cat {i}", 1 + i % 13
        es, fr = "gato " * words + str(i), "chat " * (1 + 5 * i % 13) + str(i)
        files[f"{stem}.txt"] = f"A cat.\r\nes.utf8={es}\r\nfr.utf8={fr}\r\n".encode()
        files[f"{stem}_desc_es.ogg"] = sound(0.2 + 0.1 * words, 100 + i, channels=2)
        files[f"{stem}_desc_fr.ogg"] = sound(0.2 + 0.1 * words, 200 + i)
        files[f"{stem}.ogg"] = sound(0.3, 300 + i)  # a noise, no description
    return files


def odd_stamps(files):
    """A copy, a broken, a cut and a mute recording, and one whose text is another's."""
    files = dict(files)
    files[f"{STAMPS}/animals/copy_desc_es.ogg"] = files[f"{STAMPS}/animals/cat 3_desc_es.ogg"]
    files[f"{STAMPS}/animals/broken_desc_es.ogg"] = b"OggS" + bytes(50)
    files[f"{STAMPS}/animals/cut_desc_es.ogg"] = sound(0.1, 1)
    files[f"{STAMPS}/animals/mute_desc_es.wav"] = silence(1.0)
    files[f"{STAMPS}/animals/wrong.txt"] = f"A.\nes.utf8={'largo ' * 8}\n".encode()
    files[f"{STAMPS}/animals/wrong_desc_es.ogg"] = sound(0.3, 2)
    return files


def dialogue(label, count, seed):
    """Lines of both leads; and a click, which has no line."""
    folder = f"{GAME}/sound/wreck/{label}"
    files = {
        f"{folder}/v-{i}.ogg": sound(0.3 + 0.05 * i, seed + i, rate=44100) for i in range(count)
    }
    return files | {f"{folder}/click.ogg": sound(0.3, seed + 99)}


def script(label, count, word):
    """The script of `dialogue`."""
    lines = ["-- Intro"]
    for i in range(count):
        font = "font_small" if i % 2 else "font_big"
        lines.append(f'dialogId("v-{i}", "{font}", "Hello.")\n')
        lines.append(f'dialogStr("{word * (i + 1)} \\"{i}\\"")\n')
    return {f"{GAME}/script/wreck/dialogs_{label}.lua": "\n".join(lines).encode()}


def words(folder, languages, count, seed, suffix="OGG"):
    """A few words in folders named after their languages."""
    return {
        f"{folder}/{label}/word {i}.{suffix.lower()}": sound(
            0.4, seed + 100 * k + i, suffix, rate=8000
        )
        for k, label in enumerate(languages)
        for i in range(count)
    }


def prompts(voice, seed):
    """Telephone prompts, tones and silence."""
    folder = f"{SOUNDS}/{voice}"
    files = {f"{folder}/digits/{i}.g722": g722(0.4, seed + i) for i in range(8)}
    return files | {f"{folder}/beep.g722": g722(1, 7), f"{folder}/silence/1.g722": bytes(8000)}


def packages():
    """Package -> its files."""
    texts = b"; English\ndigits/0: zero [0]\nbeep: [a beep]\n"
    return {
        "tuxpaint-stamps-default": stamps(),
        "fillets-ng-data": script("cs", 24, "ryba ") | script("nl", 24, "vis "),
        "fillets-ng-data-cs": dialogue("cs", 24, 1000),
        "fillets-ng-data-nl": dialogue("nl", 24, 2000),
        "asterisk-core-sounds-en": {
            "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz": gzip.compress(texts)
        },
        "asterisk-core-sounds-en-g722": prompts("en_US_f_Allison", 3000),
        "asterisk-core-sounds-es-g722": prompts("es_MX_f_Allison", 4000),
        "asterisk-core-sounds-fr-g722": prompts("fr_CA_f_June", 5000),
        "asterisk-core-sounds-it-g722": prompts("it_IT_m_Carlo", 6000),
        "asterisk-core-sounds-ru-g722": prompts("ru_RU_f_IvrvoiceRU", 7000),
        "ktuberling-data": words("usr/share/ktuberling/sounds", ["fr", "nl", "nn"], 6, 8000, "WAV"),
        "klettres-data": words("usr/share/klettres", ["es", "fr", "it", "en_GB"], 6, 9000),
    }


def make_packages(folder, broken=True):
    """Writes all packages as DATA_FOLDER/packages/NAME_1.0-1_all.deb."""
    (folder / "packages").mkdir(parents=True, exist_ok=True)
    for name, files in packages().items():
        if broken and name == "tuxpaint-stamps-default":
            files = odd_stamps(files)
        make_deb(folder / "packages" / f"{name}_1.0-1_all.deb", files)
    return folder
