"""Every error a person can meet, each with its exit code (DESIGN: 2 usage, 3 refused, 4 inconclusive, 5 failed).

A message says what happened, to which thing; ``hint`` says what to do next. A missed objective is a result and never an
error.
"""

from __future__ import annotations

DEFECTS = (Exception, SystemExit)
"""What code may raise that works wrongly, a plugin's too: it ends no run. No stop that was asked for is among it."""


class DrError(Exception):
    """Base of all; ``exit_code`` is the process's."""

    exit_code = 5

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{super().__str__()} {self.hint}".strip()


class UsageError(DrError):
    """The request itself, or the configuration, is wrong."""

    exit_code = 2


class RefusedError(DrError):
    """A guard, or a precondition that is not met. Nothing was changed."""

    exit_code = 3


class PasswordError(RefusedError):
    """A database that answers does not take a role's password."""


class NoDatabaseError(RefusedError):
    """A server that answers has no database of that name."""


class EvidenceError(DrError):
    """Evidence is missing, altered or unreadable, so that nothing can be concluded from it."""

    exit_code = 4


class ProviderError(DrError):
    """A provider or a part of the harness failed. ``code`` is the provider's own error code, where it has one.
    ``transient``: the same call may succeed when repeated."""

    def __init__(self, message: str, hint: str = "", *, code: str = "", transient: bool = False) -> None:
        super().__init__(message, hint)
        self.code = code
        self.transient = transient


class OddAnswerError(ProviderError):
    """A provider's answer is none that its interface gives: torn, of something else, or without what it has to hold.
    The next one may be sound, so that it is asked for again."""

    def __init__(self, asked: str, odd: str) -> None:
        super().__init__(
            f"{asked} was answered oddly: {odd.rstrip('.')}.",
            "See whether something else answers in its place, such as a proxy, then repeat the command.",
            code="OddAnswer",
            transient=True,
        )


class UnreachableError(ProviderError):
    """No database server answers where one should listen: that says nothing of what it would take if it did."""


class HiddenStandbyError(ProviderError):
    """A database server that answers, but is a standby that takes no session at all, and so no write."""


class FailedError(ProviderError):
    """The provider itself shows that what it was asked for will not come, as by a status that leads nowhere."""


class DeadlineError(ProviderError):
    """A call did not reach its state before its deadline, by what the provider showed then."""


class DefectError(DrError):
    """The harness itself failed, or a part of it. ``cause``: what was raised, whose text may hold anything and is not
    told."""

    def __init__(self, cause: BaseException, what: str = "The harness itself failed") -> None:
        super().__init__(f"{what} ({type(cause).__name__}).")
        self.cause = cause


class HaltedError(DrError):
    """The run was told to stop (``dr abort``, a signal, or a parent that is gone). ``begun``: whether the step that was
    stopped may have asked for a change; False only where that is certain."""

    exit_code = 130
    begun = True

    def __init__(self, message: str, hint: str = "", *, exit_code: int = 130) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code
