"""A tiny IEMOCAP in the layout of its release."""

from pathlib import Path

from trees import write_lines, write_wav

LABELS = ("ang", "hap", "exc", "sad", "neu", "fru", "xxx", "oth")


def label_line(utterance, label="neu", ratings="[2.5000, 3.0000, 3.5000]"):
    return f"[6.2901 - 8.2357]\t{utterance}\t{label}\t{ratings}"


def iemocap_tree(root, dialogues=("F_impro01", "M_script01_1b"), labels=LABELS, seconds=0.2):
    """Five sessions; in each dialogue both actors say one utterance a label."""
    root, number = Path(root), 0
    for session in range(1, 6):
        for dialogue in (f"Ses0{session}{name}" for name in dialogues):
            evaluation = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
            texts = []
            for turn, label in enumerate(labels):
                for actor in "FM":
                    number += 1
                    utterance = f"{dialogue}_{actor}{turn:03d}"
                    wav = f"Session{session}/sentences/wav/{dialogue}/{utterance}.wav"
                    write_wav(root / wav, seconds, seed=number)
                    evaluation += [label_line(utterance, label), "C-E2:\tNeutral;\t()"]
                    evaluation += ["A-E3:\tval 3; act 2; dom  2;\t()", ""]
                    texts.append(f"{utterance} [006.2901-008.2357]: Turn {turn}: excuse me.")
            texts.append(f"{actor}: (laughs)")
            dialog = root / f"Session{session}/dialog"
            write_lines(dialog / f"EmoEvaluation/{dialogue}.txt", evaluation)
            write_lines(dialog / f"transcriptions/{dialogue}.txt", texts)
    return root
