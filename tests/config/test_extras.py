"""What is missing names its extra, and is left out with one line where a run can do without."""

import logging
from importlib import import_module

import pytest

from masr_modules.config.extras import MissingExtraError, extra, skip_without_extra


def test_a_missing_package_names_itself_and_the_extra():
    with (
        pytest.raises(MissingExtraError, match=r'^absent is not .*: pip install "masr\[hub\]"$'),
        extra("hub"),
    ):
        import_module("absent.part")


def test_other_errors_pass():
    with pytest.raises(ImportError, match="cannot import name") as caught, extra("hub"):
        from logging import absent  # noqa: F401
    assert not isinstance(caught.value, MissingExtraError)
    with pytest.raises(ModuleNotFoundError), skip_without_extra("a picture"):
        import_module("absent")


def test_what_is_left_out_again_and_again_is_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with skip_without_extra("every picture"), extra("report"):
                import_module("absent")
    (record,) = caplog.records
    assert record.getMessage() == (
        'every picture is left out: absent is not installed: pip install "masr[report]"'
    )
