"""What the attacks came to, counted over a whole session and printed at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Figures:
    """``tried``: attacks by their family. ``verdicts``: how the attacked runs ended. ``false``: verdicts that are not
    the truth, a sentence each. ``orphans``: what was left behind, a sentence each. ``deaf``: the longest time in
    seconds from a SIGTERM until the run said that it heard it."""

    tried: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    false: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    deaf: float = 0.0

    def add(self, other: Figures) -> None:
        """Count what another process of the session has counted."""
        self.tried.update(other.tried)
        self.verdicts.update(other.verdicts)
        self.false += other.false
        self.orphans += other.orphans
        self.deaf = max(self.deaf, other.deaf)

    def lines(self) -> list[str]:
        tried = ", ".join(f"{count} {family}" for family, count in sorted(self.tried.items()))
        ended = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        wrong = len(self.false)
        return [
            f"tried: {self.tried.total()} ({tried})",
            f"true verdicts: {self.verdicts.total() - wrong} of {self.verdicts.total()} ({ended})",
            f"orphans: {len(self.orphans)}",
            f"false verdicts: {wrong}",
            f"longest deafness to SIGTERM: {self.deaf:.2f} s",
        ]


FIGURES = Figures()
