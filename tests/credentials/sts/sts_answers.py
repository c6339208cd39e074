"""What the stand-in for STS says: its failures, the requests that it keeps, the numbered sets, the XML documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias
from xml.sax.saxutils import escape

from aws_signing_proxy.sigv4 import Identity

__all__ = [
    "ACCOUNT",
    "REQUEST_ID",
    "CloseAtOnce",
    "Delay",
    "Drip",
    "Failure",
    "Refuse",
    "Reset",
    "Respond",
    "Silence",
    "StsRequest",
    "document",
    "error_document",
    "numbered_set",
]

ACCOUNT: Final = "123456789012"
_NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
REQUEST_ID: Final = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Refuse:
    """An error document."""

    code: str
    message: str = "because the test says so"
    status: int = 403


@dataclass(frozen=True, slots=True)
class Delay:
    """The right answer, but late."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drip:
    """The right answer, a byte at a time, with a pause after each: no wait is long, and it never ends."""

    pause_seconds: float = 0.02


@dataclass(frozen=True, slots=True)
class Silence:
    """The connection stays open, and nothing is said on it."""


@dataclass(frozen=True, slots=True)
class CloseAtOnce:
    """The connection is closed in good order, without an answer."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset (RST)."""


@dataclass(frozen=True, slots=True)
class Respond:
    """An answer as given, whatever it is. `declared_bytes`: what Content-Length says, if that is to be wrong."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/xml"
    fields: tuple[tuple[str, str], ...] = ()
    declared_bytes: int | None = None


Failure: TypeAlias = Refuse | Delay | Drip | Silence | CloseAtOnce | Reset | Respond


@dataclass(frozen=True, slots=True)
class StsRequest:
    """A request as it arrived. `number` counts all of them from 1, `connection` the connections from 1."""

    number: int
    connection: int
    action: str
    parameters: dict[str, str]
    fields: tuple[tuple[str, str], ...]
    body: bytes
    target: str

    def field(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    @property
    def access_key_id(self) -> str | None:
        """Whose signature it bears; None where it bears none."""
        authorization = self.field("Authorization")
        return authorization.partition("Credential=")[2].partition("/")[0] if authorization else None


def numbered_set(number: int) -> Identity:
    """Return the `number`-th set (from 1) that a server hands out: key id, secret and token all end with the number."""
    end = f"{number:08}"
    return Identity(f"ASIASTANDIN{end}", f"stand-in-secret-{end}", f"stand-in-token-{end}")


def document(action: str, result: str) -> bytes:
    return (
        f'<{action}Response xmlns="{_NAMESPACE}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata></{action}Response>"
    ).encode()


def error_document(code: str, message: str) -> bytes:
    return (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>Sender</Type><Code>{escape(code)}</Code>'
        f"<Message>{escape(message)}</Message></Error><RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
    ).encode()
