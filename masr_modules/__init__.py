"""MASR: speech representation learning that uses what is known about the recordings."""

import importlib

#: Modules that YAMLs saved by version 0.1 name -> where they are now.
MOVED = {
    "huggingface": "encoders.huggingface",
    "pooling": "encoders.pooling",
    "waveform": "encoders.waveform",
}


def __getattr__(name: str):
    """A moved module under its old name, so that exported encoders of version 0.1 still load."""
    if name in MOVED:
        return importlib.import_module(f"{__name__}.{MOVED[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
