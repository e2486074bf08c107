"""What all stand-ins of AWS services share: operations found by name, trouble on order, and a log of all requests."""

from __future__ import annotations

import threading
from collections import deque
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aws.standin.model import RefusedError, answer_body, complaints, operation_of, parameters_of, service_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ACCOUNT = "123456789012"
REGION = "eu-west-1"


@dataclass(frozen=True)
class Request:
    """One request as it arrived, whatever became of it.

    Attributes:
        operation: its name in the model.
        parameters: by their names in the model.
        fault: the trouble that was ordered for it ("throttled", "refused", "lost", "dropped"); else empty.
        region: for which region it was signed.
    """

    operation: str
    parameters: dict[str, Any]
    fault: str
    region: str


@dataclass
class _Fault:
    kind: str
    operations: tuple[str, ...]
    left: int
    refused: RefusedError | None = None


@dataclass
class Reply:
    """What goes back: ``None`` as status closes the connection without a word."""

    status: int | None
    kind: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Service:
    """One service. A subclass has a method for each operation that it knows, by the operation's name in snake case.

    Attributes:
        name: botocore's name for the service.
        requests: all requests since the start, the refused ones too.
    """

    name = ""
    #: Name and HTTP status of the error for wrong parameters, and of the one for too many requests.
    invalid: tuple[str, int] = ("ValidationException", 400)
    throttled: tuple[str, int] = ("ThrottlingException", 400)

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._faults: deque[_Fault] = deque()

    def throttle(self, requests: int, *operations: str) -> None:
        """Refuse so many of the next requests as too many; of these operations alone where some are named."""
        code, status = self.throttled
        self.refuse(requests, *operations, code=code, message="Too Many Requests", status=status, kind="throttled")

    def refuse(
        self,
        requests: int,
        *operations: str,
        code: str = "AccessDeniedException",
        message: str = "User: arn:aws:iam::123456789012:user/tester is not authorized to perform this operation",
        status: int = 403,
        kind: str = "refused",
    ) -> None:
        """Refuse so many of the next requests with this error, e.g. UnrecognizedClientException or a status 503."""
        self._faults.append(_Fault(kind, operations, requests, RefusedError(code, message, status)))

    def lose_answers(self, requests: int, *operations: str) -> None:
        """Do what so many of the next requests ask for, and close their connections without an answer."""
        self._faults.append(_Fault("lost", operations, requests))

    def drop(self, requests: int, *operations: str) -> None:
        """Close the connections of so many of the next requests and do nothing."""
        self._faults.append(_Fault("dropped", operations, requests))

    def heal(self) -> None:
        """Forget the trouble that was ordered and has not come yet."""
        self._faults.clear()

    def asked(self, operation: str) -> list[dict[str, Any]]:
        """Return the parameters of all requests for an operation, in the order of their arrival."""
        return [request.parameters for request in self.requests if request.operation == operation]

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes, region: str) -> Reply:
        """Return the answer to a request.

        Raises:
            RefusedError: in the service's words.
            AssertionError: the stand-in would give a wrong answer.
        """
        operation, in_path = operation_of(self.name, method, target, headers, body)
        parameters = parameters_of(operation, target, in_path, body)
        with self.lock:
            fault = self._fault_for(operation.name)
            kind = fault.kind if fault else ""
            self.requests.append(Request(operation.name, deepcopy(parameters), kind, region))
            if fault and fault.refused:
                raise fault.refused
            if kind == "dropped":
                return Reply(None)
            wrong = complaints(parameters, operation.input_shape) if operation.input_shape else ""
            if wrong:
                raise RefusedError(self.invalid[0], wrong, self.invalid[1])
            answer = self._method_for(operation.name)(parameters) or {}
            self.changed.notify_all()
            # under the lock, too: parts of an answer are the service's own, and jobs go on
            content, text = answer_body(operation, {word: value for word, value in answer.items() if value is not None})
        return Reply(None) if kind == "lost" else Reply(200, content, text)

    def _method_for(self, operation: str) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
        snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation).strip("_")
        method = getattr(self, snake, None)
        if method is None:
            known = service_model(self.name).metadata["serviceId"]
            raise RefusedError("UnknownOperationException", f"this stand-in for {known} does not know {operation}", 501)
        return method

    def _fault_for(self, operation: str) -> _Fault | None:
        for fault in self._faults:
            if not fault.operations or operation in fault.operations:
                fault.left -= 1
                if not fault.left:
                    self._faults.remove(fault)
                return fault
        return None


def page(items: Sequence[Any], token: str | None, size: int) -> tuple[list[Any], str | None]:
    """Return one page and the token of the next one, None after the last.

    Raises:
        RefusedError: the token is none of ours.
    """
    try:
        start = int((token or "page-0").removeprefix("page-"))
    except ValueError as error:
        raise RefusedError("ClientException", f"Invalid nextToken: {token}") from error
    following = start + size
    return list(items[start:following]), f"page-{following}" if following < len(items) else None
