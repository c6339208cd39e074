"""AWS's Security Token Service: roles assumed with a token or with other credentials, and who AWS says we are.

The calls are botocore's, which is imported at the first of them. `client` is that client, `transport` sends its
requests, `settings` says where to, `errors` and `outages` what its errors mean.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aws_signing_proxy.credentials.fetch import Fetch, Step
from aws_signing_proxy.credentials.http.failures import ExchangeError
from aws_signing_proxy.credentials.http.trusted_certificates import CertificateFileError
from aws_signing_proxy.credentials.http.web_address import shown_address
from aws_signing_proxy.credentials.model import (
    STS_LEAD_SECONDS,
    Credentials,
    InvalidValueError,
    clean_key_id,
    clean_secret,
    clean_token,
)
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.sts.errors import (
    Call,
    Operation,
    ServiceError,
    StsRefusedError,
    StsSetupError,
    UnreadableAnswerError,
    refusal,
    unreadable,
)
from aws_signing_proxy.credentials.sts.outages import unanswered
from aws_signing_proxy.credentials.sts.session_name import DEFAULT_SESSION_NAME, valid_session_name
from aws_signing_proxy.credentials.sts.settings import StsSettings
from aws_signing_proxy.credentials.sts.token_claims import TokenClaims, readable_duration

if TYPE_CHECKING:
    from aws_signing_proxy.credentials.sts.client import StsClient

__all__ = ["AssumedRole", "CallerIdentity", "SecurityTokenService", "StsRefusedError"]

_LONGEST_WAIT_SECONDS: Final = 20.0


class CallerIdentity(NamedTuple):
    """Who AWS says that some credentials are (GetCallerIdentity). `account` is the account's number."""

    account: str
    arn: str
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumedRole:
    """A role, and how it is to be assumed: the parameters of AssumeRole (AWS STS API Reference).

    The session's name is made valid; `policy` is a session policy as JSON text; None and empty leave a parameter out.
    """

    arn: str
    session_name: str = DEFAULT_SESSION_NAME
    external_id: str | None = field(default=None, repr=False)
    duration_seconds: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive_tag_keys: tuple[str, ...] = ()
    policy: str | None = None
    policy_arns: tuple[str, ...] = ()
    source_identity: str | None = None

    def parameters(self) -> dict[str, Any]:
        """Return them as AssumeRole takes them."""
        every = {
            "RoleArn": self.arn,
            "RoleSessionName": valid_session_name(self.session_name),
            "ExternalId": self.external_id,
            "DurationSeconds": self.duration_seconds,
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
            "TransitiveTagKeys": list(self.transitive_tag_keys),
            "Policy": self.policy,
            "PolicyArns": [{"arn": arn} for arn in self.policy_arns],
            "SourceIdentity": self.source_identity,
        }
        return {name: value for name, value in every.items() if value is not None and value not in ("", [])}


