"""Speech recognition by CTC: the Brain, and the choice of utterances that it can learn from."""

import logging
from collections.abc import Callable, Mapping

import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch
from torch import Tensor

from masr_modules.distributed import global_mean
from masr_modules.downstream.brain import DownstreamBrain
from masr_modules.downstream.decoding import beam_decoder, decode_batch, greedy_decoder
from masr_modules.downstream.task import Column, Guess, Task, Use
from masr_modules.downstream.tokens import BLANK, Tokenizer, frames_needed
from masr_modules.encoders.pretrained import PretrainedEncoder
from masr_modules.metrics.transcripts import Scores, Transcript

logger = logging.getLogger(__name__)


def with_text(rows: dict[str, dict], name: str, written: Callable[[str], str]) -> dict[str, dict]:
    """Normalises the texts to learn and score; leaves out, and counts, rows without text.

    Arguments
    ---------
    rows : dict
        ID -> row, with `text`.
    name : str
        Name of the split.
    written : callable
        Normalises a text: `official_text` or `normalise_text`.

    Raises
    ------
    ValueError
        If no row has text.
    """
    texts = {
        utterance: row | {"text": written(row.get("text") or "")} for utterance, row in rows.items()
    }
    kept = {utterance: row for utterance, row in texts.items() if row["text"]}
    if not kept:
        raise ValueError(f"{name}: no utterance has a text: fill the column 'text' of its CSV")
    if len(kept) < len(rows):
        logger.warning(f"{name}: {len(rows) - len(kept)} utterances without text are left out")
    return kept


def drop_crowded(
    rows: dict[str, dict], tokenizer: Tokenizer, frames_per_second: float
) -> dict[str, dict]:
    """Leaves out, and counts, training utterances with more tokens than CTC can write.

    Arguments
    ---------
    rows : dict
        ID -> row, from `with_text`.
    tokenizer : Tokenizer
        The recogniser's tokenizer.
    frames_per_second : float
        Number of the encoder's frames per second.

    Raises
    ------
    ValueError
        If no utterance is left.
    """
    kept = {
        utterance: row
        for utterance, row in rows.items()
        if frames_needed(tokenizer.encode(row["text"])) <= row["duration"] * frames_per_second
    }
    if not kept:
        raise ValueError(
            f"train: the encoder's {frames_per_second:.0f} frames per second are too few for the "
            "tokens of every utterance: choose longer tokens (a larger vocab_size)"
        )
    if len(kept) < len(rows):
        logger.warning(
            f"train: {len(rows) - len(kept)} of {len(rows)} utterances have more tokens than CTC "
            f"can write in {frames_per_second:.0f} frames per second, and are left out"
        )
    return kept


