"""The folder that a pretraining leaves behind, without the pretraining."""

import torch

from masr_modules.encoders.conformer import ConvFrontEnd, LogMel, SpeechEncoder
from masr_modules.objectives.best_rq import BestRQ

YAML = """
sample_rate: 16000
secret: !apply:os.system [touch HACKED]
log_mel: &mel !new:masr_modules.encoders.conformer.LogMel
    sample_rate: 16000
    n_mels: 8
ssl: !new:masr_modules.objectives.best_rq.BestRQ
    encoder: !new:masr_modules.encoders.conformer.SpeechEncoder
        features: *mel
        front_end: !new:masr_modules.encoders.conformer.ConvFrontEnd
            input_size: 8
            d_model: {width}
            kernel_sizes: [7]
            strides: [4]
        num_layers: 1
        d_model: {width}
        d_ffn: 8
        nhead: 2
    codebook_size: 4
"""


def make_run(folder, width=8, yaml_width=8):
    """What a pretraining with BEST-RQ leaves behind; the encoder it had."""
    front_end = ConvFrontEnd(8, width, [7], [4])
    encoder = SpeechEncoder(LogMel(n_mels=8), front_end, 1, width, 8, 2)
    checkpoint = folder / "save/CKPT+a"
    checkpoint.mkdir(parents=True)
    torch.save(BestRQ(encoder, codebook_size=4).state_dict(), checkpoint / "ssl.ckpt")
    (checkpoint / "CKPT.yaml").write_text("unixtime: 1\nend-of-epoch: true\nknn: 0.5\n")
    (folder / "hyperparams.yaml").write_text(YAML.format(width=yaml_width))
    return encoder.eval()