class SecurityTokenService:
    """STS of one region. Its methods block, and may be called from several threads; calls are made one by one.

    Which endpoint, through which proxy, with which certificates: from `environ` alone (`settings`), never from the
    process's own environment or from AWS's files. Of the process's environment botocore still reads
    AWS_EXECUTION_ENV, for the User-Agent field. Where neither AWS_CA_BUNDLE nor SSL_CERT_FILE is set the
    certificates are OpenSSL's, as towards the service itself (botocore would take a list of its own).

    Every call raises CredentialsUnavailableError: StsRefusedError where STS answered with an error, conclusive where
    asking again would not help.
    """

    def __init__(self, *, region: str, environ: Mapping[str, str]) -> None:
        self._settings = StsSettings.read(region, environ)
        self._lock = threading.Lock()
        self._client: StsClient | None = None

    @property
    def address(self) -> str:
        """The endpoint that is asked, as people may read it. The first time it may take the time to import botocore."""
        # Without the lock where it is there: a call may be under way.
        if (client := self._client) is not None:
            return client.address
        try:
            if self._settings.endpoint_url is not None:
                return shown_address(self._settings.endpoint_url)
            with self._lock:
                return self._client_for_use().address
        except StsSetupError:
            return f"the STS of {self._settings.region}"

    def close(self) -> None:
        """Close the connections. A later call opens them again, so this may be called more than once."""
        with self._lock:
            if self._client is not None:
                self._client.close()

    def assume_role_with_web_identity(
        self, fetch: Fetch, *, role_arn: str, session_name: str, token: str, duration_seconds: int | None = None
    ) -> Credentials:
        """Exchange an identity token for a role's credentials. The request is not signed."""
        fetch.secret(token)
        call = Call(Operation.ASSUME_ROLE_WITH_WEB_IDENTITY, role_arn, TokenClaims.of(token), self._settings.region)
        parameters: dict[str, Any] = {
            "RoleArn": role_arn,
            "RoleSessionName": valid_session_name(session_name),
            "WebIdentityToken": token,
        }
        if duration_seconds is not None:
            parameters["DurationSeconds"] = duration_seconds
        return self._credentials(fetch, call, self._ask(fetch, call, parameters))

    def assume_role(self, fetch: Fetch, base: Credentials, role: AssumedRole) -> Credentials:
        """Assume a role with other credentials."""
        call = Call(Operation.ASSUME_ROLE, role.arn, region=self._settings.region)
        return self._credentials(fetch, call, self._ask(fetch, call, role.parameters(), base))

    def caller_identity(self, fetch: Fetch, credentials: Credentials) -> CallerIdentity:
        """Ask who we are with these credentials. Everybody may ask that; no policy is needed."""
        call = Call(Operation.GET_CALLER_IDENTITY, region=self._settings.region)
        answer = self._ask(fetch, call, {}, credentials)
        values = [answer.get(name) for name in ("Account", "Arn", "UserId")]
        account, arn, user_id = [value if isinstance(value, str) else "" for value in values]
        if not (account and arn and user_id):
            raise self._failure("answered without the caller's account, ARN and user id")
        fetch.note(self._source, f"we are {arn}")
        return CallerIdentity(account, arn, user_id)

    @property
    def _source(self) -> str:
        return f"STS at {self._client.address}" if self._client is not None else f"STS of {self._settings.region}"

    def _ask(
        self, fetch: Fetch, call: Call, parameters: Mapping[str, Any], identity: Credentials | None = None
    ) -> Mapping[str, Any]:
        for secret in identity.secrets() if identity is not None else ():
            fetch.secret(secret)
        if not self._lock.acquire(timeout=fetch.timeout_seconds(_LONGEST_WAIT_SECONDS)):
            raise self._failure(
                "was not asked, because an earlier call has not ended", "The proxy asks again by itself"
            )
        try:
            answer = self._try(fetch, call, parameters, identity)
        finally:
            self._lock.release()
        if isinstance(answer, CredentialsUnavailableError):
            # Here, where botocore's exception is no longer handled: as its context it would keep alive, for as long
            # as somebody remembers the failure, the request with its token.
            try:
                raise answer
            finally:
                del answer
        return answer

    def _try(  # noqa: PLR0911 - one for each way in which a call ends
        self, fetch: Fetch, call: Call, parameters: Mapping[str, Any], identity: Credentials | None
    ) -> Mapping[str, Any] | CredentialsUnavailableError:
        """Return what STS answers, or what to raise."""
        try:
            client = self._client_for_use()
            if not fetch.remaining_seconds:
                return self._failure(
                    f"was not asked to {call.purpose}, because the time for fetching credentials was over",
                    "See which of the servers that were asked before is slow",
                )
            with fetch.step(Step.STS):
                return client.call(call.operation, parameters, identity=identity, fetch=fetch)
        except ServiceError as error:
            date = self._client.date if self._client is not None else None
            return refusal(call, error, source=self._source, date=date, fetch=fetch)
        except UnreadableAnswerError as error:
            return unreadable(error, source=self._source, fetch=fetch)
        except ExchangeError as error:
            return unanswered(error.failure, source=self._source)
        except CertificateFileError as error:
            return CredentialsUnavailableError((error.attempt,), is_conclusive=True)
        except StsSetupError as error:
            return self._failure(fetch.shown(error.reason), error.advice, is_conclusive=True)

    def _client_for_use(self) -> StsClient:
        if self._client is None:
            from aws_signing_proxy.credentials.sts.client import StsClient

            self._client = StsClient(self._settings)
        return self._client

    def _credentials(self, fetch: Fetch, call: Call, answer: Mapping[str, Any]) -> Credentials:
        """Take the credentials out of an answer."""
        given = answer.get("Credentials")
        if not isinstance(given, dict):
            raise self._failure(f"answered without credentials for {call.role_arn}")
        expiration = given.get("Expiration")
        try:
            values = [_text(given, name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
            for secret in values[1:]:
                fetch.secret(secret)
            credentials = Credentials(
                clean_key_id("AccessKeyId", values[0]),
                clean_secret("SecretAccessKey", values[1]),
                clean_token("SessionToken", values[2]),
                expires_at=_seconds(expiration),
                source=f"role {call.role_arn} by STS",
                lead_seconds=STS_LEAD_SECONDS,
            )
        except InvalidValueError as error:
            raise self._failure(f"answered with credentials for {call.role_arn} that are unusable: {error}") from None
        life = (credentials.expires_at or 0.0) - fetch.now()
        fetch.note(self._source, f"assumed {call.role_arn}; the session lives {readable_duration(life)}")
        return credentials

    def _failure(self, reason: str, advice: str = "", *, is_conclusive: bool = False) -> CredentialsUnavailableError:
        advice = advice or "Check that this address is STS's"
        return CredentialsUnavailableError((Attempt(self._source, reason, advice),), is_conclusive=is_conclusive)


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidValueError(f"there is no {name}")
    return value


def _seconds(expiration: object) -> float:
    """Return the instant that botocore has read, in seconds since the epoch."""
    if not isinstance(expiration, datetime) or expiration.tzinfo is None:
        raise InvalidValueError("there is no Expiration with a time zone")
    try:
        return expiration.timestamp()
    except (OverflowError, ValueError, OSError):
        raise InvalidValueError("Expiration is no time that there is") from None
