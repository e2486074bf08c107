"""Reads requests and writes answers of AWS services by botocore's model of them, and refuses what the model refuses.

Part of our stand-ins for AWS. The model is AWS's own description of each operation; it has no rule that stands in
the prose of the documentation alone. Each stand-in adds the rules of prose that it knows.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import botocore.session
from botocore.parsers import create_parser
from botocore.validate import ParamValidator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.model import OperationModel, ServiceModel, Shape


class RefusedError(Exception):
    """A request that is refused, in the words of the service.

    Attributes:
        code: the name of the error, as in the model.
        message: its text.
        status: the HTTP status.
        more: further fields of the error.
    """

    def __init__(self, code: str, message: str, status: int = 400, **more: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.more = more


@lru_cache
def service_model(service: str) -> ServiceModel:
    """Return the model of a service, by botocore's name for it."""
    return botocore.session.get_session().get_service_model(service)


class _StrictValidator(ParamValidator):
    """Checks enumerations, patterns and upper limits too, which botocore leaves to the service."""

    def _validate(self, params: Any, shape: Shape, errors: Any, name: str) -> None:
        super()._validate(params, shape, errors, name)
        limit = shape.metadata.get("max")
        size = params if isinstance(params, int) else len(params) if isinstance(params, (str, list, dict)) else 0
        if limit is not None and size > limit:
            errors.report(name, "above the model", param=params, rule=f"at most {limit}")
        if isinstance(params, str):
            self._check_text(params, shape, errors, name)

    @staticmethod
    def _check_text(text: str, shape: Shape, errors: Any, name: str) -> None:
        words = shape.metadata.get("enum")
        if words and text not in words:
            errors.report(name, "above the model", param=text, rule=f"one of {words}")
        pattern = _compiled(shape.metadata.get("pattern", ""))
        if pattern is not None and not pattern.fullmatch(text):
            errors.report(name, "above the model", param=text, rule=f"of the pattern {pattern.pattern}")


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """Return a pattern of the model, None for one that is Java's alone, as those with classes of Unicode are."""
    try:
        return re.compile(pattern) if pattern else None
    except re.error:
        return None


def complaints(value: Any, shape: Shape) -> str:
    """Return what the model has against this value, one complaint a line; empty where it has nothing."""
    errors = _StrictValidator().validate(value, shape)
    told = [
        f"Invalid value for parameter {name.lstrip('.')}: {additional['param']!r} must be {additional['rule']}"
        for reason, name, additional in errors._errors
        if reason == "above the model"
    ]
    errors._errors = [error for error in errors._errors if error[0] != "above the model"]
    return "\n".join(filter(None, [errors.generate_report(), *told]))


