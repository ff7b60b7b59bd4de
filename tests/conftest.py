"""For all tests."""

import logging
import os

# Tensors this small are slower with several threads, and far slower where cores are shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from speechbrain.utils.importutils import LazyModule

# Hypothesis asks every loaded module for its __file__, at which SpeechBrain's lazy ones try
# to import optional packages (k2) and fail.
LazyModule.__file__ = None

#: Tests that train, compile or start processes.
SLOW = (
    "tests/data_prep/test_commonvoice_prepare",
    "tests/data_prep/test_debian_prepare",
    "tests/data_prep/test_mini_prepare",
    "tests/recipes/test_analysis",
    "tests/recipes/test_asr",
    "tests/recipes/test_corpora",
    "tests/recipes/test_downstream",
    "tests/recipes/test_how_to",
    "tests/recipes/test_kmeans",
    "tests/recipes/test_own_task",
    "tests/recipes/test_pretrain",
    "tests/recipes/test_speaker",
    "tests/recipes/test_study",
    "tests/recipes/test_tables",
    "tests/recipes/test_torchrun",
    "tests/recipes/test_analysis_page",
    "tests/training/test_compile",
    "tests/test_distributed",
    "tests/objectives/test_huggingface",
    "tests/knowledge/test_languages",
    "tests/objectives/test_objectives_conformance",
    "tests/repository/test_packaging",
    "tests/training/test_random_state",
    "tests/data/test_shards",
    "tests/metrics/test_verification",
)
#: Of these, one from end to end.
FAST = "tests/recipes/test_pretrain.py::test_runs_from_csv_to_table[masr.yaml]"


def pytest_collection_modifyitems(items):
    """Marks what `make test-fast` leaves out."""
    for item in items:
        if item.nodeid.startswith(SLOW) and item.nodeid != FAST:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def logging_as_before():
    """A recipe sets logging up for its process; the next test finds it as it was."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]
