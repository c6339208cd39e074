"""What STS says when it says no, and what a person can do about each of its words.

The codes are those of the AWS STS API Reference: "Common Error Types" and the errors of AssumeRole and
AssumeRoleWithWebIdentity.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.sts.token_claims import TokenClaims, readable_duration

__all__ = [
    "INVALID_CREDENTIALS_CODES",
    "USELESS_CREDENTIALS_CODES",
    "Call",
    "InvalidCallError",
    "Operation",
    "ServiceError",
    "StsRefusedError",
    "StsSetupError",
    "UnreadableAnswerError",
    "refusal",
    "unreadable",
]

# AWS allows 15 minutes; from here on a wrong clock is the likeliest reason for a signature that does not match.
_SUSPICIOUS_SKEW_SECONDS: Final = 300.0
_STATUSES_OF_CALLERS_FAULT: Final = range(400, 500)
_STATUS_TOO_MANY_REQUESTS: Final = 429

INVALID_CREDENTIALS_CODES: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
)
"""The caller's own credentials are over, or unknown: others may do."""

_CLOCK_CODES: Final = frozenset(
    {
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "RequestInTheFuture",
    }
)
USELESS_CREDENTIALS_CODES: Final = INVALID_CREDENTIALS_CODES | _CLOCK_CODES
"""What is signed with these credentials, here and now, is taken by no service."""


class StsRefusedError(CredentialsUnavailableError):
    """STS answered, and it was an error. `code` is AWS's word for it: "AccessDenied", "ExpiredToken"."""

    def __init__(self, attempts: tuple[Attempt, ...], *, code: str, is_conclusive: bool) -> None:
        super().__init__(attempts, is_conclusive=is_conclusive)
        self.code = code


class StsSetupError(Exception):
    """STS cannot be asked as it is configured. `advice` is an `Attempt`'s."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


class ServiceError(Exception):
    """STS answered with an error document, or with a status that is one."""

    def __init__(self, status: int, code: str | None, message: str) -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code
        self.message = message


class UnreadableAnswerError(Exception):
    """An answer is not what STS documents. `detail` is ours, and quotes nothing of it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


class InvalidCallError(StsSetupError):
    """botocore does not send a call with these parameters. Its text names parameters and lengths, no values."""

    def __init__(self, text: str) -> None:
        super().__init__(f"was not asked: {text}", "Correct the settings that these parameters come from")


class Operation(StrEnum):
    """What is asked of STS, by its names."""

    ASSUME_ROLE = "AssumeRole"
    ASSUME_ROLE_WITH_WEB_IDENTITY = "AssumeRoleWithWebIdentity"
    GET_CALLER_IDENTITY = "GetCallerIdentity"


class Call(NamedTuple):
    """One call, as far as its errors are to be explained."""

    operation: Operation
    role_arn: str = ""
    claims: TokenClaims | None = None
    region: str = ""

    @property
    def purpose(self) -> str:
        """What it was for, after "refused to"."""
        return "say who we are" if self.operation is Operation.GET_CALLER_IDENTITY else f"assume {self.role_arn}"


class _Entry(NamedTuple):
    advice: str
    is_conclusive: bool = True


_AGAIN: Final = (
    "The proxy asks again by itself; if it stays so, see what AWS says about STS in this region (health.aws.amazon.com)"
)
_THROTTLED: Final = _Entry(
    "The proxy asks again by itself; if it stays so, see who else in this account calls STS this often", False
)
_EXPIRED_CREDENTIALS: Final = _Entry("Renew the credentials that STS is asked with: they are over")
_UNKNOWN_CREDENTIALS: Final = _Entry(
    "Check the access key that STS is asked with: it does not exist, was deleted or deactivated, belongs to another "
    "partition (China, GovCloud), lacks its session token, or was made seconds ago"
)
_CLOCK_WORDS: Final = ("signature expired", "not yet current", "request has expired", "request time")

_ENTRIES: Final[Mapping[str, _Entry]] = MappingProxyType(
    {
        "AccessDenied": _Entry(
            "Name the caller as Principal in the trust policy of {role} (with the external id, if it wants one), and "
            "allow the action on the role in the caller's own policies; also sts:TagSession where tags are passed"
        ),
        "MalformedPolicyDocument": _Entry("Correct the session policy in ASP_ASSUME_ROLE_OPTIONS"),
        "PackedPolicyTooLarge": _Entry(
            "Shorten the session policy, or pass fewer tags and policy ARNs, in ASP_ASSUME_ROLE_OPTIONS"
        ),
        "RegionDisabledException": _Entry(
            "Let an administrator of the role's account activate STS for the region {region} (IAM, account settings), "
            "or set AWS_ENDPOINT_URL_STS to the STS of another region"
        ),
        "ValidationError": _Entry(
            "Correct what the message names: a role's ARN is arn:aws:iam::ACCOUNT:role/NAME; a session lasts 15 min at "
            "least, and at most what the role allows, or 1 h where a role's session assumes it"
        ),
        "InvalidClientTokenId": _UNKNOWN_CREDENTIALS,
        "UnrecognizedClientException": _UNKNOWN_CREDENTIALS,
        "ExpiredToken": _EXPIRED_CREDENTIALS,
        "ExpiredTokenException": _EXPIRED_CREDENTIALS,
        "SignatureDoesNotMatch": _Entry(
            "Check that the secret access key is the one that belongs to the access key id, and AWS_REGION"
        ),
        "IncompleteSignature": _Entry("Check that no proxy on the way changes the requests to STS"),
        "Throttling": _THROTTLED,
        "ThrottlingException": _THROTTLED,
        "RequestLimitExceeded": _THROTTLED,
        "TooManyRequestsException": _THROTTLED,
        "RequestThrottled": _THROTTLED,
        "ServiceUnavailable": _Entry(_AGAIN, False),
        "InternalFailure": _Entry(_AGAIN, False),
    }
)