def operation_of(
    service: str, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> tuple[OperationModel, dict[str, str]]:
    """Return which operation a request asks for, and the parameters that its path has.

    Raises:
        RefusedError: the service has no such operation.
    """
    model = service_model(service)
    protocol = model.metadata["protocol"]
    if protocol == "rest-json":
        return _by_path(model, method, urlsplit(target).path)
    if protocol == "json":
        prefix, _, name = headers.get("X-Amz-Target", "").partition(".")
        if prefix != model.metadata["targetPrefix"]:
            name = ""
    else:
        name = dict(parse_qsl(body.decode())).get("Action", "")
    if name not in model.operation_names:
        raise RefusedError("UnknownOperationException", f"{service} has no operation {name!r}")
    return model.operation_model(name), {}


def _by_path(model: ServiceModel, method: str, path: str) -> tuple[OperationModel, dict[str, str]]:
    for name in model.operation_names:
        operation = model.operation_model(name)
        template = re.sub(r"\{(\w+)\+?\}", r"(?P<\1>.+)", operation.http["requestUri"])
        found = re.fullmatch(template, path)
        if found and operation.http["method"] == method:
            return operation, {word: unquote(text) for word, text in found.groupdict().items()}
    raise RefusedError("UnknownOperationException", f"nothing answers {method} {path}", 404)


def parameters_of(operation: OperationModel, target: str, in_path: dict[str, str], body: bytes) -> dict[str, Any]:
    """Return the parameters of a request by their names in the model.

    Raises:
        RefusedError: the body cannot be read.
    """
    shape = operation.input_shape
    if operation.service_model.metadata["protocol"] == "query":
        return {name: text for name, text in parse_qsl(body.decode()) if name not in {"Action", "Version"}}
    try:
        document = json.loads(body or b"{}")
    except ValueError as error:
        raise RefusedError("SerializationException", f"the body is no JSON: {error}") from error
    if shape is None:
        return document
    found = _decoded(document, shape)
    asked = parse_qs(urlsplit(target).query)
    for name, member in shape.members.items():
        place, word = member.serialization.get("location"), member.serialization.get("name", name)
        if place == "uri":
            found[name] = in_path[word]
        elif place == "querystring" and word in asked:
            found[name] = asked[word] if member.type_name == "list" else asked[word][0]
    return found


def _decoded(value: Any, shape: Shape) -> Any:
    """Turn JSON into what botocore's validator reads: names of the model, and times."""
    if shape.type_name == "structure" and isinstance(value, dict):
        names = {member.serialization.get("name", name): name for name, member in shape.members.items()}
        return {
            names.get(word, word): _decoded(item, shape.members[names[word]]) if word in names else item
            for word, item in value.items()
        }
    if shape.type_name == "list" and isinstance(value, list):
        return [_decoded(item, shape.member) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {word: _decoded(item, shape.value) for word, item in value.items()}
    if shape.type_name == "timestamp" and isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, timezone.utc)
    return value


def answer_body(operation: OperationModel, answer: dict[str, Any]) -> tuple[str, bytes]:
    """Return content type and body of an answer.

    Raises:
        AssertionError: the model refuses the answer, or botocore does not read the same out of the body: a mistake of
            the stand-in.
    """
    shape = operation.output_shape
    wrong = complaints(answer, shape) if shape is not None else ""
    assert not wrong, f"own answer to {operation.name}: {wrong}\n{answer}"
    protocol = operation.service_model.metadata["protocol"]
    if protocol == "query":
        kind, body = "text/xml", _xml_answer(operation, answer)
    else:
        kind, body = "application/json", json.dumps(_encoded(answer)).encode()
    if shape is not None:
        read = create_parser(protocol).parse({"status_code": 200, "headers": {}, "body": body}, shape)
        read.pop("ResponseMetadata", None)
        wrong = complaints(read, shape)
        assert not wrong, f"own answer to {operation.name}, as botocore reads it: {wrong}\n{body!r}"
        assert read.keys() == answer.keys(), (operation.name, read.keys(), answer.keys())
    return kind, body


def _encoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {word: _encoded(item) for word, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(item) for item in value]
    return value.timestamp() if isinstance(value, datetime) else value


def _xml_answer(operation: OperationModel, answer: dict[str, Any]) -> bytes:
    return (
        f'<{operation.name}Response xmlns="{operation.service_model.metadata["xmlNamespace"]}">'
        f"<{operation.name}Result>{_xml(answer)}</{operation.name}Result>"
        f"<ResponseMetadata><RequestId>{'0' * 8}</RequestId></ResponseMetadata></{operation.name}Response>"
    ).encode()


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{word}>{_xml(item)}</{word}>" for word, item in value.items())
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value).replace("&", "&amp;").replace("<", "&lt;")


def error_body(service: str, refused: RefusedError) -> tuple[str, dict[str, str], bytes]:
    """Return content type, headers and body of an error, as the service's protocol writes it."""
    protocol = service_model(service).metadata["protocol"]
    if protocol == "query":
        text = f"<Code>{refused.code}</Code><Message>{_xml(refused.message)}</Message>"
        body = f"<ErrorResponse><Error><Type>Sender</Type>{text}</Error><RequestId>0</RequestId></ErrorResponse>"
        return "text/xml", {}, body.encode()
    if protocol == "rest-json":
        body = json.dumps({"message": refused.message})
        return "application/json", {"x-amzn-ErrorType": refused.code}, body.encode()
    body = json.dumps({"__type": refused.code, "message": refused.message, **refused.more})
    return "application/x-amz-json-1.1", {}, body.encode()
