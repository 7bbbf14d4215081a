"""Requests and answers in AWS's Query format, by moto's parser and serialiser over botocore's own models.

Called by: ``dr.lab.rds.protocol``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.loaders import create_loader
from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import QueryParser
from moto.core.serialize import QuerySerializer, SerializationContext

from dr.lab.rds.errors import AwsError, missing, with_common_errors


def _model(service: str) -> ServiceModel:
    # A loader, not a session: that would look for the caller's profile.
    description = create_loader().load_service_model(service, "service-2")
    return ServiceModel(with_common_errors(description), service)


class Wire:
    """Knows RDS's and STS's operations. Immutable after it is made, so that threads share it."""

    def __init__(self) -> None:
        self._models = {"rds": _model("rds"), "sts": _model("sts")}
        self._versions = {model.metadata["apiVersion"]: name for name, model in self._models.items()}

    def codes(self) -> set[str]:
        """Every error code that RDS knows, the common ones among them."""
        return {str(shape.error_code) for shape in self._models["rds"].error_shapes}

    def operation(self, form: Mapping[str, str]) -> tuple[str, OperationModel]:
        """The service ("rds" or "sts") and the operation that a form asks for. Raises AwsError."""
        action = form.get("Action", "")
        if not action:
            raise AwsError("MissingAction", "The request must contain the parameter Action.")
        service = self._versions.get(form.get("Version", ""), "")
        if not service or action not in self._models[service].operation_names:
            raise AwsError(
                "InvalidAction", f"Could not find operation {action} for version {form.get('Version', 'NO_VERSION')}"
            )
        return service, self._models[service].operation_model(action)

    def parse(self, operation: OperationModel, form: Mapping[str, str]) -> dict[str, Any]:
        """The operation's parameters; times are seconds since the epoch. Raises AwsError."""
        parser = QueryParser(operation, timestamp_parser=_epoch)
        try:
            parsed: dict[str, Any] = parser.parse({"values": form})  # type: ignore[typeddict-item]
        except ValueError as error:
            raise AwsError("MalformedInput", f"A parameter is not of its type: {error}.") from None
        shape = operation.input_shape
        for name in shape.required_members if shape is not None else ():
            if name not in parsed:
                raise missing(name)
        return parsed

    def answer(self, operation: OperationModel | None, result: object, request: str) -> tuple[int, str]:
        """HTTP status and XML of a result, or of an AwsError."""
        known = operation or self._models["rds"].operation_model("DescribeDBInstances")
        serializer = QuerySerializer(known, context=SerializationContext(request))
        response = serializer.serialize(_without_nothing(result))
        body = response["body"]
        return response["status_code"], body if isinstance(body, str) else body.decode()


def _epoch(value: str) -> float:
    """ISO 8601, UTC where no zone is named: what AWS takes."""
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _without_nothing(result: object) -> object:
    """The result without absent members: the serialiser writes what it is given."""
    if isinstance(result, dict):
        return {key: _without_nothing(value) for key, value in result.items() if value is not None}
    if isinstance(result, list):
        return [_without_nothing(value) for value in result]
    return result
