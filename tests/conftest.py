"""For all tests."""

from speechbrain.utils.importutils import LazyModule

# Hypothesis asks every loaded module for its __file__, at which SpeechBrain's lazy ones try
# to import optional packages (k2) and fail.
LazyModule.__file__ = None
