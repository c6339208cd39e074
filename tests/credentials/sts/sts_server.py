"""A stand-in for AWS STS: real sockets, the documented XML, numbered credentials, and failures on demand.

    with StsServer(lifetime_seconds=5) as sts:
        environ = {"AWS_ENDPOINT_URL_STS": sts.url}
        sts.fail(Refuse("AccessDenied"), CloseAtOnce())  # the next two requests; then it works again
        ...
        assert sts.counts["AssumeRoleWithWebIdentity"] == 3

It answers AssumeRole, AssumeRoleWithWebIdentity and GetCallerIdentity (AWS STS API Reference, version 2011-06-15) with
one thread for each connection, and keeps connections open as STS does. The n-th set of credentials that it hands out is
numbered in all its parts (`numbered_set(n)`), so that parts of two sets in one request show. With `identities` it
verifies signatures, and refuses what STS refuses: unknown keys, a wrong token, sets that are over.
"""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import NamedTuple
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from aws_signing_proxy.sigv4 import Identity
from aws_signing_proxy.sigv4.verification import SignatureRejected, Verifier
from tests.credentials import http_server
from tests.credentials.http_server import HttpServer, Reaction, Received, message
from tests.credentials.sts.sts_answers import (
    ACCOUNT,
    REQUEST_ID,
    CloseAtOnce,
    Delay,
    Drip,
    Failure,
    Refuse,
    Reset,
    Respond,
    Silence,
    StsRequest,
    document,
    error_document,
    numbered_set,
)

__all__ = [
    "ACCOUNT",
    "CloseAtOnce",
    "Delay",
    "Drip",
    "Failure",
    "Refuse",
    "Reset",
    "Respond",
    "Silence",
    "StsRequest",
    "StsServer",
    "numbered_set",
]


class _Issued(NamedTuple):
    identity: Identity
    expires_at: float
    arn: str


