"""Clients of AWS's services, how often each request is tried, and what their errors are for us.

boto3 comes with ``slurmsweep[aws]``, is loaded when a service is asked, and finds credentials, region and endpoints by
its own rules. A request that may be repeated is tried eight times by botocore. One that may not (a submission without a
token) is sent once: only where AWS says that it was throttled, so that nothing was done, is it sent again.
"""

from __future__ import annotations

import json
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from slurmsweep.agents.place import REGION
from slurmsweep.errors import (
    NotFoundError,
    SchedulerUnavailableError,
    SubmissionRefusedError,
    SubmissionUnknownError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slurmsweep.errors import SchedulerError, SlurmsweepError

#: Requests in all, before an answer is given up (botocore: 8 took about 40 s against a server that throttled each).
_TRIES = 8

#: Seconds between two tries of a request that was throttled and that botocore may not repeat.
_THROTTLED = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)

#: Seconds to wait for a connection, and for an answer.
_CONNECT, _READ = 10, 60


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Codes that say: too often. Nothing was done.
THROTTLING = _words(
    "Throttling ThrottlingException ThrottledException TooManyRequestsException RequestLimitExceeded RequestThrottled "
    "RequestThrottledException SlowDown ProvisionedThroughputExceededException EC2ThrottledException"
)

#: Codes that say: a quota of the account, which no waiting mends.
QUOTA = _words("ResourceLimitExceeded LimitExceededException ServiceQuotaExceededException")

#: Codes that say who asks is not known, or may not.
_NOT_ALLOWED = _words(
    "AccessDenied AccessDeniedException UnrecognizedClientException InvalidClientTokenId ExpiredToken "
    "ExpiredTokenException InvalidSignatureException SignatureDoesNotMatch AuthFailure OptInRequired "
    "UnauthorizedOperation MissingAuthenticationToken"
)

#: What AWS's models call the services, and people.
TITLES = {
    "batch": "AWS Batch",
    "ecs": "Amazon ECS",
    "sagemaker": "Amazon SageMaker",
    "sqs": "Amazon SQS",
    "ec2": "Amazon EC2",
    "logs": "CloudWatch Logs",
    "iam": "AWS IAM",
    "sts": "AWS STS",
}

#: What to do where AWS does not know who asks.
LOG_IN = "log in (`aws configure sso`, `aws sso login`), or set AWS_PROFILE; then the same command again"


def require_boto3() -> None:
    """Raise UsageError where boto3 is not installed."""
    try:
        import boto3  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise UsageError(
            "jobs in AWS need boto3 on the machine that submits them: `pip install 'boto3>=1.35'`"
        ) from error


def region_of(options_region: object = None) -> str:
    """Return the region that options name, else that of boto3's own rules (AWS_REGION, the profile).

    Raises:
        UsageError: none is named, it is none, or boto3 is not installed.
    """
    if options_region:
        return str(options_region)
    require_boto3()
    import os

    import boto3

    found = os.environ.get("AWS_REGION") or boto3.session.Session().region_name
    if not found:
        raise UsageError("no region of AWS is named: say --region eu-west-1, `aws: {region: ...}`, or set AWS_REGION")
    if not re.fullmatch(REGION, found):
        raise UsageError(f"{found[:80]!a} is not a region of AWS: say --region eu-west-1, or set AWS_REGION")
    return str(found)


