"""Speech encoders of the `transformers` library, from the hub or a local folder.

They are loaded with `transformers` itself, because SpeechBrain's interface builds pretraining
models without their weights and normalises waveforms over padding.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchaudio.compliance import kaldi

from masr_modules.config.extras import extra
from masr_modules.encoders.adapters import ADAPTER, add_adapter, lora_config, remove_adapters
from masr_modules.encoders.pooling import valid_frames
from masr_modules.encoders.transformers_files import (
    FAMILIES,
    build_model,
    build_pretraining,
    check_network,
    check_source,
    config_of,
    load_config,
    load_extractor,
    load_model,
    named_errors,
    normalizes,
)
from masr_modules.encoders.whisper import WhisperLogMel

with extra("hub"):
    from peft import LoraConfig, inject_adapter_in_model


@dataclass
class EncoderInput:
    """The input of a model.

    Arguments
    ---------
    values : torch.Tensor
        (B, T) samples, (B, F, 160) features for wav2vec2-bert, or (B, 2 F + 4, mel filters)
        features for Whisper.
    attention_mask : torch.Tensor
        (B, T) or (B, F) long, 1 on valid samples or frames.
    frame_lens : torch.Tensor
        (B,) number of valid frames.
    num_frames : int
        F, the padded number of frames.
    """

    values: Tensor
    attention_mask: Tensor
    frame_lens: Tensor
    num_frames: int


class HuggingFaceEncoder(nn.Module):
    """A pretrained speech encoder of `transformers`, of one of `transformers_files.FAMILIES`.

    If a model's convolutions or normalisation reach over padding, it is `padding_sensitive`, and
    `forward` runs the utterances of each exact length by themselves.

    Arguments
    ---------
    source : str, optional
        Hub name or local folder.
    sample_rate : int
        The sample rate of the waveforms in Hz.
    trainable : str
        The parameters that are trained: "all", "layer_norm" (normalisations alone) or "lora"
        (low-rank adapters).
    frozen_layers : int
        If not 0, the feature extractor and this many first layers are not trained.
    lora_rank : int
        Rank of the adapters.
    gradient_checkpointing : bool
        Whether activations are computed twice to save memory.
    config : dict, optional
        The network, with the keys of transformers' configurations, as `described` gives it.
        Without a source its weights are drawn; a source must have the same network.
    pretraining_head : bool
        Whether a wav2vec 2.0 has a `head` with the quantiser and the projections of
        `Wav2Vec2ForPreTraining`. They are drawn if the source has none.

    Raises
    ------
    FileNotFoundError
        If a local folder is missing or has no weights.
    ValueError
        For an unknown family, another sample rate or network, or an invalid option.
    """

    def __init__(
        self,
        source: str | None = None,
        sample_rate: int = 16000,
        trainable: str = "all",
        frozen_layers: int = 0,
        lora_rank: int = 8,
        gradient_checkpointing: bool = False,
        config: dict | None = None,
        pretraining_head: bool = False,
    ):
        super().__init__()
        if source is None and config is None:
            raise ValueError("an encoder needs a source or a config: give one of them")
        self.source, self.sample_rate = source, sample_rate
        #: Whether it was trained before this run; tables then call it `start`, not `untrained`.
        self.starts_trained = source is not None
        self.lora: LoraConfig | None = None
        self.published: dict = {}
        with named_errors(source or "config"):
            model_config = self._load(source, config, pretraining_head)
        self.family = family = FAMILIES[model_config.model_type]
        self.input_kind = family.input_kind
        group_norm = getattr(model_config, "feat_extract_norm", None) == "group"
        self.padding_sensitive = group_norm or family.mixes_padding
        self.d_model = model_config.hidden_size
        self.frame_samples = 320
        if self.input_kind == "samples":
            self.frame_samples = model_config.inputs_to_logits_ratio
        if self.input_kind == "whisper":
            self.log_mel = WhisperLogMel(model_config.num_mel_bins)
        if gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self._choose_trained(trainable, frozen_layers, lora_rank)
        self.train()  # transformers loads in eval mode, but new modules are in training mode

    def _load(self, source: str | None, config: dict | None, head: bool):
        """Sets the model, its head and its normalisation; returns the model's configuration."""
        if config is not None:
            model_config, self.normalize, self.published = config_of(config)
        if source is None:
            self.model, self.head = (
                build_pretraining(model_config) if head else (build_model(model_config), None)
            )
            return model_config
        check_source(source)
        if config is None:
            model_config, self.published = load_config(source)
        else:
            check_network(source, model_config)
        self.normalize = normalizes(load_extractor(source, self.sample_rate), model_config)
        self.model, self.head = load_model(source, model_config, head)
        if (adapter := Path(source).expanduser() / ADAPTER).is_dir():
            add_adapter(self.model, adapter)
        return model_config

    @property
    def described(self) -> dict:
        """The `config` with which another encoder has the same network, without weights."""
        config = self.model.config.to_diff_dict()
        left_out = ("_", "transformers", "id2label", "label2id")  # labels belong to another head
        return {"normalize": self.normalize} | {
            key: value for key, value in config.items() if not key.startswith(left_out)
        }

    def _choose_trained(self, trainable: str, frozen_layers: int, lora_rank: int) -> None:
        layers = self.blocks
        if not 0 <= frozen_layers <= len(layers):
            raise ValueError(f"frozen_layers is {frozen_layers}: choose 0 to {len(layers)}")
        if trainable == "lora":
            self.lora = lora_config(self.model.config.model_type, lora_rank)
            self.model = inject_adapter_in_model(self.lora, self.model)
        elif trainable == "layer_norm":
            self.model.requires_grad_(False)
            for module in self.model.modules():
                if isinstance(module, nn.LayerNorm | nn.GroupNorm):
                    module.requires_grad_(True)
        elif trainable != "all":
            raise ValueError(f"trainable is {trainable!r}: choose all, layer_norm or lora")
        if frozen_layers:
            for module in (self.front[0], *layers[:frozen_layers]):
                module.requires_grad_(False)
        self.model.masked_spec_embed.requires_grad_(True)
        if self.family.conformer and hasattr(self.model.encoder, "pos_conv_embed"):
            # transformers makes this convolution but never runs it, so it would get no gradient.
            self.model.encoder.pos_conv_embed.requires_grad_(False)

    def remove_adapters(self, merge: bool = True) -> None:
        """Replaces linear maps with LoRA by plain ones: the sum if merged, else the base."""
        remove_adapters(self.model, merge)
        self.lora = None

    @property
    def context(self) -> nn.Module:
        """The module that runs the layers; its first argument is their input."""
        return getattr(self.model, "layers_input", self.model.encoder)

    @property
    def blocks(self) -> nn.ModuleList:
        """The layers, bottom first."""
        return self.model.encoder.layers

    @property
    def front(self) -> list[nn.Module]:
        """The modules before the layers, first the convolutions or the projection of features."""
        model, encoder = self.model, self.model.encoder
        if self.input_kind == "whisper":
            return [model.feature_extractor]
        before = [] if self.input_kind == "kaldi" else [model.feature_extractor]
        before.append(model.feature_projection)
        if not self.family.conformer:
            before.append(encoder.pos_conv_embed)
            if not getattr(model.config, "do_stable_layer_norm", False):
                before.append(encoder.layer_norm)  # in other models it follows the layers
        return before

    def prepare(self, wavs: Tensor, wav_lens: Tensor) -> EncoderInput:
        """Normalises each utterance over its own length, or computes its features.

        Arguments
        ---------
        wavs : torch.Tensor
            (B, T) samples.
        wav_lens : torch.Tensor
            (B,) relative lengths.

        Returns
        -------
        EncoderInput
            The model's input.

        Raises
        ------
        ValueError
            If an utterance is shorter than one frame.
        """
        samples = (wav_lens * wavs.shape[1]).round().long()
        frame_lens = self._frame_lens(samples)
        if frame_lens.min() < 1:
            raise ValueError(
                f"an utterance of {samples.min()} samples is shorter than one frame of the model: "
                "remove the shortest utterances from the CSV"
            )
        num_frames = int(self._frame_lens(torch.tensor(wavs.shape[1])))
        if self.input_kind == "whisper":
            valid = valid_frames(frame_lens, num_frames, wavs.device)
            return EncoderInput(self.log_mel(wavs, samples), valid.long(), frame_lens, num_frames)
        if self.input_kind == "kaldi":
            values = self._kaldi_features(wavs, samples, num_frames)
            valid = valid_frames(frame_lens, num_frames, wavs.device)
            return EncoderInput(values, valid.long(), frame_lens, num_frames)
        valid = valid_frames(samples, wavs.shape[1], wavs.device)
        wavs = wavs.float() * valid
        if self.normalize:
            count = samples.to(wavs.device, non_blocking=True).unsqueeze(1)
            wavs = (wavs - wavs.sum(dim=1, keepdim=True) / count) * valid
            wavs = wavs / (wavs.square().sum(dim=1, keepdim=True) / count + 1e-7).sqrt()
        return EncoderInput(wavs, valid.long(), frame_lens, num_frames)

    def _frame_lens(self, samples: Tensor) -> Tensor:
        if self.input_kind == "whisper":
            return (samples + self.frame_samples - 1) // self.frame_samples
        if self.input_kind == "kaldi":  # windows of 25 ms every 10 ms, of which a frame has two
            return ((samples - 400).div(160, rounding_mode="floor") + 1).clamp(min=0) // 2
        return self.model._get_feat_extract_output_lengths(samples)

    @torch.no_grad()
    def _kaldi_features(self, wavs: Tensor, samples: Tensor, num_frames: int) -> Tensor:
        """Computes the features of transformers' SeamlessM4TFeatureExtractor on the device."""
        features = wavs.new_zeros(len(wavs), num_frames, 160)
        for row, wav, count in zip(features, wavs.float(), samples.tolist(), strict=True):
            with torch.autocast(wavs.device.type, enabled=False):  # fbank has no half precision
                mels = kaldi.fbank(
                    wav[None, :count] * 2**15,
                    num_mel_bins=80,
                    sample_frequency=self.sample_rate,
                    window_type="povey",
                    dither=0.0,
                )
            mels = (mels - mels.mean(dim=0)) / (mels.var(dim=0) + 1e-7).sqrt()
            stacked = mels[: len(mels) // 2 * 2].view(-1, 160)
            row[: len(stacked)] = stacked
        return features

    def run(self, inputs: EncoderInput, mask: Tensor, all_layers: bool = False):
        """Runs the model and returns its output object; True in the (B, F) mask hides a frame."""
        return self.model(
            inputs.values.to(self.model.dtype),
            attention_mask=inputs.attention_mask,
            mask_time_indices=mask,
            output_hidden_states=all_layers,
        )

    def forward(self, wavs: Tensor, wav_lens: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encodes waveforms without masks, and returns the frames of all layers.

        Arguments
        ---------
        wavs : torch.Tensor
            (B, T) samples.
        wav_lens : torch.Tensor
            (B,) relative lengths.

        Returns
        -------
        layers : list[torch.Tensor]
            Tensors (B, F, D): the input of the first layer, then the output of each layer.
        frame_lens : torch.Tensor
            (B,) number of valid frames.
        """
        if not self.padding_sensitive:
            return self._layers(wavs, wav_lens)
        samples = (wav_lens * wavs.shape[1]).round().long()
        parts = []
        for count in samples.unique().tolist():
            rows = (samples == count).nonzero().flatten()
            layers, lens = self._layers(wavs[rows, :count], torch.ones(len(rows)).to(wavs))
            parts.append((rows, layers, lens))
        return self._gathered(parts, len(wavs))

    def _layers(self, wavs: Tensor, wav_lens: Tensor) -> tuple[list[Tensor], Tensor]:
        inputs = self.prepare(wavs, wav_lens)
        nothing = torch.zeros(len(wavs), inputs.num_frames, dtype=torch.bool, device=wavs.device)
        output = self.run(inputs, nothing, all_layers=True)
        return [*output.hidden_states[:-1], output.last_hidden_state], inputs.frame_lens

    @staticmethod
    def _gathered(parts: Iterable, size: int) -> tuple[list[Tensor], Tensor]:
        """Joins the parts of a batch, each of another length, to one padded batch."""
        parts = list(parts)
        longest = parts[-1][1][0]
        layers = [longest.new_zeros(size, *longest.shape[1:]) for _ in parts[-1][1]]
        lens = parts[-1][2].new_zeros(size)
        for rows, some_layers, some_lens in parts:
            lens[rows] = some_lens
            for layer, some in zip(layers, some_layers, strict=True):
                layer[rows, : some.shape[1]] = some
        return layers, lens
