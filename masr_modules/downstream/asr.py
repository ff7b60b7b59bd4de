"""Speech to text by CTC: the Brain, and which utterances it can learn from."""

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
    """Rows with the text to learn and score; those without any are left out, and counted.

    Arguments
    ---------
    rows : dict
        From load_csv, with `text`.
    name : str
        Of the split.
    written : callable
        Text -> what of it is to be written: `official_text` or `normalise_text`.

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
        raise ValueError(f"{name}: no utterance has a text: is the column 'text' filled?")
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
        From `with_text`.
    tokenizer : Tokenizer
        Of the recogniser.
    frames_per_second : float
        That the encoder gives.

    Raises
    ------
    ValueError
        If none is left.
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
    """A CTC head on an encoder (Graves et al., ICML 2006).

    Arguments
    ---------
    tokenizer : Tokenizer
        Of texts.
    row_of : mapping of str to dict
        ID -> row of every utterance.
    decoders : mapping of sb.Stage to callable
        Log-posteriors -> tokens, in validation and test.
    **options
        Of DownstreamBrain.
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
        """The Brain for a tokenizer.

        Arguments
        ---------
        hparams : dict
            With `head`, which builds it; `beam_size`, `ngram`, `alpha` and `beta` of the test.
        run_opts : dict
            Of SpeechBrain.
        pretrained : PretrainedEncoder
            From `load_encoder`.
        rows : dict
            Split -> rows, from `with_text`.
        tokenizer : Tokenizer
            From `make_tokenizer`.
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
        """(B, F, V) log-posteriors, and (B,) the number of valid frames."""
        frames, frame_lens = self.frames(batch, stage)
        return self.modules.head(frames, frame_lens), frame_lens

    def compute_objectives(
        self, predictions: tuple[Tensor, Tensor], batch: PaddedBatch, stage: sb.Stage
    ) -> Tensor:
        """CTC, each utterance's divided by its tokens; 0 where they are too many."""
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
            zero_infinity=True,  # speed perturbation may take frames from a fast speaker
        )
        total, count = (losses / token_lens).sum(), torch.ones_like(losses).sum()
        return global_mean(total, count, alone=stage != sb.Stage.TRAIN)

    def collect(self, ids: list[str], texts: list[str]) -> None:
        """Keeps what was recognised."""
        for utterance, text in zip(ids, texts, strict=True):
            row = self.row_of[utterance]
            language, seconds = row.get("language") or "", row["duration"]
            self.transcripts.append(Transcript(utterance, language, seconds, row["text"], text))

    def start_scores(self, stage: sb.Stage) -> None:
        """See DownstreamBrain."""
        self.transcripts = []

    def scores(self, stage: sb.Stage) -> dict[str, float]:
        """CER and WER, pooled and as means of the languages."""
        metrics = Scores(self.transcripts).metrics
        return {key: value for key, value in metrics.items() if ", " not in key}


def make_decoder(hparams: dict, tokenizer: Tokenizer):
    """The decoder of the test: beam search where `beam_size` is over 1 or an `ngram` given."""
    if hparams["beam_size"] <= 1 and not hparams["ngram"]:
        return greedy_decoder(tokenizer)
    settings = {key: hparams[key] for key in ("beam_size", "ngram", "alpha", "beta")}
    return beam_decoder(tokenizer, **settings)


def guess_nothing(results: Mapping) -> Guess:
    """Who writes nothing has a character error rate of 100 %; two points of grace.

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
