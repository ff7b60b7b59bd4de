"""For all tests."""

import os

# Tensors this small are slower with several threads, and far slower where cores are shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from speechbrain.utils.importutils import LazyModule

# Hypothesis asks every loaded module for its __file__, at which SpeechBrain's lazy ones try
# to import optional packages (k2) and fail.
LazyModule.__file__ = None
