"""One form for each label, and the words that people write where nothing is known."""

import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Joins letters of some scripts, and may end a word of a transcript; no part of a label's ends.
_JOINERS = "\u200c\u200d"

#: Blanks of Unicode, control characters among them, and what has no width.
_BLANKS = (
    "".join(map(chr, (*range(0x21), *range(0x7F, 0xA1), 0xAD, 0x1680, 0x180E)))
    + "".join(map(chr, (*range(0x2000, 0x200C), 0x200E, 0x200F, *range(0x2028, 0x2030))))
    + "".join(map(chr, (*range(0x205F, 0x206A), 0x3000, 0xFEFF)))
)

_WORDS = (
    "nan NaN NAN -nan -NaN NA na N/A n/a #N/A #NA <NA> n.a. N.A. NaT null Null NULL none None NONE "
    "unknown Unknown UNKNOWN unk UNK <unk> <UNK> [unk] [UNK] <unknown> undefined undetermined "
    "unspecified missing not_known und - -- --- ? ?? ??? _ . .."
)

#: Words for "not known", as pandas, spreadsheets and people write them. Case counts where another
#: case is a name: "Na" may be a speaker.
NOT_KNOWN = frozenset(_WORDS.split()) | {"not known", "not available", "not specified"}

#: Words that stand for something in a column: Min Nan, Nauru, Enawené-Nawé; Namibia.
_CODES = {
    "language": {"nan", "na", "unk"},
    "language_label": {"nan", "na", "unk"},
    "region": {"NA"},
    "text": NOT_KNOWN,  # somebody may have said it
}


def clean_label(text: str) -> str:
    """A label without blanks around it, with single ones inside, in Unicode's form NFC.

    Example
    -------
    >>> clean_label("\\ufeff espan\\u0303ol\\u00a0 ") == "espa\\u00f1ol"
    True
    """
    return unicodedata.normalize("NFC", " ".join(text.strip(_BLANKS + _JOINERS).split()))


def clean_labels(cells: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Counter[str]]:
    """A column with each label as `clean_label` has it, and its words for "not known"."""
    encoded = cells.dictionary_encode().combine_chunks()
    there = encoded.dictionary.to_pylist()
    labels = [clean_label(label) for label in there]
    if labels != there:
        cells = pa.chunked_array([pa.array(labels, pa.string()).take(encoded.indices)])
        encoded = cells.dictionary_encode().combine_chunks()
    return cells, count_words(encoded)


def clean_texts(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Transcripts without blanks around them, in NFC: an ASR vocabulary has each letter once."""
    cells = trim(cells)
    if pc.all(pc.string_is_ascii(cells)).as_py():
        return cells
    return pc.utf8_normalize(cells, form="NFC")


def count_words(encoded: pa.DictionaryArray) -> Counter[str]:
    """How often each word of `NOT_KNOWN` is a cell of a column."""
    words = {i: w for i, w in enumerate(encoded.dictionary.to_pylist()) if w in NOT_KNOWN}
    if not words:
        return Counter()
    counts = np.bincount(encoded.indices.to_numpy(), minlength=len(encoded.dictionary))
    return Counter({word: int(counts[i]) for i, word in words.items()})


def trim(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """IDs and paths without blanks around them; their form of Unicode is that of the files."""
    return pc.utf8_trim(cells, characters=_BLANKS)


def trim_cell(cell: str) -> str:
    """One cell, as `trim` does it.

    Example
    -------
    >>> trim_cell("\\ufeffa.wav\\u00a0")
    'a.wav'
    """
    return cell.strip(_BLANKS)


def words_for_unknown(
    counts: Mapping[str, Mapping[str, int]], words: Collection[str] = NOT_KNOWN
) -> dict[str, Counter[str]]:
    """Which cells of a table mean that nothing is known.

    A word that is also a code of its column (`nan`, Min Nan; `NA`, Namibia), and any word in
    `text`, means that only where another column has it too: then it is this table's word.

    Arguments
    ---------
    counts : mapping of str to mapping of str to int
        Column -> cell -> its number; cells that are none of the words are passed over.
    words : collection of str
        Words for "not known".

    Returns
    -------
    dict of str to Counter
        Column -> word -> its number, of columns that have one.

    Example
    -------
    >>> words_for_unknown({"language": {"nan": 3, "fra": 1}, "speaker": {"": 3}})
    {}
    >>> words_for_unknown({"language": {"nan": 3, "fra": 1}, "speaker": {"nan": 2}})
    {'language': Counter({'nan': 3}), 'speaker': Counter({'nan': 2})}
    """
    found: dict[str, Counter[str]] = {}
    for column, cells in counts.items():
        others = {word for other in counts if other != column for word in counts[other]}
        for word, count in cells.items():
            ambiguous = word in _CODES.get(column, ()) and word not in others
            if count and word in words and not ambiguous:
                found.setdefault(column, Counter())[word] = count
    return found
