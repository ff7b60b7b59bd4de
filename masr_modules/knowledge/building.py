"""Building of an experiment's sources, for a corpus, from the factories that its YAML lists."""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal, NamedTuple

from masr_modules.data.metadata import Metadata
from masr_modules.knowledge.base import KnowledgeSource, check_column

#: A callable that builds a source from ``metadata=``; a YAML writes it as `!name:` and the class.
SourceFactory = Callable[..., KnowledgeSource]


class SourceSettings(NamedTuple):
    """The class and the column of a source, which are known before it is built.

    Arguments
    ---------
    kind : type
        The class of the source.
    column : str
        The CSV column that it reads.
    reads : str
        "labels" or "numbers": how it reads the column.
    """

    kind: type[KnowledgeSource]
    column: str
    reads: Literal["labels", "numbers"]

    def __str__(self) -> str:
        return self.kind.named(self.column)


def source_settings(source: KnowledgeSource | SourceFactory) -> SourceSettings:
    """Returns what a source, or a factory of one, will read, without building it.

    Arguments
    ---------
    source : KnowledgeSource or SourceFactory
        A source, its class, or a ``functools.partial`` of its class.

    Returns
    -------
    SourceSettings
        The source's class, its column, and how it reads the column.

    Raises
    ------
    TypeError
        If it is none of these, or its class does not take the arguments.
    ValueError
        If the column has no name.

    Example
    -------
    >>> from masr_modules.knowledge import LanguageDistance, Numeric
    >>> source_settings(partial(Numeric, "year", length_scale=5.0))[1:]
    ('year', 'numbers')
    >>> str(source_settings(LanguageDistance))
    "LanguageDistance on 'language'"
    """
    if isinstance(source, KnowledgeSource):
        return SourceSettings(type(source), source.column, source.reads)
    kind, args, keywords = source, (), {}
    if isinstance(source, partial):
        kind, args, keywords = source.func, source.args, source.keywords
    if not (isinstance(kind, type) and issubclass(kind, KnowledgeSource)):
        raise TypeError(
            f"{source!r} is no knowledge source: write `!name:` and a class, such as "
            "masr_modules.knowledge.Categorical, with its settings"
        )
    signature = inspect.signature(kind)
    try:
        bound = signature.bind(*args, **{**keywords, "metadata": None})
    except TypeError as problem:
        raise TypeError(
            f"{kind.__name__}: {problem}; it takes {', '.join(signature.parameters)}"
        ) from None
    bound.apply_defaults()
    return SourceSettings(kind, check_column(kind, bound.arguments.get("column")), kind.reads)


def build_sources(
    sources: Iterable[KnowledgeSource | SourceFactory], metadata: Metadata
) -> list[KnowledgeSource]:
    """Builds the sources of an experiment for a corpus.

    Arguments
    ---------
    sources : iterable of KnowledgeSource or SourceFactory
        Factories, see :func:`source_settings`; a source that is built already is only checked.
    metadata : Metadata
        Metadata of the corpus.

    Returns
    -------
    list[KnowledgeSource]
        The sources, in the same order.

    Raises
    ------
    KeyError
        If the metadata lack a source's column.
    TypeError
        If an entry is neither source nor factory. The message gives its number in the list.
    ValueError
        If a setting is wrong, a column does not hold what its source reads, or a source was built
        for other labels.

    Example
    -------
    >>> from masr_modules.knowledge import Categorical, LanguageDistance
    >>> metadata = Metadata.from_columns({"language": ["cat", "spa"], "speaker": ["a", "b"]})
    >>> entries = [partial(LanguageDistance, kinds=["genetic"]), Categorical("speaker")]
    >>> [str(source) for source in build_sources(entries, metadata)]
    ["LanguageDistance on 'language'", "Categorical on 'speaker'"]
    """
    sources = list(sources)
    _settings_of_all(sources)  # all entries, before any table is computed
    built = []
    for source in sources:
        if isinstance(source, KnowledgeSource):
            source.check(metadata)
            built.append(source)
        else:
            built.append(source(metadata=metadata))
    return built


def _settings_of_all(sources: Iterable[KnowledgeSource | SourceFactory]) -> list[SourceSettings]:
    settings = []
    for place, source in enumerate(sources, start=1):
        try:
            settings.append(source_settings(source))
        except (TypeError, ValueError) as problem:
            raise type(problem)(f"knowledge, entry {place}: {problem}") from None
    return settings
