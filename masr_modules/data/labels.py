"""Normalisation of labels, and the words that people write for "not known"."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Zero-width (non-)joiners, which may end a word of a transcript and are removed around a label.
_JOINERS = "\u200c\u200d"

#: Unicode's blanks, control characters and characters without width.
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

#: Words for "not known", as pandas, spreadsheets and people write them. Case matters:
#: "Na", which is not among them, may be a speaker's name.
NOT_KNOWN = frozenset(_WORDS.split()) | {"not known", "not available", "not specified"}

#: Column -> words among these that are codes in it: the languages Min Nan (nan), Nauru (na) and
#: Enawené-Nawé (unk), and Namibia (NA).
_CODES = {
    "language": {"nan", "na", "unk"},
    "language_label": {"nan", "na", "unk"},
    "region": {"NA"},
    "text": NOT_KNOWN,  # a transcript may consist of any word
}


def clean_label(text: str) -> str:
    """Returns a label without blanks around it, with single ones inside, in Unicode's form NFC.

    Example
    -------
    >>> clean_label("\\ufeff espan\\u0303ol\\u00a0 ") == "espa\\u00f1ol"
    True
    """
    return unicodedata.normalize("NFC", " ".join(text.strip(_BLANKS + _JOINERS).split()))


def clean_labels(cells: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Counter[str]]:
    """Applies `clean_label` to a column; returns it and the counts of words for "not known"."""
    encoded = cells.dictionary_encode().combine_chunks()
    there = encoded.dictionary.to_pylist()
    labels = [clean_label(label) for label in there]
    if labels != there:
        cells = pa.chunked_array([pa.array(labels, pa.string()).take(encoded.indices)])
        encoded = cells.dictionary_encode().combine_chunks()
    return cells, count_words(encoded)


def clean_texts(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Removes blanks around transcripts, and puts them in NFC, in which a letter has one form."""
    cells = trim(cells)
    if pc.all(pc.string_is_ascii(cells)).as_py():
        return cells
    return pc.utf8_normalize(cells, form="NFC")


def count_words(encoded: pa.DictionaryArray) -> Counter[str]:
    """Counts the cells of a column that are a word of `NOT_KNOWN`."""
    words = {i: w for i, w in enumerate(encoded.dictionary.to_pylist()) if w in NOT_KNOWN}
    if not words:
        return Counter()
    counts = np.bincount(encoded.indices.to_numpy(), minlength=len(encoded.dictionary))
    return Counter({word: int(counts[i]) for i, word in words.items()})


def trim(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Removes blanks around IDs and paths; their Unicode form stays, as files may be named so."""
    return pc.utf8_trim(cells, characters=_BLANKS)


def trim_cell(cell: str) -> str:
    """Removes blanks around a cell, as `trim` does, and replaces its line breaks by spaces.

    Example
    -------
    >>> trim_cell("\\ufeffa.wav\\u00a0"), trim_cell("one\\r\\ntwo")
    ('a.wav', 'one two')
    """
    cell = cell.strip(_BLANKS)
    return re.sub("[\\r\\n]+", " ", cell) if "\n" in cell or "\r" in cell else cell


def words_for_unknown(
    counts: Mapping[str, Mapping[str, int]], words: Collection[str] = NOT_KNOWN
) -> dict[str, Counter[str]]:
    """Counts the cells of a table that mean "not known".

    A word that is also a code in its column (`nan`, Min Nan; `NA`, Namibia), and any word in
    `text`, counts only if another column has it too, as the table's word for "not known".

    Arguments
    ---------
    counts : mapping of str to mapping of str to int
        Column -> cell -> its number; cells that are none of the words are ignored.
    words : collection of str
        Words for "not known".

    Returns
    -------
    dict of str to Counter
        Column -> word -> its number, for the columns that hold such words.

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
