"""Corpora of acted emotion: how their file names code speaker, sentence and emotion.

A description is data: regular expressions with named groups, one of which the end of a file's path
has to match, and tables from the corpus's codes to words that all corpora share. The groups are
`speaker` and, where the corpus codes them, `emotion`, `sentence`, `gender`, `part` (each part
numbers its sentences from the start) and `name` (identifies the utterance; by default, the file's
name does).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

#: The emotions of all corpora.
EMOTIONS = (
    *("neutral", "calm", "happiness", "sadness", "anger"),
    *("fear", "disgust", "surprise", "boredom"),
)

GENDERS = {"f": "female", "m": "male"}


@dataclass(frozen=True)
class Table:
    """A table that comes with a corpus.

    Arguments
    ---------
    path : str
        Path in the corpus's folder; .csv or .tsv.
    key : str
        Its column of speakers, or of files.
    columns : mapping of str to str
        Column of the CSVs -> column of the table.
    by : str
        What the key column holds: `speaker`, or `name` (of a file).
    """

    path: str
    key: str
    columns: Mapping[str, str]
    by: str


@dataclass(frozen=True)
class ActedCorpus:
    """How a corpus codes its labels.

    Arguments
    ---------
    title : str
        Name of the corpus, for messages.
    language : str
        Code in ISO 639-3.
    patterns : tuple of str
        Regular expressions for the end of a path, without extension; the end begins at the name of
        a folder or file. The first that matches counts.
    example : str
        Path of a file, for errors.
    emotions : mapping of str to str
        Code -> emotion.
    genders : mapping of str to str
        Code -> gender.
    speakers : mapping of str to (str, int or None)
        Speaker -> gender and age (years), where they are published.
    texts : mapping of str to str
        Code of a sentence -> its text.
    phrase : str
        Text of every sentence, where the sentence's code, put at `{}`, is a word of it.
    text_folder : str
        Folder, beside that of the audio, of a text file for each utterance.
    table : Table, optional
        A table with more columns.
    left_out : mapping of str to str
        Regular expression for a path or file name -> reason why such files are left out.
    shared : tuple of str
        Sentences that are said with every emotion, in a corpus where others are said with one
        only.
    """

    title: str
    language: str
    patterns: tuple[str, ...]
    example: str
    emotions: Mapping[str, str]
    genders: Mapping[str, str] = field(default_factory=lambda: GENDERS)
    speakers: Mapping[str, tuple[str, int | None]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    phrase: str = ""
    text_folder: str = ""
    table: Table | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    shared: tuple[str, ...] = ()


NEMO = ActedCorpus(
    title="nEMO",
    language="pol",
    patterns=(r"(?P<speaker>[A-Z]{2}\d)_(?P<emotion>[a-z]+)_(?P<sentence>\d+)",),
    example="samples/WR0_surprised_64.wav",
    emotions={
        **{name: name for name in ("neutral", "happiness", "sadness", "anger", "fear")},
        "surprised": "surprise",
    },
    table=Table(
        "data.tsv", "file_id", {"gender": "gender", "age": "age", "text": "raw_text"}, by="name"
    ),
)

RAVDESS = ActedCorpus(
    title="RAVDESS, the speech",
    language="eng",
    patterns=(r"03-01-(?P<emotion>\d\d)-\d\d-(?P<sentence>\d\d)-\d\d-(?P<speaker>\d\d)",),
    example="Actor_12/03-01-06-01-02-01-12.wav",
    emotions={
        **{"01": "neutral", "02": "calm", "03": "happiness", "04": "sadness"},
        **{"05": "anger", "06": "fear", "07": "disgust", "08": "surprise"},
    },
    speakers={f"{n:02}": ("male" if n % 2 else "female", None) for n in range(1, 25)},
    texts={"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."},
    left_out={r"03-02-[-\d]*": "song"},
)

EMODB = ActedCorpus(
    title="EMO-DB",
    language="deu",
    patterns=(r"(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[WLEAFTN])[a-z]?",),
    example="wav/03a01Fa.wav",
    emotions={
        **{"W": "anger", "L": "boredom", "E": "disgust", "A": "fear"},
        **{"F": "happiness", "T": "sadness", "N": "neutral"},
    },
    speakers={
        **{"03": ("male", 31), "08": ("female", 34), "09": ("female", 21), "10": ("male", 32)},
        **{"11": ("male", 26), "12": ("male", 30), "13": ("female", 32), "14": ("female", 35)},
        **{"15": ("male", 25), "16": ("female", 31)},
    },
    texts={
        "a01": "Der Lappen liegt auf dem Eisschrank.",
        "a02": "Das will sie am Mittwoch abgeben.",
        "a04": "Heute abend könnte ich es ihm sagen.",
        "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
        "a07": "In sieben Stunden wird es soweit sein.",
        "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
        "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
        "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
        "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
        "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
    },
)

EMOVO = ActedCorpus(
    title="EMOVO",
    language="ita",
    patterns=(r"(?P<emotion>[a-z]{3})-(?P<speaker>(?P<gender>[fm])\d)-(?P<sentence>[blnd]\d)",),
    example="f1/dis-f1-b1.wav",
    emotions={
        **{"neu": "neutral", "gio": "happiness", "tri": "sadness", "rab": "anger"},
        **{"pau": "fear", "dis": "disgust", "sor": "surprise"},
    },
    texts={
        "b1": "Gli operai si alzano presto.",
        "b2": "I vigili sono muniti di pistola.",
        "b3": "La cascata fa molto rumore.",
        "l1": "L'autunno prossimo Tony partirà per la Spagna nella prima metà di ottobre.",
        "l2": "Ora prendo la felpa di là ed esco per fare una passeggiata.",
        "l3": "Un attimo dopo s'è incamminato ed è inciampato.",
        "l4": "Vorrei il numero telefonico del Signor Piatti.",
        "n1": "La casa forte vuole col pane.",
        "n2": "La forza trova il passo e l'aglio rosso.",
        "n3": "Il gatto sta scorrendo nella pera.",
        "n4": "Insalata pastasciutta coscia d'agnello limoncello.",
        "n5": "Uno quarantatré dieci mille cinquantasette venti.",
        "d1": "Sabato sera cosa farà?",
        "d2": "Porti con te quella cosa?",
    },
)

CREMAD = ActedCorpus(
    title="CREMA-D",
    language="eng",
    # One file ends in _X where all others have two letters.
    patterns=(
        r"(?P<speaker>1\d{3})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?:LO|MD|HI|XX?)",
    ),
    example="AudioWAV/1001_DFA_ANG_XX.wav",
    emotions={
        **{"NEU": "neutral", "HAP": "happiness", "SAD": "sadness"},
        **{"ANG": "anger", "FEA": "fear", "DIS": "disgust"},
    },
    texts={
        "IEO": "It's eleven o'clock.",
        "TIE": "That is exactly what happened.",
        "IOM": "I'm on my way to the meeting.",
        "IWW": "I wonder what this is about.",
        "TAI": "The airplane is almost full.",
        "MTI": "Maybe tomorrow it will be cold.",
        "IWL": "I would like a new alarm clock.",
        "ITH": "I think I have a doctor's appointment.",
        "DFA": "Don't forget a jacket.",
        "ITS": "I think I've seen this before.",
        "TSI": "The surface is slick.",
        "WSI": "We'll stop in a couple of minutes.",
    },
    table=Table("VideoDemographics.csv", "ActorID", {"gender": "Sex", "age": "Age"}, by="speaker"),
)

SAVEE = ActedCorpus(
    title="SAVEE",
    language="eng",
    # A number counts the sentences of one emotion, so it does not identify the sentence.
    patterns=(r"(?P<name>(?P<speaker>DC|JE|JK|KL)[/_](?P<emotion>sa|su|[adfhn])\d\d)",),
    example="DC/a01.wav (or DC_a01.wav)",
    emotions={
        **{"n": "neutral", "h": "happiness", "sa": "sadness", "a": "anger"},
        **{"f": "fear", "d": "disgust", "su": "surprise"},
    },
    speakers=dict.fromkeys(("DC", "JE", "JK", "KL"), ("male", None)),
)

TESS = ActedCorpus(
    title="TESS",
    language="eng",
    # One file is named OA_bite_neutral.
    patterns=(r"(?P<speaker>[OY]A)F?_(?P<sentence>[a-z]+)_(?P<emotion>[a-z]+)",),
    example="OAF_Fear/OAF_back_fear.wav",
    emotions={
        **{"neutral": "neutral", "happy": "happiness", "sad": "sadness", "angry": "anger"},
        **{"fear": "fear", "disgust": "disgust", "ps": "surprise"},
    },
    speakers={"OA": ("female", 64), "YA": ("female", 26)},
    phrase="Say the word {}.",
)

URDU = ActedCorpus(
    title="URDU",
    language="urd",
    patterns=(r"(?P<speaker>S(?P<gender>[MF])\d+)_F\d+_(?P<emotion>[AHNS])\d+",),
    example="Angry/SM1_F10_A010.wav",
    emotions={"N": "neutral", "H": "happiness", "S": "sadness", "A": "anger"},
    genders={"F": "female", "M": "male"},
)

ASED = ActedCorpus(
    title="ASED",
    language="amh",
    patterns=(
        r"(?P<emotion>[nfhsaS])\d-(?P<sentence>\d\d)-\d\d-(?P<gender>\d\d)-(?P<speaker>\d\d)",
    ),
    example="01Neutral/n1-01-01-02-50.wav",
    # One file begins with a capital S.
    emotions={
        **{"n": "neutral", "h": "happiness", "s": "sadness", "S": "sadness"},
        **{"a": "anger", "f": "fear"},
    },
    genders={"01": "female", "02": "male"},
    shared=("01", "02"),
)


def _blocks(emotions: tuple[str, ...], size: int) -> dict[str, str]:
    """Maps the number of an utterance to its emotion, where each emotion has a block of numbers."""
    return {
        f"{size * block + place:05}": emotion
        for block, emotion in enumerate(emotions)
        for place in range(1, size + 1)
    }


def _korean_speakers() -> dict[str, tuple[str, int | None]]:
    """Returns the speakers' genders as the corpus's READMEs have them; they lack that of `kih`."""
    women = "ema emb nea neb nec ned nee ava avb avc avd ada adb lmy pfa pfb pfc pfd pfi pfl pfm"
    men = "emf emg emh nek nel nem nen neo adc add pma pmb pmc pmd pmi pmj pml"
    genders = {"female": [*women.split(), "pfo", "pfp"], "male": men.split()}
    return {name: (gender, None) for gender, names in genders.items() for name in names}


EMOTTS = ActedCorpus(
    title="the Korean corpus of emotiontts_open_db",
    language="kor",
    patterns=(
        r"(?P<part>plain-to-emotional)/(?P<speaker>[a-z]{3})/wav/(?P=speaker)"
        r"(?P<emotion>\d{3}(?P<sentence>\d\d))",  # each sentence is said with four emotions
        r"(?P<part>emotional-to-emotional)/(?P<speaker>[a-z]{3})/wav/(?P=speaker)"
        r"(?P<emotion>(?P<sentence>\d{5}))",
        r"(?:main|average_voice_model|adaptive|Personality)/(?P<speaker>[a-z]{3})/wav/"
        r"(?P=speaker)\d{5}",
    ),
    example="Dataset/SpeechCorpus/Emotional/plain-to-emotional/ema/wav/ema00001.wav",
    # Its README has anger and sadness the other way round; the sentences show this order.
    emotions=_blocks(("neutral", "happiness", "sadness", "anger"), 100),
    speakers=_korean_speakers(),
    text_folder="transcript",
    left_out={r"(?:.*/)?CSD/.*": "song"},
)

CORPORA = {
    "nemo": NEMO,
    "ravdess": RAVDESS,
    "emodb": EMODB,
    "emovo": EMOVO,
    "cremad": CREMAD,
    "savee": SAVEE,
    "tess": TESS,
    "urdu": URDU,
    "ased": ASED,
    "emotts": EMOTTS,
}