class StsServer(HttpServer):
    """Listens on a free port of 127.0.0.1, in threads, between `with` and its end.

    `lifetime_seconds`: of the credentials, whatever DurationSeconds says; None: as DurationSeconds says, else 1 h.
    `identities`: whose signatures are taken besides those of issued sets; None: signatures are not looked at.
    `tls`: a server's context, else plain HTTP; `name`: the host in `url`. All of these may be changed while it runs.
    `date_offset_seconds` is added to the time in the Date field, as if this machine's clock were wrong.
    `requests` holds what arrived, `counts` how often each action was asked, `issued` how many sets were handed out,
    and what every `ThreadedServer` counts.
    `choose` is asked about each request for which `fail` has planned nothing; None from it is no failure.
    """

    def __init__(
        self,
        *,
        lifetime_seconds: float | None = None,
        identities: Iterable[Identity] | None = None,
        region: str = "eu-central-1",
        tls: ssl.SSLContext | None = None,
        name: str = "127.0.0.1",
    ) -> None:
        super().__init__(tls=tls, name=name)
        self.lifetime_seconds = lifetime_seconds
        self.date_offset_seconds = 0.0
        self.choose: Callable[[StsRequest], Failure | None] | None = None
        self.requests: list[StsRequest] = []
        self.counts: Counter[str] = Counter()
        self.issued = 0
        self._identities = None if identities is None else {one.access_key_id: one for one in identities}
        self._verifier = Verifier(service="sts", region=region, identities=self._identity)
        self._sets: dict[str, _Issued] = {}
        self._planned: deque[Failure] = deque()
        self._lock = threading.Lock()

    def fail(self, *failures: Failure) -> None:
        """Let the next requests fail like this, one each, in this order."""
        self._planned.extend(failures)

    def let_expire(self) -> None:
        """Let all sets that were handed out be over now, as far as AssumeRole and GetCallerIdentity care."""
        with self._lock:
            self._sets = {key: one._replace(expires_at=0.0) for key, one in self._sets.items()}

    def forget(self, access_key_id: str) -> None:
        """Let a key be unknown from now on."""
        with self._lock:
            self._sets.pop(access_key_id, None)
            if self._identities is not None:
                self._identities.pop(access_key_id, None)

    def react(self, received: Received) -> Reaction:
        """Keep the request, and answer, well or not."""
        request = self._remembered(received)
        with self._lock:
            failure = self._planned.popleft() if self._planned else None
        if failure is None and self.choose is not None:
            failure = self.choose(request)
        match failure:
            case Silence():
                return http_server.SILENCE
            case CloseAtOnce():
                return http_server.CLOSE
            case Reset():
                return http_server.RESET
            case Refuse(code, said, status):
                return Reaction(sent=self._message(status, error_document(code, said)))
            case Respond(status, body, content_type, fields, declared):
                sent = self._message(status, body, content_type, fields, declared)
                return Reaction(sent=sent, closes=declared is not None)
            case Delay(seconds):
                self.stopping.wait(seconds)
        pause_seconds = failure.pause_seconds if isinstance(failure, Drip) else None
        return Reaction(sent=self._message(*self._right_answer(request)), seconds_between_bytes=pause_seconds)

    def _remembered(self, received: Received) -> StsRequest:
        given = parse_qs(received.body.decode(), keep_blank_values=True)
        parameters = {name: values[0] for name, values in given.items()}
        action = parameters.get("Action", "")
        with self._lock:
            self.counts[action] += 1
            number = len(self.requests) + 1
            request = StsRequest(
                number, received.connection, action, parameters, received.fields, received.body, received.target
            )
            self.requests.append(request)
        return request

    def _message(
        self,
        status: int,
        body: bytes,
        content_type: str = "text/xml",
        fields: tuple[tuple[str, str], ...] = (),
        declared_bytes: int | None = None,
    ) -> bytes:
        date = formatdate(time.time() + self.date_offset_seconds, usegmt=True)
        own = (("x-amzn-RequestId", REQUEST_ID), ("Content-Type", content_type), ("Date", date))
        return message(status, body, (*own, *fields), declared_bytes=declared_bytes)

    def _right_answer(self, request: StsRequest) -> tuple[int, bytes]:
        if request.action != "AssumeRoleWithWebIdentity" and (error := self._refusal(request)) is not None:
            return error
        match request.action:
            case "AssumeRole" | "AssumeRoleWithWebIdentity":
                return 200, self._assumed(request)
            case "GetCallerIdentity":
                return 200, self._caller(request)
            case _:
                return 400, error_document("InvalidAction", f"Could not find operation {request.action}")

    def _identity(self, access_key_id: str) -> Identity | None:
        issued = self._sets.get(access_key_id)
        return issued.identity if issued is not None else (self._identities or {}).get(access_key_id)

    def _refusal(self, request: StsRequest) -> tuple[int, bytes] | None:
        """Refuse as STS does, where signatures are verified."""
        if self._identities is None:
            return None
        issued = self._sets.get(request.access_key_id or "")
        if issued is not None and issued.expires_at <= time.time():
            return 403, error_document("ExpiredToken", "The security token included in the request is expired")
        try:
            self._verifier.verify(
                method=b"POST",
                raw_target=request.target.encode("latin-1"),
                fields=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.fields],
                body_sha256=hashlib.sha256(request.body).hexdigest(),
                now=time.time() + self.date_offset_seconds,
            )
        except SignatureRejected as error:
            if error.code == "InvalidToken":  # S3's word for a session token that is not the key's
                return 403, error_document(
                    "InvalidClientTokenId", "The security token included in the request is invalid."
                )
            return error.status, error_document(error.code, error.message)
        return None

    def _assumed(self, request: StsRequest) -> bytes:
        role, session = request.parameters["RoleArn"], request.parameters["RoleSessionName"]
        lifetime = self.lifetime_seconds
        if lifetime is None:
            lifetime = float(request.parameters.get("DurationSeconds", "3600"))
        expires_at = time.time() + lifetime
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/{session}"
        with self._lock:
            self.issued += 1
            identity = numbered_set(self.issued)
            self._sets[identity.access_key_id] = _Issued(identity, expires_at, arn)
        # With milliseconds, unlike STS: tests let sets live for less than a second.
        expiration = datetime.fromtimestamp(expires_at, UTC).isoformat(timespec="milliseconds")
        return document(
            request.action,
            f"<AssumedRoleUser><AssumedRoleId>AROASTANDIN:{escape(session)}</AssumedRoleId><Arn>{escape(arn)}</Arn>"
            f"</AssumedRoleUser><Credentials><AccessKeyId>{identity.access_key_id}</AccessKeyId>"
            f"<SecretAccessKey>{identity.secret_access_key}</SecretAccessKey>"
            f"<SessionToken>{identity.session_token}</SessionToken>"
            f"<Expiration>{expiration.replace('+00:00', 'Z')}</Expiration></Credentials>",
        )

    def _caller(self, request: StsRequest) -> bytes:
        issued = self._sets.get(request.access_key_id or "")
        arn = issued.arn if issued is not None else f"arn:aws:iam::{ACCOUNT}:user/application"
        return document(
            request.action,
            f"<Arn>{escape(arn)}</Arn><UserId>AIDASTANDIN</UserId><Account>{ACCOUNT}</Account>",
        )
