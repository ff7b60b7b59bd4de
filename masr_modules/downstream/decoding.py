"""Decoding of CTC posteriors to text: greedy, or by beam search with an n-gram model of words."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from speechbrain.decoders.ctc import CTCBeamSearcher, filter_ctc_output
from torch import Tensor

from masr_modules.downstream.tokens import BLANK, Tokenizer

#: (F, V) log-posteriors of one utterance -> its text.
Decoder = Callable[[Tensor], str]


def greedy_decoder(tokenizer: Tokenizer) -> Decoder:
    """Makes a decoder that writes the best token of each frame, without repetitions and blanks.

    Example
    -------
    >>> import torch
    >>> from masr_modules.downstream.tokens import make_tokenizer
    >>> path = getfixture("tmp_path") / "tokenizer.model"
    >>> tokenizer = make_tokenizer(path, ["ab", "ba"], "char")
    >>> best = [tokenizer.piece_to_id(piece) for piece in ("a", "a", "<blank>", "a", "b", "b")]
    >>> greedy_decoder(tokenizer)(torch.nn.functional.one_hot(torch.tensor(best)).float().log())
    'aab'
    """

    def decode(log_posteriors: Tensor) -> str:
        best = log_posteriors.argmax(dim=-1).tolist()
        return tokenizer.decode_ids(filter_ctc_output(best, BLANK))

    return decode


def beam_decoder(
    tokenizer: Tokenizer,
    beam_size: int,
    ngram: str | Path | None = None,
    alpha: float = 0.5,
    beta: float = 1.5,
) -> Decoder:
    """Makes a decoder by SpeechBrain's CTC beam search, with an n-gram model of words if given.

    Arguments
    ---------
    tokenizer : Tokenizer
        The tokenizer, from `make_tokenizer`.
    beam_size : int
        Number of texts that are kept at a frame.
    ngram : str or Path, optional
        An ARPA or binary file of KenLM, over words as the recogniser's training texts write them.
    alpha : float
        Weight of the language model.
    beta : float
        Bonus of each word, because the language model favours few words.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModuleNotFoundError
        If an n-gram is given and kenlm is not installed.
    """
    if ngram is not None:
        if not Path(ngram).is_file():
            raise FileNotFoundError(f"ngram: {ngram}: no such file")
        if find_spec("kenlm") is None:
            raise ModuleNotFoundError(
                "ngram needs the package kenlm: pip install kenlm, or leave ngram empty"
            )
    vocabulary = [tokenizer.id_to_piece(i) for i in range(tokenizer.vocab_size())]
    searcher = CTCBeamSearcher(
        blank_index=BLANK,
        vocab_list=vocabulary,
        kenlm_model_path=None if ngram is None else str(ngram),
        alpha=alpha,
        beta=beta,
        beam_size=beam_size,
    )

    def decode(log_posteriors: Tensor) -> str:
        # Utterances are searched one by one, because the search rounds lengths of a batch down.
        hypotheses = searcher(log_posteriors.unsqueeze(0).float())
        words = hypotheses[0][0].text.replace(vocabulary[1], "").split()
        return " ".join(words)

    return decode


def decode_batch(decode: Decoder, log_posteriors: Tensor, lens: Tensor) -> list[str]:
    """Decodes a padded batch to the texts of its utterances.

    Arguments
    ---------
    decode : Decoder
        The decoder of one utterance.
    log_posteriors : torch.Tensor
        (B, F, V) log-posteriors.
    lens : torch.Tensor
        (B,) number of valid frames.
    """
    rows = zip(log_posteriors.detach().cpu(), lens.tolist(), strict=True)
    return [decode(row[:length]) for row, length in rows]
