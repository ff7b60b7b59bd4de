"""A register of what a preparation leaves out or finds odd, with a limit."""

import logging
from collections import Counter

logger = logging.getLogger(__name__)

#: Number of cases of each reason that are kept for the report.
EXAMPLES = 5


class SkipRegister:
    """A register that counts, by reason, what is left out, and keeps the first cases of each.

    Arguments
    ---------
    limit : float
        Largest fraction of the cases that may be left out as broken; more is an error.

    Example
    -------
    >>> skips = SkipRegister(limit=0.5)
    >>> skips.skip("no such file", "train.tsv, line 3: a.wav")
    >>> skips.note("stereo, mixed down when read", "b.wav")
    >>> skips.kept += 1
    >>> skips.check()
    >>> print(skips.report())
    left out 1 of 2: no such file (train.tsv, line 3: a.wav)
    noted 1: stereo, mixed down when read (b.wav)
    """

    def __init__(self, limit: float = 0.01):
        self.limit = limit
        self.kept = 0
        self.skipped: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()
        self.excluded: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def skip(self, reason: str, case: str) -> None:
        """Counts something that is broken and left out; `case` says which and where."""
        self._count(self.skipped, reason, case)

    def exclude(self, reason: str, case: str) -> None:
        """Counts something sound that the protocol leaves out; no limit applies."""
        self._count(self.excluded, reason, case)

    def note(self, reason: str, case: str) -> None:
        """Counts something that is odd and kept."""
        self._count(self.noted, reason, case)

    def _count(self, counter: Counter, reason: str, case: str) -> None:
        counter[reason] += 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(str(case))

    @property
    def total(self) -> int:
        """Number of cases that were kept or left out as broken."""
        return self.kept + self.skipped.total()

    def report(self) -> str:
        """Returns a line for each reason, the most frequent first; empty if there is none."""
        lines = []
        for verb, counter, of in (
            ("left out", self.skipped, f" of {self.total}"),
            ("left out by the protocol", self.excluded, ""),
            ("noted", self.noted, ""),
        ):
            for reason, count in counter.most_common():
                examples = "; ".join(self._examples[reason])
                more = "; ..." if count > len(self._examples[reason]) else ""
                lines.append(f"{verb} {count}{of}: {reason} ({examples}{more})")
        return "\n".join(lines)

    def check(self) -> None:
        """Checks that not too much is left out.

        Raises
        ------
        ValueError
            If nothing is kept, or more than `limit` is left out as broken; the message holds
            the report.
        """
        share = self.skipped.total() / max(1, self.total)
        if self.kept and share <= self.limit:
            return
        problem = (
            f"{share:.1%} of the utterances would be left out, more than the limit of "
            f"{self.limit:.1%}: mend the corpus, or raise skip_limit"
            if self.kept
            else "no utterance is left"
        )
        raise ValueError(f"{problem}\n{self.report()}".rstrip())