class AsrBrain(DownstreamBrain):
    """A Brain with a CTC head on an encoder (Graves et al., ICML 2006).

    Arguments
    ---------
    tokenizer : Tokenizer
        The tokenizer of texts.
    row_of : mapping of str to dict
        ID -> row of every utterance.
    decoders : mapping of sb.Stage to callable
        The decoders of validation and test: (F, V) log-posteriors -> text.
    **options
        Options of DownstreamBrain.
    """

    def __init__(self, *, tokenizer: Tokenizer, row_of: Mapping, decoders: Mapping, **options):
        super().__init__(**options)
        self.tokenizer, self.row_of, self.decoders = tokenizer, row_of, decoders

    @classmethod
    def build(
        cls,
        hparams: dict,
        run_opts: dict,
        pretrained: PretrainedEncoder,
        rows: dict[str, dict],
        tokenizer: Tokenizer,
    ) -> "AsrBrain":
        """Builds the Brain for a tokenizer.

        Arguments
        ---------
        hparams : dict
            The settings, with the function `head`, and `beam_size`, `ngram`, `alpha` and `beta` of
            the test.
        run_opts : dict
            SpeechBrain's run options.
        pretrained : PretrainedEncoder
            The encoder, from `load_encoder`.
        rows : dict
            Split -> ID -> row, from `with_text`.
        tokenizer : Tokenizer
            The tokenizer, from `make_tokenizer`.
        """
        head = hparams["head"](input_size=pretrained.d_model, out_neurons=tokenizer.vocab_size())
        test_decoder = make_decoder(hparams, tokenizer)
        return cls.from_hparams(
            hparams,
            run_opts,
            pretrained,
            {"head": head},
            tokenizer=tokenizer,
            row_of={key: row for split in rows.values() for key, row in split.items()},
            decoders={sb.Stage.VALID: greedy_decoder(tokenizer), sb.Stage.TEST: test_decoder},
        )

    def compute_forward(self, batch: PaddedBatch, stage: sb.Stage) -> tuple[Tensor, Tensor]:
        """Computes (B, F, V) log-posteriors, and (B,) the number of valid frames."""
        frames, frame_lens = self.frames(batch, stage)
        return self.modules.head(frames, frame_lens), frame_lens

    def compute_objectives(
        self, predictions: tuple[Tensor, Tensor], batch: PaddedBatch, stage: sb.Stage
    ) -> Tensor:
        """Computes the utterances' mean CTC loss per token; 0 for one with too many tokens."""
        log_posteriors, frame_lens = predictions
        texts = [self.row_of[utterance]["text"] for utterance in batch.id]
        tokens = [self.tokenizer.encode(text) for text in texts]
        if stage != sb.Stage.TRAIN:
            self.collect(batch.id, decode_batch(self.decoders[stage], *predictions))
        token_lens = torch.tensor([len(text) for text in tokens], device=log_posteriors.device)
        losses = torch.nn.functional.ctc_loss(
            log_posteriors.float().transpose(0, 1),
            torch.tensor(sum(tokens, []), device=log_posteriors.device),
            frame_lens,
            token_lens,
            blank=BLANK,
            reduction="none",
            zero_infinity=True,  # speed perturbation may leave too few frames for the tokens
        )
        total, count = (losses / token_lens).sum(), torch.ones_like(losses).sum()
        return global_mean(total, count, alone=stage != sb.Stage.TRAIN)

    def collect(self, ids: list[str], texts: list[str]) -> None:
        """Keeps recognised texts as transcripts."""
        for utterance, text in zip(ids, texts, strict=True):
            row = self.row_of[utterance]
            language, seconds = row.get("language") or "", row["duration"]
            self.transcripts.append(Transcript(utterance, language, seconds, row["text"], text))

    def start_scores(self, stage: sb.Stage) -> None:
        """See DownstreamBrain."""
        self.transcripts = []

    def scores(self, stage: sb.Stage) -> dict[str, float]:
        """Computes CER and WER, pooled and as means over languages."""
        metrics = Scores(self.transcripts).metrics
        return {key: value for key, value in metrics.items() if ", " not in key}


def make_decoder(hparams: dict, tokenizer: Tokenizer):
    """Makes the decoder of the test: beam search if `beam_size` is over 1 or `ngram` is given."""
    if hparams["beam_size"] <= 1 and not hparams["ngram"]:
        return greedy_decoder(tokenizer)
    settings = {key: hparams[key] for key in ("beam_size", "ngram", "alpha", "beta")}
    return beam_decoder(tokenizer, **settings)


def guess_nothing(results: Mapping) -> Guess:
    """Returns the character error rate of an empty text, 100 %, with two points of grace.

    Example
    -------
    >>> guess_nothing({})
    Guess(score=1.0, grace=0.02)
    """
    return Guess(1.0, 0.02)


TASK = Task(
    name="asr",
    title="Speech recognition",
    brain=AsrBrain,
    columns=(
        Column("mean CER of languages", "macro_cer", "share"),
        Column("mean WER of languages", "macro_wer", "share"),
        Column("CER", "cer", "share"),
        Column("WER", "wer", "share"),
        Column("mean CER of languages, normalised", "macro_cer, normalised", "share"),
    ),
    higher_is_better=False,
    chance=guess_nothing,
    use=Use("ASR", "EncoderASR", "transcribe_file"),
    mini_yaml="mini_asr.yaml",
    prefix="speech",
    place=2,
)
