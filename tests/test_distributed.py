"""Two ranks (gloo) against one process with the joint batch."""

import copy
from functools import partial

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from masr_modules.data.metadata import Metadata
from masr_modules.distributed import JointBatch, JointBatchNorm
from masr_modules.heads import ClassifierHead, MASRHead, MultiLabelHead, Projection
from masr_modules.knowledge import Categorical
from masr_modules.objectives.base import SSLOutput
from masr_modules.pairwise.losses import MASRLoss
from masr_modules.pairwise.memory import CrossBatchMemory
from masr_modules.pairwise.prototypes import Prototypes
from masr_modules.pairwise.soft_labels import MultiSupConLoss, XSampleLoss

pytestmark = pytest.mark.slow

#: Two steps of two ranks with 7 and 2 utterances. On rank 1 no language has a partner at
#: all (b: alone in the joint batch; unknown), so that it is without a single anchor.
STEPS = [[list("aacacca"), ["b", ""]], [list("ccaabba"), ["d", ""]]]
VOCABULARIES = {"language": list("abcd"), "speaker": list("xyz")}
SIZES = (6, 4)


def metadata_of(languages: list[str], first_id: int) -> Metadata:
    speakers = [("x", "y", "", "z")[i % 4] for i in range(len(languages))]
    columns = {"language": languages, "speaker": speakers}
    metadata = Metadata.from_columns(columns, VOCABULARIES)
    metadata.ids = torch.arange(first_id, first_id + len(languages))
    return metadata


def make_model(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    sources = [Categorical("speaker")]
    loss = {"MultiSupCon": MultiSupConLoss(), "X-Sample": XSampleLoss()}.get(
        kind, MASRLoss("knowledge", 0.3, 0.5, "graded", "softplus")
    )
    memory = partial(CrossBatchMemory, 12, 5) if "memory" in kind else None
    corpus = metadata_of(list("abcd"), 0)
    if kind == "cross-entropy":
        head = ClassifierHead(["language", "speaker"], *SIZES, corpus)
    elif "per source" in kind:
        identities = {"language": 1.0, "speaker": 0.5}
        head = MultiLabelHead(identities, sources, loss, *SIZES, corpus, memory)
    elif kind == "prototypes":
        loss = MASRLoss("soft", 0.3, 0.1, activation="softplus", scale=8.0)
        prototypes = partial(Prototypes, candidates_by=["speaker"])
        head = MultiLabelHead(
            {"language": 1.0}, sources, loss, *SIZES, corpus, prototypes=prototypes
        )
    else:
        head = MASRHead(sources, loss, Projection(*SIZES), corpus, memory=memory)
    return torch.nn.ModuleDict({"encoder": torch.nn.Linear(5, SIZES[0]), "head": head})


KINDS = (
    "MASR",
    "memory",
    "per source, memory",
    "MultiSupCon",
    "X-Sample",
    "cross-entropy",
    "prototypes",
)


def inputs_of(step: int) -> torch.Tensor:
    return torch.randn(9, 5, generator=torch.Generator().manual_seed(step))


def run(kind: str, rank: int | None, world_size: int) -> tuple[list, dict, dict]:
    """Losses, gradients of the last step and buffers, averaged over ranks as DDP does."""
    model = make_model(kind)
    losses = []
    for step, parts in enumerate(STEPS):
        x, languages = inputs_of(step), parts[0] + parts[1]
        metadata = metadata_of(languages, 20 * step)
        if rank is not None:
            own = slice(0, 7) if rank == 0 else slice(7, 9)
            x, metadata = x[own], metadata.select(own)
        model.zero_grad()
        output = model["head"](model["encoder"](x), metadata)
        output.loss.backward()
        loss = output.loss.detach().clone()
        if rank is not None:
            dist.all_reduce(loss)
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad)
                parameter.grad /= world_size
        losses.append(loss / world_size)
    gradients = {name: value.grad.clone() for name, value in model.named_parameters()}
    return losses, gradients, copy.deepcopy(dict(model.named_buffers()))


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    results = {kind: run(kind, rank, 2) for kind in KINDS}
    joint = JointBatch(3 if rank == 0 else 1)
    frames = torch.tensor([3.0, 5.0, 7.0]) if rank == 0 else torch.tensor([1.0])
    mask = torch.ones(1, len(frames), dtype=torch.bool)
    results["mean"] = SSLOutput(frames.mean(), frames, frames, mask).joint_loss
    norm = JointBatchNorm.convert(torch.nn.BatchNorm1d(5))
    own = inputs_of(0)[slice(0, 7) if rank == 0 else slice(7, 9)].requires_grad_()
    (norm(own).square() * torch.arange(5)).sum().backward()
    results["norm"] = [own.grad, *(value.detach() for value in norm.state_dict().values())]
    results["gathered"] = joint.gather(torch.full((3 if rank == 0 else 1, 2), float(rank)))
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two ranks computed."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_equal_one_process_with_the_joint_batch(ranks, kind):
    losses, gradients, buffers = run(kind, None, 1)
    assert sum(loss > 0 for loss in losses) == 2
    for rank in ranks:
        got_losses, got_gradients, got_buffers = rank[kind]
        torch.testing.assert_close(got_losses, losses, atol=1e-5, rtol=0)
        for name, gradient in gradients.items():
            torch.testing.assert_close(got_gradients[name], gradient, atol=1e-5, rtol=0, msg=name)
        for name, buffer in buffers.items():
            torch.testing.assert_close(
                got_buffers[name], buffer, atol=1e-5, rtol=0, equal_nan=True, msg=name
            )


def test_rows_of_different_numbers_are_joined_in_rank_order(ranks):
    for rank in ranks:
        assert rank["gathered"].tolist() == [[0.0, 0.0]] * 3 + [[1.0, 1.0]]


def test_means_over_different_numbers_of_frames_average_to_the_joint_mean(ranks):
    # Of 3, 5, 7 on one rank and 1 on the other.
    assert (ranks[0]["mean"] + ranks[1]["mean"]).item() / 2 == pytest.approx(16 / 4)


def test_normalisation_is_over_the_joint_batch(ranks):
    norm, x = torch.nn.BatchNorm1d(5), inputs_of(0).requires_grad_()
    (norm(x).square() * torch.arange(5)).sum().backward()
    gradient = torch.cat([rank["norm"][0] for rank in ranks])
    assert torch.allclose(gradient, x.grad, atol=1e-5)
    for rank in ranks:
        for found, expected in zip(rank["norm"][1:], norm.state_dict().values(), strict=True):
            assert torch.allclose(found, expected, atol=1e-6)
