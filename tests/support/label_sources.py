"""Metadata of labels without a corpus, and all pairs of a source's labels."""

import torch

from masr_modules.data.metadata import Metadata


def corpus_of(column, labels):
    """Metadata of one utterance a label, whose codes are the labels' places."""
    return Metadata({column: torch.arange(len(labels))}, {column: list(labels)})


def all_pairs(source):
    """Similarity and validity of a source's labels, each with each."""
    codes = torch.arange(len(source.vocabulary))
    return source.pairs(codes, codes)