# What a code means where a token is exchanged, and it was not credentials of ours that were judged.
_ENTRIES_OF_TOKENS: Final[Mapping[str, _Entry]] = MappingProxyType(
    {
        "AccessDenied": _Entry(
            "Let the trust policy of {role} allow sts:AssumeRoleWithWebIdentity to the OpenID Connect provider of this "
            "issuer (Principal, Federated), with conditions that this sub and aud meet"
        ),
        "InvalidIdentityToken": _Entry(
            "Make an OpenID Connect provider for this issuer in IAM, in the role's account, with this aud among its "
            "client ids (audiences); its keys must be reachable, and the token must be signed with one of them"
        ),
        "IDPRejectedClaim": _Entry("Get a new token: the provider says that it is invalid, over or revoked"),
        "IDPCommunicationError": _Entry(
            "The proxy asks again by itself; if it stays so, let STS reach the issuer's "
            "/.well-known/openid-configuration and keys",
            False,
        ),
        "ExpiredTokenException": _Entry(
            "Get a new token: whoever renews it (the kubelet, the authorization server) has stopped doing so, or the "
            "clock there is wrong"
        ),
    }
)

# What a code means where a role has no part in it.
_ENTRIES_OF_IDENTITIES: Final[Mapping[str, _Entry]] = MappingProxyType(
    {
        "AccessDenied": _Entry(
            "Let the policy of the VPC endpoint for STS allow sts:GetCallerIdentity: nothing else could forbid it"
        ),
        "RegionDisabledException": _Entry(
            "Let an administrator of the account activate STS for the region {region} (IAM, account settings), or set "
            "AWS_ENDPOINT_URL_STS to the STS of another region"
        ),
    }
)
_ENTRIES_OF: Final[Mapping[Operation, Mapping[str, _Entry]]] = MappingProxyType(
    {
        Operation.ASSUME_ROLE_WITH_WEB_IDENTITY: _ENTRIES_OF_TOKENS,
        Operation.GET_CALLER_IDENTITY: _ENTRIES_OF_IDENTITIES,
    }
)


def refusal(
    call: Call, error: ServiceError, *, source: str, date: str | None, fetch: Fetch
) -> CredentialsUnavailableError:
    """Return what to raise for an error that STS answered. `date` is the answer's Date field."""
    if error.code is None:
        return unreadable(
            UnreadableAnswerError(error.status, f"answered with status {error.status} and no error of AWS's"),
            source=source,
            fetch=fetch,
        )
    skew = _skew_seconds(date, fetch.now())
    entry = _entry(call, error)
    advice = entry.advice.format(role=call.role_arn, region=call.region)
    if _is_about_time(error, skew):
        advice = _clock_advice(date, skew)
    verb = "refused to" if entry.is_conclusive else "could not"
    said = f"{error.code}: {error.message}" if error.message else error.code
    reason = f"{verb} {call.purpose} ({said})"
    if call.operation is Operation.ASSUME_ROLE_WITH_WEB_IDENTITY:
        claims = call.claims.describe() if call.claims is not None else "no claims that can be read: it is no JWT"
        # Apart, so that a long message does not crowd out what most of these failures are about.
        reason = f"{fetch.shown(reason)}; the token has {fetch.shown(claims)}"
    else:
        reason = fetch.shown(reason)
    attempt = Attempt(source, reason, fetch.shown(advice))
    return StsRefusedError((attempt,), code=error.code, is_conclusive=entry.is_conclusive)


def unreadable(error: UnreadableAnswerError, *, source: str, fetch: Fetch) -> CredentialsUnavailableError:
    """Return what to raise for an answer that is not STS's."""
    is_refused = error.status in _STATUSES_OF_CALLERS_FAULT and error.status != _STATUS_TOO_MANY_REQUESTS
    advice = "Check that this address is STS's, and that no proxy or firewall answers for it"
    if error.status >= _STATUSES_OF_CALLERS_FAULT.stop or error.status == _STATUS_TOO_MANY_REQUESTS:
        advice = _AGAIN
    return CredentialsUnavailableError((Attempt(source, fetch.shown(error.detail), advice),), is_conclusive=is_refused)


def _entry(call: Call, error: ServiceError) -> _Entry:
    code = error.code or ""
    known = _ENTRIES_OF.get(call.operation, {}).get(code) or _ENTRIES.get(code)
    if known is not None:
        return known
    if error.status >= _STATUSES_OF_CALLERS_FAULT.stop:
        return _Entry(_AGAIN, False)
    if error.status == _STATUS_TOO_MANY_REQUESTS:
        return _THROTTLED
    return _Entry(f"Look up this error of {call.operation} in the AWS STS API Reference")


def _is_about_time(error: ServiceError, skew: float | None) -> bool:
    if error.code not in _CLOCK_CODES:
        return False
    message = error.message.lower()
    return any(words in message for words in _CLOCK_WORDS) or (
        skew is not None and abs(skew) > _SUSPICIOUS_SKEW_SECONDS
    )


def _clock_advice(date: str | None, skew: float | None) -> str:
    if skew is None:
        return "Set this machine's clock: STS takes signatures that are at most 15 min old or early"
    direction = "ahead of" if skew > 0 else "behind"
    return f"Set this machine's clock: it is {readable_duration(abs(skew))} {direction} that of STS, which says {date}"


def _skew_seconds(date: str | None, now: float) -> float | None:
    """Return how far our clock is ahead of the server's; None where the answer has no Date that can be read."""
    from email.utils import parsedate_to_datetime  # botocore has it loaded by now

    try:
        return now - parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
