"""AWS's answers to a wrong call: code, message, HTTP status.

These are values on the wire, not errors a person of the harness meets.
"""

from __future__ import annotations

from typing import Any

COMMON: dict[str, tuple[int, bool]] = {
    "AccessDenied": (403, True),
    "ExpiredToken": (403, True),
    "IncompleteSignature": (400, True),
    "InternalFailure": (500, False),
    "InvalidAction": (400, True),
    "InvalidClientTokenId": (403, True),
    "InvalidParameterCombination": (400, True),
    "InvalidParameterValue": (400, True),
    "MalformedInput": (400, True),
    "MissingAction": (400, True),
    "MissingAuthenticationToken": (403, True),
    "MissingParameter": (400, True),
    "RequestEntityTooLarge": (413, True),
    "RequestExpired": (400, True),
    "ServiceUnavailable": (503, False),
    "SignatureDoesNotMatch": (403, True),
    "Throttling": (400, True),
}
"""Codes that every AWS Query service gives and that botocore's model of RDS lacks: HTTP status, sender's fault."""


class AwsError(Exception):
    """A refused call. ``code`` is AWS's own, with or without the word Fault exactly as the service model has it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def with_common_errors(description: dict[str, Any]) -> dict[str, Any]:
    """A service description whose shapes include the common errors, so that a serialiser finds their status."""
    shapes = dict(description["shapes"])
    for code, (status, sender) in COMMON.items():
        shapes.setdefault(
            f"{code}Common",
            {
                "type": "structure",
                "members": {},
                "error": {"code": code, "httpStatusCode": status, "senderFault": sender},
                "exception": True,
                "fault": not sender,
            },
        )
    return {**description, "shapes": shapes}


def missing(parameter: str) -> AwsError:
    return AwsError("MissingParameter", f"The request must contain the parameter {parameter}.")


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValue", message)


def combination(message: str) -> AwsError:
    return AwsError("InvalidParameterCombination", message)


def no_instance(identifier: str) -> AwsError:
    return AwsError("DBInstanceNotFound", f"DBInstance {identifier} not found.")


def no_snapshot(identifier: str) -> AwsError:
    return AwsError("DBSnapshotNotFound", f"DBSnapshot {identifier} not found.")


def instance_state(identifier: str, wanted: str) -> AwsError:
    return AwsError("InvalidDBInstanceState", f"Instance {identifier} is not in {wanted} state.")
