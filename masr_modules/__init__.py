"""MASR: speech representation learning that uses what is known about the recordings."""

__version__ = "0.2.0.dev0"
