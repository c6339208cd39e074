"""Why a server could not be asked: the kinds of failure there are, each with its one sentence.

What to do about one depends on the source, which knows the names of its settings: each has a table of its own. This
module imports nothing heavy; `causes` finds out which kind an exception is.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

__all__ = ["ExchangeError", "Failure", "Kind"]


class Kind(Enum):
    """What happened. PROXY: whatever went wrong with the proxy on the way; nothing is known about the server then."""

    NAME = auto()
    SLOW_NAME = auto()
    REFUSED = auto()
    UNREACHABLE = auto()
    SLOW_CONNECTION = auto()
    SLOW = auto()
    UNTRUSTED = auto()
    WRONG_NAME = auto()
    EXPIRED = auto()
    NOT_YET_VALID = auto()
    NOT_TLS = auto()
    CLIENT_CERTIFICATE = auto()
    CLIENT_CERTIFICATE_OVER = auto()
    TLS = auto()
    CLOSED = auto()
    CLOSED_IN_TLS = auto()
    CUT_OFF = auto()
    NOT_HTTP = auto()
    TOO_LARGE = auto()
    PROXY = auto()
    BAD_PROXY = auto()
    BAD_URL = auto()
    OTHER = auto()


_REASONS: Final = {
    Kind.NAME: "its name cannot be resolved ({})",
    Kind.SLOW_NAME: "its name was not resolved within {}",
    Kind.REFUSED: "refused the connection",
    Kind.UNREACHABLE: "cannot be reached: {}",
    Kind.SLOW_CONNECTION: "cannot be reached: no connection within {}",
    Kind.SLOW: "did not answer in time",
    Kind.UNTRUSTED: "its certificate is not accepted ({})",
    Kind.WRONG_NAME: "its certificate is not accepted ({})",
    Kind.EXPIRED: "its certificate is not accepted ({})",
    Kind.NOT_YET_VALID: "its certificate is not accepted ({})",
    Kind.NOT_TLS: "does not speak TLS ({})",
    Kind.CLIENT_CERTIFICATE: "does not accept the client certificate, or demands one ({})",
    Kind.CLIENT_CERTIFICATE_OVER: "says that the client certificate has expired or was revoked ({})",
    Kind.TLS: "TLS failed ({})",
    Kind.CLOSED: "closed the connection without an answer",
    Kind.CLOSED_IN_TLS: "closed the connection in the middle of TLS",
    Kind.CUT_OFF: "closed the connection in the middle of its answer",
    Kind.NOT_HTTP: "answered something that is not HTTP",
    Kind.TOO_LARGE: "answered {}",
    Kind.PROXY: "refused with {}",
    Kind.BAD_PROXY: "cannot be asked: {}",
    Kind.BAD_URL: "its address cannot be used",
    Kind.OTHER: "cannot be asked ({})",
}
_WITH_SUBJECT: Final = ("its ", "TLS ")
_CONCLUSIVE: Final = frozenset(
    {
        Kind.UNTRUSTED,
        Kind.WRONG_NAME,
        Kind.EXPIRED,
        Kind.NOT_YET_VALID,
        Kind.NOT_TLS,
        Kind.CLIENT_CERTIFICATE,
        Kind.CLIENT_CERTIFICATE_OVER,
        Kind.TOO_LARGE,
        Kind.BAD_PROXY,
        Kind.BAD_URL,
    }
)
# The proxies' variables have the same names for every source.
_ADVICE: Final = {
    Kind.PROXY: "Let the proxy connect to this server, correct HTTPS_PROXY or HTTP_PROXY (address, user, password), "
    "or name the server in NO_PROXY",
    Kind.BAD_PROXY: "Set it to a URL such as http://proxy.example.com:3128, or name the server in NO_PROXY",
}


class Failure(NamedTuple):
    """What happened, the detail for its sentence, and the address of the proxy on the way (empty without one).

    It may be shown as it is: whoever makes one has taken the secrets out of its detail.

    `is_at_proxy`: it happened between us and the proxy. `is_refused`: what it said is a no that asking again will not
    change.
    """

    kind: Kind
    detail: str = ""
    proxy: str = ""
    is_at_proxy: bool = False
    is_refused: bool = False

    @property
    def reason(self) -> str:
        """The sentence that continues "<server>: ..."."""
        said = _REASONS[self.kind].format(self.detail)
        if self.is_at_proxy:
            return f"cannot be reached through the proxy {self.proxy}, {_as_relative_clause(said)}"
        return f"{said} (asked through the proxy {self.proxy})" if self.proxy else said

    @property
    def clause(self) -> str:
        """The sentence with a subject of its own: "it refused the connection"."""
        reason = self.reason
        return reason if reason.startswith(_WITH_SUBJECT) else f"it {reason}"

    def of(self, server: str) -> str:
        """Return the sentence about `server`: "https://host refused the connection"."""
        reason = self.reason
        return f"{server}: {reason}" if reason.startswith(_WITH_SUBJECT) else f"{server} {reason}"

    @property
    def is_conclusive(self) -> bool:
        """Whether asking again at once would be pointless."""
        return self.is_refused or self.kind in _CONCLUSIVE

    def advice(self, by_kind: Mapping[Kind, str], otherwise: str) -> str:
        """Return what to do: by a source's table, where the failure is not the proxy's."""
        kind = Kind.PROXY if self.is_at_proxy else self.kind
        return _ADVICE.get(kind) or by_kind.get(kind, otherwise)


def _as_relative_clause(said: str) -> str:
    if said.startswith("its "):
        return f"whose {said.removeprefix('its ')}"
    return f"where {said}" if said.startswith("TLS ") else f"which {said}"


class ExchangeError(Exception):
    """There was no whole answer in time."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure
