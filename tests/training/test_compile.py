"""What torch.compile cannot trace of an objective: its masks, which numpy draws, and no more."""

import pytest
import torch
import torch._dynamo as dynamo

from masr_modules.config.settings import load_settings

ROOT = __file__.rsplit("/tests/", 1)[0]


@pytest.mark.parametrize("yaml", ["masr.yaml", "pretrain_wav2vec2.yaml"])
def test_one_graph_break(yaml):
    small = {"d_model": 16, "d_ffn": 16, "nhead": 2}
    ssl = load_settings(f"{ROOT}/hparams/{yaml}", small, only=["ssl"])["ssl"].train()
    dynamo.reset()
    with dynamo.config.patch(capture_dynamic_output_shape_ops=True):  # as Trainer does
        found = dynamo.explain(ssl)(torch.randn(2, 16000), torch.tensor([1.0, 0.7]), [1, 2])
    reasons = {reason.reason for reason in found.break_reasons}
    assert len(reasons) <= 1 and all("span_mask" in reason for reason in reasons), reasons
