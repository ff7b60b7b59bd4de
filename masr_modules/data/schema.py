"""Names of a CSV's columns, once: preparation scripts, loaders and recipes import them."""

#: Metadata columns present in every CSV; an empty cell means "not known".
METADATA_COLUMNS = (
    "language",
    "language_label",
    "family",
    "region",
    "speaker",
    "gender",
    "age",
    "accent",
    "emotion",
    "valence",
    "activation",
    "dominance",
    "session",
    "source",
    "text",
)

#: SpeechBrain's own columns, first in every CSV. ``duration`` is in seconds.
AUDIO_COLUMNS = ("ID", "duration", "wav")

#: Columns always read as numbers; others are where a knowledge source reads numbers.
NUMERIC_COLUMNS = ("age", "valence", "activation", "dominance")
