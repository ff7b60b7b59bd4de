"""Names of a CSV's columns, which preparation scripts, loaders and recipes import."""

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

#: Columns that are always read as numbers; a knowledge source can read others as numbers too.
NUMERIC_COLUMNS = ("age", "valence", "activation", "dominance")
