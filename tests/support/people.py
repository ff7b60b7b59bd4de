"""Recordings of people, where they lie beside the repository: ../shared/human."""

from pathlib import Path

import pytest

HUMAN = Path(__file__).parents[3] / "shared/human"


def corpus_of_people(name):
    """The folder of a corpus; the test is skipped where it is not there."""
    folder = HUMAN / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder
