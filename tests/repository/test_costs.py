"""What docs/pretrained.md says that encoders cost is what its script computes."""

from pathlib import Path

import pytest
import torch

from benchmarks import pretrained as costs

PAGE = Path(__file__).parents[2] / "docs/pretrained.md"


def rows(text):
    """The cells of each row of a Markdown table, without the two lines of its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def block(name):
    text = PAGE.read_text(encoding="utf-8").split(f"<!-- {name} -->")[1]
    return rows(text.split(f"<!-- /{name} -->")[0])


def only(monkeypatch, *names):
    monkeypatch.setattr(costs, "STARTS", {name: costs.STARTS[name] for name in names})


def of(name, *names):
    """The rows of these encoders that the page has."""
    return [row for row in block(name) if row[0] in names]


def test_parameters_of_a_layout_that_is_written_out():
    d, layers, mels = 384, 4, 80
    attention = 4 * d * d + 3 * d  # keys have no bias
    layer = attention + 2 * 4 * d * d + 4 * d + d + 2 * 2 * d
    convolutions = 3 * mels * d + d + 3 * d * d + d
    expected = convolutions + 1500 * d + layers * layer + 2 * d
    assert costs.parameters(costs.STARTS["Whisper tiny"]) == expected


def test_parameters_are_those_of_the_published_weights():
    assert costs.parameters(costs.STARTS["XLS-R 300M, MMS-300M"]) == 315_438_720
    assert costs.parameters(costs.STARTS["WavLM large"]) == 315_453_120


def test_products_of_a_layout_that_is_written_out():
    d, frames, mels = 384, 500, 80
    layer = frames * (12 * d * d + 2 * frames * d)
    convolutions = 2 * frames * 3 * mels * d + frames * 3 * d * d
    products = convolutions + 4 * layer
    found = costs.forward_flops(costs.STARTS["Whisper tiny"])
    assert found == pytest.approx(2 * products / costs.SECONDS, rel=1e-9)


@pytest.mark.parametrize(
    "names",
    [["Whisper tiny", "WavLM base+"], pytest.param(list(costs.STARTS), marks=pytest.mark.slow)],
    ids=["two", "all"],
)
@pytest.mark.parametrize("name", ["encoders", "epochs"])
def test_the_page_says_what_the_script_computes(name, names, monkeypatch):
    only(monkeypatch, *names)
    found = rows(costs.TABLES[name]())
    assert len(found) == len(names)
    assert sorted(found) == sorted(of(name, *names))


@pytest.mark.slow
def test_the_page_has_the_memory_that_the_script_computes(monkeypatch):
    only(monkeypatch, "Whisper tiny")
    found = rows(costs.memory_table())
    assert len(found) == 2
    assert found == of("memory", "Whisper tiny")


def test_all_encoders_are_in_all_tables():
    for name in ("encoders", "epochs", "memory"):
        assert {row[0] for row in block(name)} == costs.STARTS.keys()


def test_each_row_says_how_it_was_found():
    for name in costs.TABLES:
        assert {row[-1] for row in block(name)} <= {"computed", "measured", "both"}


def test_what_was_measured_is_near_what_was_computed():
    for row in block("memory-check"):
        assert 0.9 < float(row[-2]) < 1.25


def test_bytes_that_are_freed_are_not_of_the_peak():
    with costs.LiveBytes() as count:
        first = torch.zeros(1000)
        del first
        second = torch.zeros(500)
        third = second.view(5, 100)  # the same memory
        assert count.live == 2000
        del second, third
    assert (count.live, count.peak) == (0, 4000)


def test_memory_grows_with_the_batch_and_checkpointing_saves_some():
    tiny = costs.STARTS["Whisper tiny"]
    few, many = (costs.computed_bytes(tiny, utterances, False) for utterances in (20, 40))
    held = 18 * costs.parameters(tiny)  # with the copy in bfloat16
    assert 0.9 * few < held + (many - few) < 1.1 * few
    assert costs.computed_bytes(tiny, 20, True) < few


def test_norms_are_in_float32_and_masks_of_dropout_in_bytes():
    x = torch.randn(2, 8, dtype=torch.bfloat16, requires_grad=True)
    saved = []

    def pack(tensor):
        saved.append(tensor.dtype)
        return tensor

    with costs.AsOnGPU(), torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        assert torch.nn.LayerNorm(8)(x).dtype == torch.float32
        saved.clear()
        torch.nn.Dropout(0.5)(x)
    assert saved == [torch.bool]
