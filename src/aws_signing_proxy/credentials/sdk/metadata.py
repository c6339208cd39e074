"""How botocore's fetchers talk to a metadata service: within the fetch's time, and so that it can be told afterwards.

Imports botocore: for `sdk_chain` alone, which is imported when the SDK's chain has to be asked.

Both services are on the machine itself: they are asked directly, never through a proxy (botocore would send the
question for the instance's role through HTTP_PROXY, and get the role of the machine that the proxy runs on).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, EndpointConnectionError, ReadTimeoutError

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.exchange import HttpClient
from aws_signing_proxy.credentials.http.failures import ExchangeError, Failure, Kind
from aws_signing_proxy.credentials.http.trusted_certificates import CertificateFileError, TrustedCertificates
from aws_signing_proxy.credentials.http.web_address import shown_address
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.sdk.credential_process import instant_of

__all__ = ["Answer", "ContainerSession", "InstanceSession", "MetadataSession"]

_OK: Final = 200
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_REFUSALS: Final = frozenset({_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND})
_LARGEST_BODY_BYTES: Final = 1 << 16
# For a whole exchange with a container's endpoint. botocore gives 2 s to connecting and 2 s to each wait for data, and
# asks three times. The limit for the instance's service is a setting.
_CONTAINER_SECONDS: Final = 4.0
_ROLE_PATH: Final = "/latest/meta-data/iam/security-credentials/"
_SECRET_FIELDS: Final = ("Authorization", "X-aws-ec2-metadata-token")
_SERVER_ERROR: Final = 500
_UNREACHABLE: Final = frozenset({Kind.NAME, Kind.SLOW_NAME, Kind.REFUSED, Kind.UNREACHABLE, Kind.SLOW_CONNECTION})
_ADVICE_ON_AGENT: Final = "Look whether the agent of ECS or EKS Pod Identity runs on this node, and may be reached"
_ADVICE_OF_CONTAINER: Final = {
    Kind.UNTRUSTED: "Set AWS_CA_BUNDLE to a PEM file of the authority that signed its certificate",
    Kind.TOO_LARGE: "Look at what answers there: it is no endpoint for a container's credentials",
}


class Answer:
    """What a metadata service answered, as far as botocore's fetchers look at it."""

    def __init__(self, url: str, status: int, content: bytes) -> None:
        self.url = url
        self.status_code = status
        self.content = content

    @property
    def text(self) -> str:
        """The body; what is not UTF-8 in it is replaced."""
        return self.content.decode("utf-8", "replace")


class Exchange(NamedTuple):
    """One request: its path, and the status of its answer; None where there was none because of `failure`."""

    path: str
    status: int | None
    failure: Failure | None = None


class _UnansweredError(EndpointConnectionError):  # type: ignore[misc] # botocore has no types
    """No answer, as one of those that botocore's fetchers expect."""


class _SlowError(ReadTimeoutError):  # type: ignore[misc] # botocore has no types
    """No answer in time, after which botocore's fetcher asks a version 1 of the instance's service."""


class MetadataSession:
    """Stands in for the `URLLib3Session` of botocore's fetchers."""

    def __init__(self, fetch: Fetch, environ: Mapping[str, str], at_most_seconds: float) -> None:
        self.exchanges: list[Exchange] = []
        self.document: dict[str, Any] | None = None
        """The last JSON object that was answered: credentials as the service wrote them."""
        self._fetch = fetch
        self._at_most_seconds = at_most_seconds
        bundle = environ.get("AWS_CA_BUNDLE", "").strip()
        trusted = TrustedCertificates(setting="AWS_CA_BUNDLE", bundle=Path(bundle) if bundle else None, environ=environ)
        self._client = HttpClient(trusted, environ=None, largest_answer_bytes=_LARGEST_BODY_BYTES)
        self._unreachable_url: str | None = None

    def send(self, request: Any) -> Answer:
        """Send one request, once.

        Raises:
            BotoCoreError: There was no answer. A service that could not be connected to is not asked for anything
                else: the fall-back to IMDSv1 would only wait once more.
        """
        url = str(request.url)
        path = urlsplit(url).path
        if self._unreachable_url not in {None, url}:
            raise EndpointConnectionError(endpoint_url=shown_address(url))
        for name in _SECRET_FIELDS:
            self._fetch.secret(_text(request.headers.get(name)))
        answer = self._ask(request, url, path)
        self._learn(path, answer)
        return answer

    def _ask(self, request: Any, url: str, path: str) -> Answer:
        failed: Exception
        try:
            answer = self._client.send(
                self._fetch,
                request.method,
                url,
                fields={name: _text(value) for name, value in request.headers.items()},
                body=request.body,
                at_most_seconds=self._at_most_seconds,
            )
            return Answer(url, answer.status, answer.body)
        except ExchangeError as error:
            failure = error.failure
            if failure.kind in _UNREACHABLE:
                self._unreachable_url = url
            self.exchanges.append(Exchange(path, None, failure))
            kind = _SlowError if failure.kind is Kind.SLOW else _UnansweredError
            failed = kind(endpoint_url=shown_address(url))
        except CertificateFileError as error:
            failed = CredentialsUnavailableError((error.attempt,), is_conclusive=True)
        finally:
            self._client.close()
        # Raised out here, so that it has no context, whose frames hold the request with its token.
        try:
            raise failed
        finally:
            del failed  # whose traceback holds this frame

    def _learn(self, path: str, answer: Answer) -> None:
        """Make the secrets of an answer known, before anything else is done with it."""
        if answer.status_code == _OK and path.endswith("/api/token"):
            self._fetch.secret(answer.text.strip())
        try:
            document = json.loads(answer.content)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            for name in ("SecretAccessKey", "Token"):
                self._fetch.secret(_text(document.get(name)))
            self.document = document
        self.exchanges.append(Exchange(path, answer.status_code))


