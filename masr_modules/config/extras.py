"""What to say where a package of an extra (`pip install "masr[report]"`) is not installed.

The core trains and uses an encoder. An extra adds what more some parts need; such a part imports
it inside `extra`, so that the error names the command that helps.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


class MissingExtraError(ImportError):
    """A package is missing that an extra installs; the message names the extra."""


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Context for imports of what an extra installs.

    Arguments
    ---------
    name : str
        The extra, as `pyproject.toml` has it.

    Raises
    ------
    MissingExtraError
        If a package is not installed: names it and the extra.

    Example
    -------
    >>> with extra("report"):
    ...     import a_package_that_draws
    Traceback (most recent call last):
    ...
    masr_modules.config.extras.MissingExtraError: a_package_that_draws is not installed: \
pip install "masr[report]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).partition(".")[0]
        raise MissingExtraError(
            f'{package} is not installed: pip install "masr[{name}]"', name=error.name
        ) from error


@contextmanager
def skip_without_extra(what: str) -> Iterator[None]:
    """Context for what a run can do without: where an extra is missing, a warning says so.

    Arguments
    ---------
    what : str
        What is skipped then; the warning stands in the log the first time alone.

    Example
    -------
    >>> with skip_without_extra("the picture"), extra("report"):
    ...     import a_package_that_draws
    >>> with skip_without_extra("the sum"):
    ...     print(1 + 1)
    2
    """
    try:
        yield
    except MissingExtraError as error:
        if what not in _skipped:
            logger.warning("%s is left out: %s", what, error)
        _skipped.add(what)


_skipped: set[str] = set()
