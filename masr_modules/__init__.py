"""MASR: speech representation learning that uses the metadata of the recordings."""

__version__ = "0.2.0.dev0"
