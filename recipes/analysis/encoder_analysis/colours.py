"""Colours and shapes of groups of languages."""

from collections.abc import Mapping

from masr_modules.knowledge.descent import OTHER
from masr_modules.metrics.plots import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

#: Colours of the groups, in their order.
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, BLACK)
#: Colour of the group OTHER, and of pairs of two groups.
GREY = "#8C8C8C"
#: Shapes of the groups, which tell them apart without colour, by matplotlib's and plotly's names.
SHAPES = (
    *(("o", "circle"), ("s", "square"), ("^", "triangle-up"), ("D", "diamond")),
    *(("v", "triangle-down"), ("P", "cross"), ("X", "x")),
)
OTHER_SHAPE = ("h", "hexagon")
MOST = len(COLOURS)


def styles(group_of: Mapping[str, str]) -> dict[str, tuple[str, tuple[str, str]]]:
    """Maps each group to its colour and shape, in the order of the groups; OTHER is grey.

    Example
    -------
    >>> styles({"tam": "Dravidian", "qqq": "other"})
    {'Dravidian': ('#0072B2', ('o', 'circle')), 'other': ('#8C8C8C', ('h', 'hexagon'))}
    """
    named = [group for group in dict.fromkeys(group_of.values()) if group != OTHER]
    found = {group: (COLOURS[i % MOST], SHAPES[i % len(SHAPES)]) for i, group in enumerate(named)}
    return found | ({OTHER: (GREY, OTHER_SHAPE)} if OTHER in group_of.values() else {})
