"""A handful of people's recordings, in the layouts of their corpora: see docs/people.md."""

import csv
import shutil
from collections import defaultdict
from pathlib import Path

from people import corpus_of_people

LOCALES = {"et": 8, "fi": 8, "ab": 2}  # locale -> speakers


def few_people(folder):
    """Copies a few clips of each corpus; the test is skipped where there is none."""
    for part in (_commonvoice, _speechocean, _nemo, _ravdess, _emotts):
        part(folder)
    return folder


def _copy(source, root, folder):
    target = folder / source.relative_to(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _few(rows, key, most, each):
    """At most `each` rows of `most` values of a key."""
    by_value = defaultdict(list)
    for row in rows:
        by_value[key(row)].append(row)
    return [row for group in list(by_value.values())[:most] for row in group[:each]]


def _write_tsv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _read_tsv(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _commonvoice(folder):
    root = corpus_of_people("cv-corpus-6.1-sample")
    for locale, speakers in LOCALES.items():
        rows = _read_tsv(root / locale / "validated.tsv")
        rows = _few(rows, lambda row: row["client_id"], speakers, 2)
        _write_tsv(folder / root.name / locale / "validated.tsv", rows)
        for row in rows:
            _copy(root / locale / "clips" / row["path"], root.parent, folder)


def _speechocean(folder):
    root = corpus_of_people("speechocean762")
    for split in ("train", "test"):
        lines = (root / split / "utt2spk").read_text().splitlines()
        kept = _few(map(str.split, lines), lambda pair: pair[1], 6, 2)
        for name in ("wav.scp", "utt2spk", "text", "spk2gender", "spk2age"):
            ours = {speaker if name.startswith("spk") else ID for ID, speaker in kept}
            every = (root / split / name).read_text().splitlines()
            text = "\n".join(line for line in every if line.split()[0] in ours)
            path = folder / "speechocean762" / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        for line in (folder / "speechocean762" / split / "wav.scp").read_text().splitlines():
            _copy(root / line.split()[1], root.parent, folder)


def _nemo(folder):
    root = corpus_of_people("nemo")
    wanted = [r for r in _read_tsv(root / "data.tsv") if r["emotion"] in ("anger", "neutral")]
    rows = _few(wanted, lambda row: (row["speaker_id"], row["emotion"]), 18, 2)
    _write_tsv(folder / "nemo/data.tsv", rows)
    for row in rows:
        _copy(root / "samples" / row["file_id"], root.parent, folder)


def _ravdess(folder):
    root = corpus_of_people("ravdess")
    for actor in sorted(root.glob("Actor_*"))[:12]:
        for path in sorted(actor.glob("03-01-0[15]-01-*")):  # neutral and angry
            _copy(path, root.parent, folder)


def _emotts(folder):
    root = corpus_of_people("emotts")
    for speaker in sorted(root.glob("Dataset/SpeechCorpus/Emotional/*/*")):
        clips = sorted(Path(speaker, "wav").iterdir())
        for path in [*clips[:2], *clips[-2:]]:  # neutral and angry
            _copy(path, root.parent, folder)
