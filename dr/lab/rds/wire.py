"""Requests and answers in AWS's Query format, CloudWatch's in JSON, by moto's parsers over botocore's own models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from botocore.loaders import create_loader
from moto.core.errors import ErrorLookup, ErrorLookupFactory
from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import JSONParser, QueryParser
from moto.core.serialize import JSONSerializer, QuerySerializer, SerializationContext

from dr.lab.rds.errors import AwsError, missing, with_common_errors

JSON = "monitoring"
"""The service that is spoken to in JSON: CloudWatch, by the name that its requests are signed for."""


def _model(service: str) -> ServiceModel:
    # A loader, not a session: that would look for the caller's profile.
    description = create_loader().load_service_model(service, "service-2")
    return ServiceModel(with_common_errors(description), service)


class Wire:
    """Knows RDS's, STS's and CloudWatch's operations, by the names they are signed for.

    Immutable after it is made, so that threads share it.
    """

    def __init__(self) -> None:
        self._models = {"rds": _model("rds"), "sts": _model("sts"), JSON: _model("cloudwatch")}
        self._versions = {self._models[name].metadata["apiVersion"]: name for name in ("rds", "sts")}

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

    def target(self, header: str) -> tuple[str, OperationModel]:
        """The same for a request in JSON, which names its operation in X-Amz-Target. Raises AwsError."""
        model = self._models[JSON]
        prefix, _, action = header.partition(".")
        if prefix != model.metadata["targetPrefix"] or action not in model.operation_names:
            raise AwsError("InvalidAction", f"Could not find operation {header}.")
        return JSON, model.operation_model(action)

    def parse(self, operation: OperationModel, form: Mapping[str, str], body: bytes = b"") -> dict[str, Any]:
        """The operation's parameters; times are seconds since the epoch. Raises AwsError."""
        try:
            parsed: dict[str, Any]
            if _in_json(operation):
                parsed = JSONParser(operation, timestamp_parser=_epoch).parse({"body": body})  # type: ignore[typeddict-item]
            else:
                parsed = QueryParser(operation, timestamp_parser=_epoch).parse({"values": form})  # type: ignore[typeddict-item]
        except (ValueError, TypeError, AttributeError) as error:
            raise AwsError("MalformedInput", f"A parameter is not of its type: {error}.") from None
        shape = operation.input_shape
        for name in shape.required_members if shape is not None else ():
            if name not in parsed:
                raise missing(name)
        return parsed

    def answer(
        self, operation: OperationModel | None, result: object, request: str, *, in_json: bool = False
    ) -> tuple[int, dict[str, str], str]:
        """HTTP status, headers and body of a result, or of an AwsError; ``in_json``: where no operation was found."""
        default = self._models[JSON].operation_model("GetMetricData") if in_json else None
        known = operation or default or self._models["rds"].operation_model("DescribeDBInstances")
        kind = JSONSerializer if _in_json(known) else _Serializer
        response = kind(known, context=SerializationContext(request)).serialize(_without_nothing(result))
        body = response["body"]
        headers = {"Content-Type": "text/xml", **response["headers"]}
        return response["status_code"], headers, body if isinstance(body, str) else body.decode()


class _Serializer(QuerySerializer):
    """moto's, but for the three things that take it most of its time."""

    def _serialize_error(self, resp: Any, error: Any) -> Any:
        shape = _errors(self.service_model).from_code(error.code)
        if shape is None:
            return super()._serialize_error(resp, error)
        said: dict[str, Any] = self.MAP_TYPE()
        self._serialize_error_metadata(said, error, shape)
        return self._serialized_error_to_response(resp, error, shape, said)

    def get_value(self, value: Any, key: str, shape: Any) -> Any:
        return value.get(key) if isinstance(value, dict) else super().get_value(value, key, shape)

    def _serialize_body(self, body: Mapping[str, Any]) -> str:
        return xml(body)


@cache
def _errors(service: ServiceModel) -> ErrorLookup:
    return ErrorLookupFactory().for_service(service)


def xml(elements: Mapping[str, Any]) -> str:
    """Elements by name: a list stands for several, "@name" for an attribute of what it stands in. Pure."""
    return "".join(
        _element(name, one)
        for name, value in elements.items()
        if not name.startswith("@")
        for one in (value if isinstance(value, list) else [value])
    )


def _element(name: str, value: Any) -> str:
    if not isinstance(value, Mapping):
        attributes, inner = "", escape(str(value))
    else:
        named = ((key[1:], text) for key, text in value.items() if key.startswith("@"))
        attributes, inner = "".join(f" {key}={quoteattr(text)}" for key, text in named), xml(value)
    return f"<{name}{attributes}>{inner}</{name}>" if inner else f"<{name}{attributes}/>"


def _in_json(operation: OperationModel) -> bool:
    return "targetPrefix" in operation.service_model.metadata


def _epoch(given: str | float) -> float:
    """ISO 8601, UTC where no zone is named: what AWS takes."""
    value = str(given)
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
