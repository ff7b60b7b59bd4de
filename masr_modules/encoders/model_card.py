"""The README.md of folders that are ready to share."""

from collections.abc import Mapping, Sequence

from masr_modules.config.markdown import one_line, yaml_text

LICENCE = """\
## Licence

The code is under Apache-2.0. The use of the weights depends on the licences of the recordings:
**state it here, and in `license` above, before you share this folder.**

A `hyperparams.yaml` can name any code, and SpeechBrain's `from_hparams` runs it: load folders of
people you trust. `masr_modules.inference.MASREncoder` builds encoders of this library only.
"""


def front_matter(tags: Sequence[str], languages: Sequence[str] = ()) -> str:
    """Makes the YAML that a card starts with.

    Arguments
    ---------
    tags : sequence of str
        Tags beside `speechbrain` and `masr`.
    languages : sequence of str
        ISO 639-3 codes.

    Example
    -------
    >>> print(front_matter(["asr"]), end="")
    ---
    license: other
    library_name: speechbrain
    tags:
    - speechbrain
    - masr
    - asr
    ---
    """
    lines = ["---", "license: other", "library_name: speechbrain", "tags:"]
    lines += [f"- {yaml_text(tag)}" for tag in ["speechbrain", "masr", *tags]]
    if languages:
        lines += ["language:", *(f"- {yaml_text(code)}" for code in languages)]
    return "\n".join([*lines, "---", ""])


def encoder_card(facts: Mapping, table: str) -> str:
    """Makes the card of a pretrained encoder.

    Arguments
    ---------
    facts : Mapping
        See PretrainedEncoder.facts.
    table : str
        The table of results in Markdown.
    """
    identities = one_line(", ".join(facts["identities"])) or "none (SSL only)"
    sources = "\n".join(f"- {one_line(source)}" for source in facts["sources"]) or "- none"
    languages = one_line(", ".join(facts["languages"])) or "not known"
    return f"""{front_matter(["speech-encoder", facts["method"]], facts["languages"])}
# {one_line(facts["system"])}

A speech encoder, pretrained with {facts["method"]} and MASR (Multi-label Aware Speech
Representation learning, arXiv 2307.10982).

    from masr_modules.inference import MASREncoder

    encoder = MASREncoder.from_hparams("THIS_FOLDER")
    frames = encoder.encode_file("speech.wav")  # (frames, {facts["d_model"]})
{_use_of_spaces(facts)}
## Data

{facts["utterances"]} utterances, {facts["hours"]:.1f} hours, of {len(facts["languages"])} languages
({languages}), listed in {one_line(facts["train_csv"])}.

## Metadata used

The discriminated columns are: {identities}. The loss depends on these sources of knowledge:

{sources}

## Results

{table}

{LICENCE}"""


def _use_of_spaces(facts: Mapping) -> str:
    """Returns a line of code and the list of spaces; empty if the encoder has no spaces."""
    spaces = facts.get("spaces")
    if not spaces:
        return ""
    return f"""\
    embedding = encoder.embed_file("speech.wav", space={one_line(spaces[0])!r})

Its spaces, whose embeddings are compared by cosine: {one_line(", ".join(spaces))}.
"""