class ContainerSession(MetadataSession):
    """The endpoint for a container's credentials: whatever is wrong with its answer is said here, at once.

    botocore would ask three times, whatever the status, and pause a second after each, also after the last. It does so
    only for exceptions of its own.
    """

    def __init__(self, fetch: Fetch, environ: Mapping[str, str], source: str) -> None:
        super().__init__(fetch, environ, _CONTAINER_SECONDS)
        self._source = source

    def send(self, request: Any) -> Answer:
        """Return an answer that holds credentials.

        Raises:
            CredentialsUnavailableError: Conclusive where the endpoint refused, or answers something else.
        """
        answer = None
        with contextlib.suppress(BotoCoreError):
            answer = super().send(request)
        if answer is None:
            failure = self.exchanges[-1].failure or Failure(Kind.OTHER)
            advice = failure.advice(_ADVICE_OF_CONTAINER, _ADVICE_ON_AGENT)
            raise self._unavailable(failure.clause, advice, is_conclusive=failure.is_conclusive)
        if answer.status_code != _OK:
            status = answer.status_code
            said = self._fetch.shown(_said(answer.text)) or "nothing"
            raise self._unavailable(
                f"it answered {status} and said: {said}", _container_advice(status), is_conclusive=status in _REFUSALS
            )
        self._examine()
        return answer

    def _examine(self) -> None:
        document = self.document or {}
        advice = "Look at what answers there: it is no endpoint for a container's credentials"
        for name in ("AccessKeyId", "SecretAccessKey", "Token", "Expiration"):
            if not _text(document.get(name)).strip():
                raise self._unavailable(f"its answer is no JSON object with {name}", advice, is_conclusive=True)
        if instant_of(document["Expiration"]) is None:
            raise self._unavailable("the Expiration in its answer is no time", advice, is_conclusive=True)

    def _unavailable(self, reason: str, advice: str, *, is_conclusive: bool) -> CredentialsUnavailableError:
        return CredentialsUnavailableError((Attempt(self._source, reason, advice),), is_conclusive=is_conclusive)


class InstanceSession(MetadataSession):
    """The instance metadata service. botocore passes over whatever fails there; what it was is told from here."""

    @property
    def role(self) -> str | None:
        """The name of the instance's role, None where it was not learnt."""
        if not self.exchanges or not self.exchanges[-1].path.startswith(_ROLE_PATH):
            return None
        return self._fetch.shown(self.exchanges[-1].path.removeprefix(_ROLE_PATH)) or None

    @property
    def expires_at(self) -> float | None:
        """When the credentials end as the service wrote it; botocore adds up to 25 minutes to that of old ones."""
        return None if self.document is None else instant_of(self.document.get("Expiration"))

    @property
    def is_there(self) -> bool:
        """Whether anything answered at all: this is an instance, then."""
        return bool(self.exchanges) and self.exchanges[0].status is not None

    @property
    def has_answered(self) -> bool:
        """Whether this is an instance whose service gave a token, and then failed: an outage, not an absence."""
        first, last = self.exchanges[0], self.exchanges[-1]
        if first.status != _OK or len(self.exchanges) == 1:
            return False
        return last.status is None or last.status == _OK or last.status >= _SERVER_ERROR

    def nothing(self, source: str) -> Attempt:
        """Return why there are no credentials."""
        if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return Attempt(source, "AWS_EC2_METADATA_DISABLED switches it off", "Unset it where there is a role")
        if not self.exchanges:
            return Attempt(source, "it was not asked", "See the documentation of the installed botocore")
        last = self.exchanges[-1]
        reason, advice = self._words(last)
        return Attempt(source, reason, advice)

    def _words(self, last: Exchange) -> tuple[str, str]:
        options = "set the instance's metadata options to HttpEndpoint enabled, and the hop limit to 2 for containers"
        if (failure := self.exchanges[0].failure) is not None:
            reason = f"{failure.clause}: this is no EC2 instance, or the way there is closed"
            return reason, f"On EC2 {options}"
        if last.status == _OK:
            return self._words_of_document()
        if last.status == _NOT_FOUND and last.path == _ROLE_PATH:
            return "the instance has no role (status 404)", "Attach an instance profile to the instance"
        if last.status in {_UNAUTHORIZED, _FORBIDDEN}:
            return f"it refused the request (status {last.status})", f"For EC2's own, {options}"
        reason = f"it answered {last.status}" if last.failure is None else last.failure.clause
        return reason, f"Look at the instance's status checks, load and network; {options}"

    def _words_of_document(self) -> tuple[str, str]:
        document = self.document or {}
        if document.get("Code", "Success") != "Success":
            said = self._fetch.shown(f"{document['Code']}: {document.get('Message', '')}")
            return f"it has no credentials for the role: {said}", "Let the role's trust policy name ec2.amazonaws.com"
        return "its answer holds no credentials", "Look at what answers there: it is no instance metadata service"


def _said(text: str) -> str:
    """Return what an error's body says: ECS answers JSON with `code` and `message`, Pod Identity's agent plain text."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(document, dict):
        return text
    fields = [_text(document.get(name)) for name in ("code", "Code", "message", "Message")]
    return ": ".join(field for field in fields if field)


def _container_advice(status: int) -> str:
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return "Look at the association of the role with the service account (EKS), and at the role's trust policy"
    if status in _REFUSALS:
        return "Look at the task's or pod's role, and at the AWS_CONTAINER_ variables that name this address"
    return "Look at the agent of ECS or EKS Pod Identity on this node; it is asked again"


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""