class Client:
    """One service in one region.

    Args:
        service: by boto3's name.
        region: of AWS.
        tries: requests in all, before an answer to one that may be repeated is given up; 8 by default.
        timeouts: seconds to wait for a connection, and for an answer.

    Raises:
        UsageError: boto3 is not installed, or there is no such region's endpoint or profile.
    """

    def __init__(
        self, service: str, region: str, *, tries: int | None = None, timeouts: tuple[int, int] = (_CONNECT, _READ)
    ) -> None:
        require_boto3()
        self.service, self.region = service, region
        self._tries, self._timeouts = tries or _TRIES, timeouts
        self._clients: dict[bool, Any] = {}

    def ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a request that changes nothing, or that may be repeated.

        Args:
            operation: in boto3's spelling, such as ``describe_jobs``.
            parameters: of the request.

        Raises:
            UsageError: AWS's own model says that a parameter is wrong.
            NotFoundError: AWS knows no such thing.
            SubmissionRefusedError: AWS says no.
            SchedulerUnavailableError: it did not answer, throttled each try, or knows no such user.
        """
        return self._call(operation, parameters, once=False)

    def submit(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a request that starts something and has no token: it is sent once.

        Raises as :meth:`ask`, and:
            SubmissionUnknownError: the request was sent and not answered.
        """
        for delay in _THROTTLED:
            try:
                return self._call(operation, parameters, once=True)
            except ThrottledError:  # noqa: PERF203 - AWS did nothing
                time.sleep(delay)
        return self._call(operation, parameters, once=True)

    def pages(self, operation: str, key: str, **parameters: Any) -> Iterator[Any]:
        """Yield what stands under ``key`` in every page of an answer. Raises as :meth:`ask`."""
        token: dict[str, Any] = {}
        while True:
            answer = self.ask(operation, **parameters, **token)
            yield from answer.get(key, ())
            name = next((name for name in ("nextToken", "NextToken") if answer.get(name)), "")
            if not name or token.get(name) == answer[name]:
                return
            token = {name: answer[name]}

    def knows(self, operation: str) -> bool:
        """Return whether this boto3 has an operation: newer ones have more."""
        return hasattr(self._client(once=False), operation)

    def _call(self, operation: str, parameters: dict[str, Any], *, once: bool) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

        try:
            answer: dict[str, Any] = getattr(self._client(once=once), operation)(**parameters)
        except ClientError as error:
            raise self._of_answer(error, operation, once=once) from error
        except ParamValidationError as error:
            report = str(error.kwargs.get("report", error)).replace("\n", "; ")
            raise UsageError(f"{self._what(operation)}: {report}") from error
        except BotoCoreError as error:
            raise self._of_silence(error, operation, once=once) from error
        return answer

    def _client(self, *, once: bool) -> Any:
        if once not in self._clients:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError

            retries = {"mode": "standard", "total_max_attempts": 1 if once else self._tries}
            connect, read = self._timeouts
            rules = Config(retries=retries, connect_timeout=connect, read_timeout=read)  # type: ignore[arg-type]
            try:
                self._clients[once] = boto3.client(self.service, region_name=self.region, config=rules)  # type: ignore[call-overload]
            except (BotoCoreError, ValueError) as error:
                raise UsageError(f"{TITLES[self.service]}: {error}") from error
            self._clients[once].meta.events.register("before-parse", partial(self._refuse_foreign, once=once))
        return self._clients[once]

    def _refuse_foreign(self, *, once: bool, operation_model: Any, response_dict: Mapping[str, Any], **_: Any) -> None:
        """Raise for an answer that is not the service's own: botocore would read that there is nothing out of it.

        So answers a proxy that wants a person to log in: with a page, and as if all were well.
        """
        operation, body = operation_model.name, response_dict["body"]
        shape = operation_model.output_shape
        if response_dict["status_code"] >= 300 or shape is None or not shape.members:
            return
        if operation_model.service_model.metadata["protocol"] in ("query", "ec2"):
            is_own = body.rstrip().endswith(f"</{operation}Response>".encode())
        else:
            is_own = _is_object(body)
        if not is_own:
            what = f"{TITLES[self.service]}, {operation}: what answered is not AWS, but perhaps a proxy on the way"
            raise _sent(what) if once else SchedulerUnavailableError(what)

    def _what(self, operation: str) -> str:
        return f"{TITLES[self.service]}, {''.join(word.title() for word in operation.split('_'))}"

    def _of_answer(self, error: Any, operation: str, *, once: bool) -> SlurmsweepError:
        """Return our error for one that AWS answered with."""
        said = error.response.get("Error", {})
        code, status = str(said.get("Code", "")), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        what = f"{self._what(operation)}: {code}: {said.get('Message', '')}".rstrip(": ")
        if code in THROTTLING or status == 429:
            return ThrottledError(f"{what} (throttled: try again later)")
        if code in _NOT_ALLOWED:
            return SchedulerUnavailableError(f"{what}; `aws sts get-caller-identity` says who you are")
        if status >= 500:
            return _sent(what) if once else SchedulerUnavailableError(what)
        if code in QUOTA:
            return SubmissionRefusedError(f"{what}; this is a quota of the account: ask AWS for more, or wait")
        if any(part in code for part in ("NotFound", "DoesNotExist", "NonExistent", "NoSuchEntity")):
            return NotFoundError(what)
        return SubmissionRefusedError(what)

    def _of_silence(self, error: Exception, operation: str, *, once: bool) -> SlurmsweepError:
        """Return our error for a request that got no answer."""
        from botocore.exceptions import NoCredentialsError

        what = f"{self._what(operation)}: {error}"
        if isinstance(error, NoCredentialsError):
            what += f": {LOG_IN}"
        return _sent(what) if once and _was_sent(error) else SchedulerUnavailableError(what)


def code_of(error: SlurmsweepError) -> str:
    """Return AWS's code of an error that a client raised; empty where there was no answer."""
    answer = getattr(error.__cause__, "response", None) or {}
    return str(answer.get("Error", {}).get("Code", ""))


def as_unknown(error: SchedulerError) -> SchedulerError:
    """Return the error of a repeated request that starts something: unknown where one of its tries may have been done.

    The last try tells it: where AWS knows no such user, or says no, all tries before it were refused, too.
    """
    if not isinstance(error, SchedulerUnavailableError):
        return error
    answer = getattr(error.__cause__, "response", None)
    if not answer:
        return _sent(str(error)) if _was_sent(error.__cause__) else error
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    may_be_done = status >= 500 or status == 429 or "Throttl" in code_of(error)
    return _sent(str(error)) if may_be_done else error


def _was_sent(silence: BaseException | None) -> bool:
    """Return whether a request that got no answer may have reached AWS."""
    from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, HTTPClientError

    is_unanswered = isinstance(silence, HTTPClientError)
    return is_unanswered and not isinstance(silence, (ConnectTimeoutError, EndpointConnectionError))


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False


def _sent(what: str) -> SubmissionUnknownError:
    """Return the error of a request of which it is not known whether AWS did what it asks for."""
    return SubmissionUnknownError(f"{what}: the jobs may exist all the same")


class ThrottledError(SchedulerUnavailableError):
    """Raised where AWS says that it was asked too often, so that nothing was done; exit code 4."""
