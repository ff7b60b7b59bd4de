"""The tokens of a speech recogniser: one SentencePiece model for all languages."""

import io
import logging
from collections.abc import Sequence
from pathlib import Path

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

logger = logging.getLogger(__name__)

#: Number of the CTC blank, which is SentencePiece's padding token, because no text has it.
BLANK = 0


class Tokenizer(SentencePieceProcessor):
    """A SentencePiece model whose texts have single spaces, and none at the ends."""

    def decode_ids(self, tokens: list[int]) -> str:
        """Converts numbers of tokens to text."""
        return " ".join(super().decode(tokens).split())


def make_tokenizer(
    path: str | Path,
    texts: Sequence[str],
    model_type: str = "unigram",
    vocab_size: int | None = None,
    character_coverage: float = 1.0,
) -> "Tokenizer":
    """Loads a SentencePiece model (Kudo and Richardson, EMNLP 2018); trains it if it is not there.

    Arguments
    ---------
    path : str or Path
        The file of the model.
    texts : sequence of str
        The texts of the training set alone, in the form in which the recogniser writes.
    model_type : str
        unigram, bpe or char.
    vocab_size : int, optional
        Number of tokens, with blank and unknown; `char` takes all characters and needs no number.
    character_coverage : float
        Fraction of the texts' characters that tokens cover; rarer ones become the unknown token.

    Raises
    ------
    ValueError
        If `vocab_size` is missing, or does not fit the texts or the model that is there.

    Example
    -------
    >>> path = getfixture("tmp_path") / "tokenizer.model"
    >>> tokenizer = make_tokenizer(path, ["ab ba", "b a"], "char")
    >>> tokenizer.vocab_size(), [tokenizer.id_to_piece(i) for i in range(2)]
    (5, ['<blank>', '<unk>'])
    >>> tokenizer.decode_ids(tokenizer.encode(" ba  ab"))
    'ba ab'
    """
    path = Path(path)
    if model_type != "char" and not vocab_size:
        raise ValueError(f"model_type {model_type!r} needs a vocab_size: give the number of tokens")
    if not path.is_file():
        model = _train(texts, model_type, vocab_size, character_coverage)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}")
        partial.write_bytes(model)
        partial.replace(path)
    tokenizer = Tokenizer(model_file=str(path))
    if model_type != "char" and tokenizer.vocab_size() != vocab_size:
        raise ValueError(
            f"{path}: has {tokenizer.vocab_size()} tokens, but vocab_size is {vocab_size}: choose "
            "another output_folder, or delete the file and the checkpoints beside it"
        )
    logger.info(f"{path}: {tokenizer.vocab_size()} tokens ({model_type})")
    return tokenizer


def _train(
    texts: Sequence[str], model_type: str, vocab_size: int | None, character_coverage: float
) -> bytes:
    model = io.BytesIO()
    size = {"use_all_vocab": True} if model_type == "char" else {"vocab_size": vocab_size}
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type=model_type,
            character_coverage=character_coverage,
            normalization_rule_name="identity",  # the texts have their final form already
            max_sentence_length=10**6,
            pad_id=BLANK,
            pad_piece="<blank>",
            unk_id=1,
            unk_surface="",  # the unknown token writes nothing
            bos_id=-1,
            eos_id=-1,
            num_threads=1,  # with more threads, runs could give different models
            minloglevel=2,
            **size,
        )
    except RuntimeError as error:
        raise ValueError(
            f"no {model_type} model of {vocab_size} tokens can be made from {len(texts)} training "
            f"texts. Choose another vocab_size, or --model_type char. SentencePiece says: {error}"
        ) from None
    return model.getvalue()


def frames_needed(tokens: Sequence[int]) -> int:
    """Counts the frames that CTC needs to write tokens: a blank must separate equal neighbours.

    Example
    -------
    >>> frames_needed([5, 6, 7]), frames_needed([5, 5, 7]), frames_needed([])
    (3, 4, 0)
    """
    return len(tokens) + sum(a == b for a, b in zip(tokens, tokens[1:], strict=False))
