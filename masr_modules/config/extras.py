"""Errors and warnings for packages of an extra (`pip install "masr[report]"`) that are missing.

The core of MASR trains and uses an encoder. Other parts need packages that an extra installs;
they import these inside `extra`, so that an error names the command that installs them.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


class MissingExtraError(ImportError):
    """A package that an extra installs is missing; the message names the extra."""


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Context for imports of packages that an extra installs.

    Arguments
    ---------
    name : str
        Name of the extra in `pyproject.toml`.

    Raises
    ------
    MissingExtraError
        If a package is not installed. The message names it and the extra.

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
    """Context for an optional step of a run: if its extra is missing, a warning replaces the error.

    Arguments
    ---------
    what : str
        Name of the step for the warning, which is logged once per name.

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
