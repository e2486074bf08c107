"""Judge why a command failed: whether the same may go well by itself later, and whether on another machine.

Apart from :mod:`.log_end`, which reads what the failure was: looking at a sweep needs no judgement.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.control.failures.log_end import Failure

#: Errors that name a mistake, whatever words their message has (``unexpected keyword argument 'timeout'``).
_MISTAKES = re.compile(
    r"(?:Arithmetic|Assertion|Attribute|FileNotFound|Import|Indentation|Index|IsADirectory|Key|Lookup|Memory"
    r"|ModuleNotFound|Name|NotADirectory|NotImplemented|Permission|Recursion|Syntax|Type|UnboundLocal|Unicode\w+"
    r"|ZeroDivision)Error"
)

#: Errors of connections, file servers and time, by name: of Python, requests, urllib3, httpx, aiohttp, botocore, gRPC,
#: filelock, torch.distributed, wandb.
_PASSING_NAMES = re.compile(
    r"\w*(?:Connection|Connect(?:or)?(?=Error|Timeout)|Disconnected|Network|Time[dD]?[oO]ut|Unavailable|RateLimit"
    r"|TooManyRequests|Throttl|NameResolution|RemoteProtocol|ChunkedEncoding|IncompleteRead|DeadlineExceeded)\w*"
    r"|BrokenPipeError|gaierror|herror|timeout|MaxRetryError|RetryError|ProtocolError|ReadError|WriteError|SSL\w*Error"
    r"|ClientOSError|ClientPayloadError|SlowDown|BadGateway\w*|InternalServerError|CommError|DistStoreError"
)

#: EINTR, EIO, EAGAIN, EBUSY, ETXTBSY, EPIPE, ECOMM, EADDRINUSE, ENETDOWN.., ECONNABORTED, ECONNRESET, ENOTCONN,
#: ESHUTDOWN, ETIMEDOUT, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH, ESTALE, EREMOTEIO. Not ENOSPC: a full disk stays full.
_PASSING_NUMBERS = frozenset((4, 5, 11, 16, 26, 32, 70, 98, 100, 101, 102, 103, 104, 107, 108, 110, 111, 112, 113))
_PASSING_NUMBERS |= {116, 121}

#: The same in the words of other programs and libraries.
_PASSING_WORDS = re.compile(
    r"connection (?:\w+ )?(?:reset|refused|aborted|closed|timed out|lost|broken|error)|broken pipe|\btimed out\b"
    r"|time-?out (?:expired|exceeded|reached|waiting|occurred)"
    r"|(?:operation|connect(?:ion)?|read|socket|gateway) time-?out"
    r"|temporary failure in name resolution|name or service not known|network (?:is )?unreachable|no route to host"
    r"|host is down|remote end closed|eof occurred in violation|could not resolve host|failed to connect"
    r"|stale (?:nfs )?file handle|input/output error|transport endpoint|resource temporarily unavailable"
    r"|address already in use|EADDRINUSE|database is locked|text file busy|device or resource busy"
    r"|too many requests|service unavailable|bad gateway|internal server error|deadline exceeded|rate limit"
    r"|(?:\bHTTP\b|\bstatus\b|\bcode\b|server error|client error|\berror\b)\D{0,20}\b(?:429|500|502|503|504)\b"
    r"|\b(?:429|500|502|503|504) (?:server|client) error"
    r"|nccl.{0,80}(?:system error|remote|time|network|socket|connection|unhandled)|watchdog caught collective",
    re.IGNORECASE,
)

#: The machine is what is wrong: another one may do.
_MACHINE = re.compile(
    r"uncorrectable ecc|\becc error|busy or unavailable|cuda.{0,60}(?:unavailable|unknown error|not ready|hardware)"
    r"|no cuda gpus are available|driver/library version mismatch|fallen off the bus|stale (?:nfs )?file handle"
    r"|input/output error|transport endpoint|cannot send after",
    re.IGNORECASE,
)

_NUMBER = re.compile(r"\[?errno:? ?(\d+)", re.IGNORECASE)


def may_pass(failure: Failure) -> bool:
    """Return whether connections, file servers or time end in such a way, and scripts seldom."""
    return any(map(_may_pass, _judged(failure)))


def blames_machine(failure: Failure) -> bool:
    """Return whether it may go well on another machine."""
    return any(map(_MACHINE.search, _judged(failure)))


def _judged(failure: Failure) -> Sequence[str]:
    """Return what is judged by itself: each error of a traceback; of anything else the last lines as one text."""
    return failure.errors if failure.is_traceback else ("\n".join(failure.errors),)


def _may_pass(error: str) -> bool:
    """Return whether an error tells of a connection, a file server or time."""
    kind = error.partition("\n")[0].partition(":")[0].strip()
    name = kind.rpartition(".")[2]
    if _MISTAKES.fullmatch(name) or "CERTIFICATE_VERIFY_FAILED" in error:
        return False
    number = _NUMBER.search(error)
    is_named = name.isidentifier() and _PASSING_NAMES.fullmatch(name) is not None
    is_numbered = number is not None and int(number[1]) in _PASSING_NUMBERS
    return is_named or is_numbered or _PASSING_WORDS.search(error) is not None or _MACHINE.search(error) is not None
