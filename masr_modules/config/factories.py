"""Classes and arguments of `!name:` blocks of a YAML, known before the blocks are built."""

import inspect
from collections.abc import Callable
from functools import partial


def class_of(block: object) -> type | Callable:
    """Returns the class that a factory builds, a class itself, or the class of an object.

    Example
    -------
    >>> class_of(partial(dict, a=1)), class_of(dict(a=1)), class_of(dict)
    (<class 'dict'>, <class 'dict'>, <class 'dict'>)
    """
    if isinstance(block, partial):
        return block.func
    return block if isinstance(block, type) else type(block)


def setting_of(block: object, name: str) -> object:
    """Returns an argument of a factory, given or default, or the attribute of a built object.

    Arguments
    ---------
    block : object
        A functools.partial, as `!name:` gives, a class, or an object that either has built.
    name : str
        Name of the argument, even if it was given by position.

    Raises
    ------
    ValueError
        If the factory has no such argument with a value, or was given one that it does not take.
        The message names the factory and the argument.
    AttributeError
        If a built object has no such attribute.

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
        raise ValueError(f"{called} has no argument {name!r}; it has {', '.join(settings)}")
    return settings[name]


def settings_of(block: partial | type) -> dict[str, object]:
    """Returns all arguments that a factory was given or has by default, by name.

    Raises
    ------
    ValueError
        If it was given an argument that it does not take. The message names the argument and
        those that it takes.

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
