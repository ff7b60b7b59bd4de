"""Parts of the tiny corpora that tests build in each corpus's official layout."""

import csv
import io
import itertools
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import soundfile


def write_wav(path, seconds=1.0, sample_rate=16000, channels=1, seed=0):
    """Quiet noise; folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (int(seconds * sample_rate), channels)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(shape), sample_rate)
    return path


def read_splits(folder, sides=("train", "valid", "test")):
    """Side -> rows of its CSV."""
    rows = {}
    for side in sides:
        with open(Path(folder) / f"{side}.csv", encoding="utf-8", newline="") as file:
            rows[side] = list(csv.DictReader(file))
    return rows


def write_tar(path, files):
    """A .tar.gz with the content (bytes) of each name."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def wav_bytes(**options):
    """What `write_wav` writes, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        return write_wav(Path(folder) / "a.wav", **options).read_bytes()


#: FLEURS's splits, each with the sentences that are read in it.
FLEURS_SENTENCES = {"train": (1, 2, 3), "dev": (4, 5), "test": (6, 7)}


def fleurs_tree(folder, configs=("fr_fr", "cmn_hans_cn", "es_419"), unpacked=()):
    """FLEURS as the Hugging Face repository has it; each sentence is read twice."""
    for number, config in enumerate(configs):
        base = Path(folder) / "data" / config
        for split, sentences in FLEURS_SENTENCES.items():
            lines, files = [], {}
            for sentence, take in itertools.product(sentences, (0, 1)):
                name = f"{1000 * number + 10 * sentence + take}.wav"
                raw, text = f'Phrase "{sentence}", dite.', f'phrase "{sentence} dite'
                gender = ("MALE", "FEMALE")[take]
                cells = (sentence, name, raw, text, "p h r a s e |", 16000, gender)
                lines.append("\t".join(map(str, cells)))
                files[f"{split}/{name}"] = wav_bytes(seed=sentence)
            base.mkdir(parents=True, exist_ok=True)
            (base / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
            write_tar(base / f"audio/{split}.tar.gz", files)
            if config in unpacked:
                with tarfile.open(base / f"audio/{split}.tar.gz") as tar:
                    tar.extractall(base / "audio", filter="data")
                (base / f"audio/{split}.tar.gz").unlink()
    return Path(folder)


#: Video ids as YouTube has them: with `_`, `__`, `-` and even `__U__` inside.
VOXLINGUA_VIDEOS = ("-5SuE2pyjfw", "a__b-c_d--e", "__U__S1---x", "Zx9_kL-0aQ_", "00000000000")


def voxlingua107_tree(folder, languages=("de", "iw", "jw"), videos=VOXLINGUA_VIDEOS):
    """VoxLingua107: two segments a video and language, and one dev video a language."""
    folder = Path(folder)
    for number, language in enumerate(languages):
        for seed, video in enumerate(videos):
            for segment, start in enumerate(("0005.950", "1024.300")):
                name = f"{video[:-1]}{number}__U__S{segment}---{start}-{start[:-1]}9.wav"
                write_wav(folder / language / name, seed=seed)
        write_wav(folder / "dev" / language / f"dev_video-{number}__U__S0---0000.000-0001.000.wav")
    return folder


def pack_zip(folder):
    """Replaces a folder by FOLDER.zip, whose members start with the folder's name."""
    folder = Path(folder)
    with zipfile.ZipFile(f"{folder}.zip", "w") as file:
        for path in sorted(folder.rglob("*.wav")):
            file.write(path, path.relative_to(folder.parent))
    shutil.rmtree(folder)


#: Columns of Common Voice's tables, as of release 17.
COMMONVOICE_COLUMNS = (
    *("client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes"),
    *("down_votes", "age", "gender", "accents", "variant", "locale", "segment"),
)

