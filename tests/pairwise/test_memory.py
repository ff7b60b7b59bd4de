"""The cross-batch memory: what it gives, for how long, and that a checkpoint holds it."""

import copy
from functools import partial

import pytest
import torch

from masr_modules.data.metadata import Metadata
from masr_modules.heads import MASRHead, Projection
from masr_modules.pairwise.losses import MASRLoss, unit_norm
from masr_modules.pairwise.memory import CrossBatchMemory


def batch(languages: str, first_id: int = 0) -> Metadata:
    labels = {"language": ["a", "b", "c"], "speaker": ["x"]}
    columns = {"language": list(languages), "speaker": ["x"] * len(languages)}
    metadata = Metadata.from_columns(columns, labels)
    metadata.ids = torch.arange(first_id, first_id + len(languages))
    return metadata


def head(size=8, max_age=2) -> MASRHead:
    torch.manual_seed(0)
    memory = partial(CrossBatchMemory, size, max_age)
    loss = MASRLoss("hardest", margin=4.0)
    return MASRHead([], loss, Projection(3, 3), batch("abc"), memory=memory)


def known(memory, vocabularies) -> list[int]:
    return sorted(code for code in memory.metadata(vocabularies)["language"].tolist() if code >= 0)


def test_past_batches_serve_as_negatives():
    """A batch of one language has no negative of its own."""
    model = head()
    assert model(torch.randn(2, 3), batch("aa")).stats["anchors"] == 0
    assert model(torch.randn(2, 3), batch("bb", 10)).stats["anchors"] == 1


def test_the_loss_with_a_memory_is_the_loss_with_more_candidates():
    model = head()
    past, now = torch.randn(2, 3), torch.randn(3, 3)
    model(past, batch("bc", 10))
    stored = model.memory.embeddings[:2].clone()
    z = unit_norm(copy.deepcopy(model.projection).train()(now, _alone(3)))
    d = 1 - z @ torch.cat([z, stored]).T
    # Languages a a b; the memory holds b c. Anchors 0 and 1; 2 (b) has no positive in the
    # batch, and a memory's entry is none.
    terms = [d[0, 1] - d[0, [2, 3, 4]].min() + 4.0, d[1, 0] - d[1, [2, 3, 4]].min() + 4.0]
    torch.testing.assert_close(model(now, batch("aab")).loss, torch.stack(terms).mean())


def _alone(size):
    from masr_modules.distributed import JointBatch

    return JointBatch(size)


def test_entries_older_than_max_age_are_dropped():
    model = head(max_age=2)
    vocabularies = batch("a").vocabularies
    model(torch.randn(2, 3), batch("ab"))
    for age, expected in ((1, [0, 1]), (2, [0, 1, 2]), (3, [2, 2])):
        seen = known(model.memory, vocabularies)
        assert seen == expected, age
        model(torch.randn(1, 3), batch("c", 10 * age))


def test_the_oldest_entries_go_first_and_too_large_a_batch_keeps_its_last():
    memory = CrossBatchMemory(size=3, max_age=100, embedding_size=2, labels=["language"])
    vocabularies = batch("a").vocabularies
    memory.enter(torch.randn(2, 2), batch("ab"))
    memory.enter(torch.randn(2, 2), batch("cc", 5))
    assert known(memory, vocabularies) == [1, 2, 2]
    memory.enter(torch.randn(5, 2), batch("ccaba", 10))
    assert known(memory, vocabularies) == [0, 0, 1]


def test_nothing_is_entered_or_used_in_validation():
    model = head().eval()
    model(torch.randn(2, 3), batch("bb"))
    assert int(model.memory.step) == 0
    assert model(torch.randn(2, 3), batch("aa", 10)).stats["anchors"] == 0


def test_a_checkpoint_holds_the_memory():
    one, other = head(), head()
    one(torch.randn(3, 3), batch("abc"))
    other.load_state_dict(one.state_dict())
    pooled = torch.randn(3, 3)
    assert torch.equal(one(pooled, batch("aab", 20)).loss, other(pooled, batch("aab", 20)).loss)
    for name, buffer in one.memory.named_buffers():
        assert torch.equal(buffer, other.memory.get_buffer(name)) or buffer.isnan().all()


def test_a_memory_without_ids_is_refused():
    metadata = batch("aab")
    metadata.ids = None
    with pytest.raises(ValueError, match="ids"):
        head()(torch.randn(3, 3), metadata)


@pytest.mark.parametrize("arguments", ((0, 1), (1, 0)))
def test_sizes_below_one_are_refused(arguments):
    with pytest.raises(ValueError, match="at least 1"):
        CrossBatchMemory(*arguments, embedding_size=2, labels=["language"])
