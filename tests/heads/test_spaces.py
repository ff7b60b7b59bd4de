"""The spaces of a head, as they are after training and from a file that anyone may have written."""

import pytest
import torch

from masr_modules.data.metadata import Metadata
from masr_modules.distributed import JointBatch
from masr_modules.heads import ClassifierHead, MultiLabelHead, Spaces
from masr_modules.pairwise.losses import MASRLoss

METADATA = Metadata.from_columns({"language": ["fra", "fra", "deu"], "speaker": ["a", "b", "c"]})
IDENTITIES = {"language": 1.0, "speaker": 1.0}
LAYERS = {"language": [0, 1, 2], "speaker": 1}


def make_heads():
    return [
        MultiLabelHead(IDENTITIES, [], MASRLoss(), 8, 4, METADATA, layers=LAYERS),
        ClassifierHead(IDENTITIES, 8, 4, METADATA, layers=LAYERS),
    ]


@pytest.mark.parametrize("head", make_heads(), ids=lambda head: type(head).__name__)
def test_embeddings_are_those_of_the_head_in_validation(head):
    torch.manual_seed(0)
    for _ in range(5):  # statistics of training
        head(3 * torch.randn(3, 3, 8) + 1, METADATA)
    for name, projection in head.projections.items():
        if projection.layer_scores is not None:
            torch.nn.init.normal_(projection.layer_scores)
        pooled = torch.randn(6, 3, 8)
        expected = projection.eval()(pooled, JointBatch(6, alone=True)).detach()
        spaces = Spaces.of(head)
        assert list(spaces) == list(IDENTITIES)
        torch.testing.assert_close(spaces[name](pooled), expected)


def test_a_head_that_names_no_projections_has_no_spaces():
    assert not Spaces.of(torch.nn.Linear(2, 2))
    assert not Spaces.from_state({})


GOOD = {
    "speaker.weight": torch.ones(4, 8),
    "speaker.bias": torch.ones(4),
    "speaker.layers": torch.tensor([0, 1]),
    "speaker.mix": torch.ones(2),
}


@pytest.mark.parametrize(
    "change",
    [
        {"speaker.weight": torch.ones(5, 8)},
        {"speaker.weight": torch.full((4, 8), float("nan"))},
        {"speaker.layers": torch.tensor([0.5, 1.0])},
        {"speaker.layers": torch.tensor(1), "speaker.mix": torch.tensor(1.0)},
        {"speaker.mix": torch.ones(3)},
        {"speaker.other": torch.ones(3)},
        {"weight": torch.ones(4, 8)},
        {"language.weight": torch.ones(4, 8)},
    ],
    ids=str,
)
def test_what_is_no_state_of_spaces_is_refused(change):
    assert Spaces.from_state(GOOD)["speaker"](torch.ones(2, 3, 8)).shape == (2, 4)
    with pytest.raises(ValueError, match=r"mine.ckpt: holds no spaces of a head: "):
        Spaces.from_state(GOOD | change, "mine.ckpt")
