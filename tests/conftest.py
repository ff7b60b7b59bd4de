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


@pytest.fixture(autouse=True)
def logging_as_before():
    """A recipe sets logging up for its process; the next test finds it as it was."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]
