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

import contextlib
import hashlib
import socket
import ssl
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple, Self
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from aws_signing_proxy.sigv4 import Identity
from aws_signing_proxy.sigv4.verification import SignatureRejected, Verifier
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


class StsServer:
    """Listens on a free port of 127.0.0.1, in threads, between `with` and its end.

    `lifetime_seconds`: of the credentials, whatever DurationSeconds says; None: as DurationSeconds says, else 1 h.
    `identities`: whose signatures are taken besides those of issued sets; None: signatures are not looked at.
    `tls`: a server's context, else plain HTTP; `name`: the host in `url`. All of these may be changed while it runs.
    `date_offset_seconds` is added to the time in the Date field, as if this machine's clock were wrong.
    `requests` holds what arrived, `counts` how often each action was asked, `issued` how many sets were handed out,
    `connections` how many were opened, `open_connections` how many are open.
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
        self.lifetime_seconds = lifetime_seconds
        self.date_offset_seconds = 0.0
        self.choose: Callable[[StsRequest], Failure | None] | None = None
        self.requests: list[StsRequest] = []
        self.counts: Counter[str] = Counter()
        self.issued = 0
        self.connections = 0
        self._identities = None if identities is None else {one.access_key_id: one for one in identities}
        self._verifier = Verifier(service="sts", region=region, identities=self._identity)
        self._sets: dict[str, _Issued] = {}
        self._planned: deque[Failure] = deque()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls is not None else 'http'}://{name}:{self.port}"

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

    @property
    def open_connections(self) -> int:
        with self._lock:
            return len(self._open)

    def close_connections(self) -> None:
        """Close all connections, as a server does with those that were idle for long."""
        with self._lock:
            connections = tuple(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        # `close` alone would not end an `accept` that waits.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.close_connections()
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="stand-in for STS", daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, connection, self.connections)

    def _serve(self, plain: socket.socket, number: int) -> None:
        connection = plain
        try:
            if self._tls is not None:
                plain.settimeout(10)
                connection = self._tls.wrap_socket(plain, server_side=True)
                connection.settimeout(None)
            with self._lock:
                self._open.add(connection)
            with connection.makefile("rb") as reader:
                while not self._stopped.is_set() and (request := self._read(reader, number)) is not None:
                    if not self._answer(connection, request):
                        break
        except (OSError, ValueError):  # the other end has gone, or speaks something else
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _read(self, reader: Iterable[bytes], connection: int) -> StsRequest | None:
        lines: list[str] = []
        for line in reader:
            text = line.decode("latin-1").rstrip("\r\n")
            if not text:
                break
            lines.append(text)
        if not lines or lines[0].count(" ") != 2:  # nothing more, or something that is not HTTP
            return None
        pairs = (line.partition(":") for line in lines[1:])
        fields = tuple((name, value.strip()) for name, _, value in pairs)
        length = next((int(value) for name, value in fields if name.lower() == "content-length"), 0)
        body: bytes = reader.read(length)  # type: ignore[attr-defined] # a file, but only its lines are typed
        parameters = {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
        action = parameters.get("Action", "")
        with self._lock:
            self.counts[action] += 1
            request = StsRequest(
                len(self.requests) + 1, connection, action, parameters, fields, body, lines[0].split(" ")[1]
            )
            self.requests.append(request)
        return request

    def _answer(self, connection: socket.socket, request: StsRequest) -> bool:
        """Answer, well or not; return whether the connection stays open."""
        with self._lock:
            failure = self._planned.popleft() if self._planned else None
        if failure is None and self.choose is not None:
            failure = self.choose(request)
        match failure:
            case Silence() | CloseAtOnce() | Reset():
                self._say_nothing(connection, failure)
                return False
            case Refuse(code, message, status):
                connection.sendall(self._message(status, error_document(code, message)))
            case Respond(status, body, content_type, fields, declared):
                connection.sendall(self._message(status, body, content_type, fields, declared))
                return declared is None
            case _:
                return self._answer_well(connection, request, failure)
        return True

    def _say_nothing(self, connection: socket.socket, failure: Silence | CloseAtOnce | Reset) -> None:
        if isinstance(failure, Silence):
            self._stopped.wait(60)
        elif isinstance(failure, Reset):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _answer_well(self, connection: socket.socket, request: StsRequest, failure: Delay | Drip | None) -> bool:
        if isinstance(failure, Delay) and self._stopped.wait(failure.seconds):
            return False
        message = self._message(*self._right_answer(request))
        if not isinstance(failure, Drip):
            connection.sendall(message)
            return True
        for byte in message:
            connection.sendall(bytes((byte,)))
            if self._stopped.wait(failure.pause_seconds):
                return False
        return True

    def _message(
        self,
        status: int,
        body: bytes,
        content_type: str = "text/xml",
        fields: tuple[tuple[str, str], ...] = (),
        declared_bytes: int | None = None,
    ) -> bytes:
        head = (
            ("x-amzn-RequestId", REQUEST_ID),
            ("Content-Type", content_type),
            ("Content-Length", str(len(body) if declared_bytes is None else declared_bytes)),
            ("Date", formatdate(time.time() + self.date_offset_seconds, usegmt=True)),
            *fields,
        )
        reason = HTTPStatus(status).phrase
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in head), "", ""]
        return "\r\n".join(lines).encode("latin-1") + body

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
