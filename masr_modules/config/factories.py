"""What a `!name:` block of a YAML would build, told before it is built."""

import inspect
from collections.abc import Callable
from functools import partial


def class_of(block: object) -> type | Callable:
    """The class that a factory builds, or that an object is of.

    Example
    -------
    >>> class_of(partial(dict, a=1)), class_of(dict(a=1)), class_of(dict)
    (<class 'dict'>, <class 'dict'>, <class 'dict'>)
    """
    if isinstance(block, partial):
        return block.func
    return block if isinstance(block, type) else type(block)


def setting_of(block: object, name: str) -> object:
    """An argument that a factory was given or has by default; of an object, the attribute.

    Arguments
    ---------
    block : object
        What `!name:` gives: a functools.partial. Or a class, or what either has built.
    name : str
        Of the argument, whether it was given by name or by place.

    Raises
    ------
    ValueError
        If the factory has no such argument, or was given one that it does not take: names both.

    Example
    -------
    >>> def tone(hertz, seconds=1.0, volume=1.0): ...
    >>> setting_of(partial(tone, 440), "hertz"), setting_of(partial(tone, 440), "seconds")
    (440, 1.0)
    """
    if not isinstance(block, partial | type):
        return getattr(block, name)
    settings = settings_of(block)
    if name not in settings:
        called = getattr(class_of(block), "__name__", str(block))
        raise ValueError(f"{called} has no argument {name!r}; it was given {', '.join(settings)}")
    return settings[name]


def settings_of(block: partial | type) -> dict[str, object]:
    """All arguments that a factory was given or has by default, by name.

    Raises
    ------
    ValueError
        If it was given an argument that it does not take: names it and those that it takes.

    Example
    -------
    >>> def tone(hertz, seconds=1.0): ...
    >>> settings_of(partial(tone, 440))
    {'hertz': 440, 'seconds': 1.0}
    """
    signature = inspect.signature(class_of(block))
    given = block if isinstance(block, partial) else partial(block)
    try:
        bound = signature.bind_partial(*given.args, **given.keywords)
    except TypeError as error:
        called = getattr(class_of(block), "__name__", str(block))
        takes = ", ".join(signature.parameters)
        raise ValueError(f"{called}: {error}; it takes {takes}") from None
    bound.apply_defaults()
    return dict(bound.arguments)
