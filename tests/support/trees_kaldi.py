"""A tiny corpus in Kaldi's form, as speechocean762 has it."""

from trees import write_lines, write_wav

#: Split -> its speakers.
SPEAKERS = {"train": range(8), "test": range(8, 10)}


def kaldi_tree(root, speakers=SPEAKERS, clips=2):
    """WAVE/SPEAKER/UTTERANCE.wav and, for each split, its directory; tabs as in speechocean762."""
    for split, numbers in speakers.items():
        tables = {"wav.scp": [], "utt2spk": [], "text": [], "spk2gender": [], "spk2age": []}
        for number in numbers:
            tables["spk2gender"].append(f"{number:04}\t{'fm'[number % 2]}")
            tables["spk2age"].append(f"{number:04}\t{6 + number}")
            for clip in range(clips):
                name = f"{number:04}{clip:05}"
                write_wav(root / f"WAVE/S{number:04}/{name}.wav", 1.0, seed=clip)
                tables["wav.scp"].append(f"{name}\tWAVE/S{number:04}/{name}.wav")
                tables["utt2spk"].append(f"{name} {number:04}")
                tables["text"].append(f"{name}\tIT IS  {clip}")
        for table, lines in tables.items():
            write_lines(root / split / table, lines)
    return root
