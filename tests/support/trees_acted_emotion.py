"""Tiny corpora of acted emotion in their official layouts."""

from itertools import product
from pathlib import Path

from trees import write_lines, write_wav

#: Corpus -> files of its layout: all speakers of a tiny copy say all emotions.
LAYOUTS = {
    "nemo": [
        f"samples/{speaker}_{emotion}_{sentence}.wav"
        for speaker, emotion, sentence in product(
            ("WR0", "EB0", "IC0", "KS0", "KD0", "MP0"), ("surprised", "anger"), (1, 90)
        )
    ],
    "ravdess": [
        f"Actor_{actor:02}/03-01-{emotion}-01-{sentence}-01-{actor:02}.wav"
        for actor, emotion, sentence in product(range(1, 7), ("01", "08"), ("01", "02"))
    ],
    "emodb": [
        f"wav/{speaker}{text}{emotion}a.wav"
        for speaker, text, emotion in product(
            ("03", "08", "09", "10", "11", "16"), ("a01", "b10"), "WL"
        )
    ],
    "emovo": [
        f"EMOVO/{speaker}/{emotion}-{speaker}-{sentence}.wav"
        for speaker, emotion, sentence in product(
            ("f1", "f2", "f3", "m1", "m2", "m3"), ("gio", "pau"), ("b1", "d2")
        )
    ],
    "cremad": [
        f"AudioWAV/{speaker}_{sentence}_{emotion}_XX.wav"
        for speaker, sentence, emotion in product(range(1001, 1007), ("IEO", "WSI"), ("DIS", "NEU"))
    ],
    "savee": [
        f"AudioData/{speaker}/{emotion}{number:02}.wav"
        for speaker, emotion, number in product(("DC", "JE", "JK", "KL"), ("sa", "su", "a"), (1, 2))
    ],
    "tess": [
        f"{speaker}_{folder}/{speaker}_{word}_{emotion}.wav"
        for speaker, (folder, emotion), word in product(
            ("OAF", "YAF"), (("Pleasant_surprise", "ps"), ("Sad", "sad")), ("back", "youth")
        )
    ],
    "urdu": [
        f"{folder}/{speaker}_F{number}_{folder[0]}0{number}.wav"
        for folder, speaker, number in product(
            ("Angry", "Sad"), ("SM1", "SM2", "SM3", "SF1", "SF2", "SF10"), (1, 2)
        )
    ],
    "ased": [
        f"{place:02}{folder}/{emotion}{place}-{sentence}-01-{gender}-{speaker}.wav"
        for (place, folder, emotion), sentence, (gender, speaker) in product(
            ((1, "Neutral", "n"), (5, "Angry", "a")),
            ("01", "02", "07"),
            (("01", "03"), ("01", "17"), ("01", "20"), ("02", "04"), ("02", "50"), ("02", "65")),
        )
    ],
    "emotts": [
        *(
            f"Dataset/SpeechCorpus/Emotional/{part}/{speaker}/wav/{speaker}{number:05}.wav"
            for part, speakers in (
                ("plain-to-emotional", ("ema", "emb", "emf")),
                ("emotional-to-emotional", ("nea", "nek", "nel")),
            )
            for speaker, number in product(speakers, (1, 101, 201, 301))
        ),
        *(
            f"Dataset/SpeechCorpus/{folder}/{name}/wav/{name}00001.wav"
            for folder, name in (("Main/main", "kih"), ("Personality", "pfa"))
        ),
    ],
}


def acted_tree(folder, corpus, seconds=0.2):
    """The corpus's files, and its table or texts; file lengths differ by some samples."""
    root = Path(folder)
    for number, name in enumerate(LAYOUTS[corpus]):
        path = write_wav(root / name, seconds + number / 1000, seed=number)
        if corpus == "emotts":
            text = path.parent.parent / f"transcript/{path.stem}.txt"
            write_lines(text, [f"문장 {path.stem[-2:]}."], bom=True)
    if corpus == "nemo":
        header = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"
        lines = [header]
        for name in LAYOUTS["nemo"]:
            file = Path(name).name
            speaker, emotion, sentence = file.removesuffix(".wav").split("_")
            gender = "male" if speaker in ("WR0", "KS0", "MP0") else "female"
            cells = (file, emotion, f"Zdanie {sentence}.", "zdanie", f"  {speaker}", gender, 23)
            lines.append("\t".join(map(str, cells)))
        write_lines(root / "data.tsv", lines, end="\r\n")
    if corpus == "cremad":
        people = [f'{1001 + n},{20 + n},"{("Male", "Female")[n % 2]}","x","y"' for n in range(6)]
        header = '"ActorID","Age","Sex","Race","Ethnicity"'
        write_lines(root / "VideoDemographics.csv", [header, *people])
    return root
