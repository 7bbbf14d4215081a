"""AWS's error codes as sentences: which are preconditions that are not met, which may pass, and what to do about each.

Pure. Those that any service answers with; each has more of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dr.domain.errors import DrError, ProviderError, RefusedError

_THROTTLED = ("RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException")
_BUSY = ("InternalFailure", "ServiceUnavailable")
PASSING = frozenset({*_THROTTLED, *_BUSY})
"""The same call may succeed when it is repeated. All others are preconditions, and nothing was changed."""

_WAIT = "Wait a minute, then repeat the command."
_DENIED = ("The credentials may not do this", "Grant the action that the message names, then repeat the command.")
_EXPIRED = ("The credentials have expired", "Sign in again, then repeat the command.")
_CLOCK = ("AWS rejects the time of the request", "Correct this machine's clock, then repeat the command.")
_CREDENTIALS = (
    "AWS does not accept the credentials",
    "Check the target's credentials, account and region, and the clock here.",
)
_UNACCEPTED = (
    *("AuthFailure", "IncompleteSignature", "InvalidClientTokenId", "MissingAuthenticationToken"),
    *("SignatureDoesNotMatch", "UnrecognizedClientException"),
)

ROWS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"), _DENIED),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException"), _EXPIRED),
    **dict.fromkeys(("RequestExpired", "RequestTimeTooSkewed"), _CLOCK),
    **dict.fromkeys(_UNACCEPTED, _CREDENTIALS),
    **dict.fromkeys(_THROTTLED, ("AWS limits the rate of calls", _WAIT)),
    **dict.fromkeys(_BUSY, ("AWS is not available at the moment", _WAIT)),
    "OptInRequired": ("The account has no access to this region", "Enable it, or correct the target's region."),
}
"""A code to a sentence, and what to do next."""


def from_code(
    code: str,
    message: str,
    operation: str,
    http_status: int = 400,
    rows: Mapping[str, tuple[str, str]] = ROWS,
    passing: Collection[str] = PASSING,
) -> DrError:
    """The error for AWS's ``code``. A code that is not among ``rows`` fails, and is transient where AWS blames itself;
    of the others those that are ``passing`` are."""
    said = f"{operation}: {code}: {message.strip().rstrip('.')}"
    if code not in rows:
        text, hint = f"AWS answered with an error ({said}).", "Look the code up in the service's API reference."
        return ProviderError(text, hint, code=code, transient=http_status >= 500)
    sentence, hint = rows[code]
    if code in passing:
        return ProviderError(f"{sentence} ({said}).", hint, code=code, transient=True)
    return RefusedError(f"{sentence} ({said}).", hint)