#: Table -> client, age, gender and accents of each clip; the n-th reads the n-th sentence.
COMMONVOICE_CLIPS = {
    "train": [("anna", "fourties", "female_feminine", "England English|Irish")],
    "dev": [("ben", "teens", "male_masculine", "")],
    "test": [("cleo", "", "do_not_wish_to_say", "")],
    "validated": [
        ("anna", "fourties", "female_feminine", "England English|Irish"),  # the clip of train
        ("ben", "teens", "male_masculine", ""),  # of dev
        ("cleo", "", "do_not_wish_to_say", ""),  # of test
        ("anna", "fourties", "female_feminine", "England English|Irish"),
        ("dora", "twenties", "non-binary", "India and South Asia (India, Pakistan)"),
        ("emil", "nineties", "male", "Scouse,calm"),
    ],
}


def commonvoice_line(locale, client, number, sentence, age="", gender="", accents=""):
    """A line of a table, without its end."""
    path = f"common_voice_{locale}_{number}.mp3"
    domain, variant = "general,healthcare", "Central" if locale == "ca" else ""
    cells = (client, path, f"id{number}", sentence, domain, 2, 0, age, gender, accents, variant)
    return "\t".join(map(str, (*cells, locale, "")))


def commonvoice_tree(folder, locales=("de", "zh-TW", "ca")):
    """An unpacked release of Common Voice; clients differ between the locales."""
    header = "\t".join(COMMONVOICE_COLUMNS)
    for locale in locales:
        base = Path(folder) / locale
        (base / "clips").mkdir(parents=True, exist_ok=True)
        for table, clips in COMMONVOICE_CLIPS.items():
            lines = [header]
            for place, (client, *cells) in enumerate(clips):
                number = place if table == "validated" else ("train", "dev", "test").index(table)
                sentence = f'Satz "{number}, der gilt'
                lines.append(
                    commonvoice_line(locale, f"{locale}-{client}", number, sentence, *cells)
                )
                write_wav(base / f"clips/common_voice_{locale}_{number}.mp3", sample_rate=32000)
            (base / f"{table}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (base / "other.tsv").write_text(header + "\n")
    return Path(folder)


def add_commonvoice_clip(tree, table, locale, client, number, sentence, *cells, audio=True):
    """Appends a clip to a table of Common Voice."""
    with open(tree / locale / f"{table}.tsv", "a", encoding="utf-8") as file:
        file.write(commonvoice_line(locale, client, number, sentence, *cells) + "\n")
    if audio:
        write_wav(tree / locale / f"clips/common_voice_{locale}_{number}.mp3", sample_rate=32000)


def only_validated(tree, speakers=8):
    """Takes the official splits away; each of German's and Catalan's speakers has two clips."""
    for table in tree.glob("*/*.tsv"):
        if table.stem in ("train", "dev", "test"):
            table.unlink()
    for locale in ("de", "ca"):
        for number in range(20, 20 + 2 * speakers):
            client, sentence = f"{locale}-{number // 2}", f"Nummer {number}"
            add_commonvoice_clip(tree, "validated", locale, client, number, sentence)
    return tree


def write_lines(path, lines, end="\n", bom=False):
    """A text file in UTF-8; folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(line + end for line in lines)
    path.write_bytes(text.encode("utf-8-sig" if bom else "utf-8"))
    return path


def own_table_tree(folder, languages=("fr", "nl"), speakers=6):
    """A user's audio with a table whose columns have other names; two clips a speaker."""
    lines = ["path\tclient_id\tlang\tdialect\tsentence"]
    for number in range(speakers * len(languages)):
        language = languages[number % len(languages)]
        for clip in (0, 1):
            path = f"clips/s{number}/{clip}.wav"
            write_wav(Path(folder) / path, seed=2 * number + clip)
            lines.append(f"{path}\ts{number}\t{language}\t{('north', 'south')[clip]}\tone {clip}")
    write_lines(Path(folder) / "meta.tsv", lines)
    return Path(folder)
