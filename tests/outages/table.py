"""What the rows of the failure table are made of: a source, how it fails, and what people are told then."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import trustme

from tests.credentials.sts.sts_server import StsServer
from tests.outages.sources import Source

__all__ = ["Failing", "Places", "Row", "Settings", "places", "shown"]

Settings: TypeAlias = Mapping[str, str]
Outcome: TypeAlias = Literal["refused", "absent", "failed"]


@dataclass(frozen=True)
class Places:
    """Where something else than the source is: `nobody` listens, who is `untrusted`, what has `no_name`."""

    nobody: str
    untrusted: str
    no_name: str = "http://no-such-name.invalid"


Failing: TypeAlias = Callable[[Any, Places], "Settings | None"]
"""Makes a source fail, and returns the settings that are other than the source's own."""


@dataclass(frozen=True)
class Row:
    """One row: `fail` makes the source fail before the proxy is started, `fail_later` after that.

    `told` and `advice` are the whole reason that is told everywhere, with the addresses as `shown` writes them.
    `is_local`: the source is read at the start, and without a breaker. `has_asked`: a server was asked, so that the
    breaker counts it. `next_try_seconds`: when the next try comes, give or take chance.
    """

    name: str
    source: type[Source]
    fail: Failing
    told: str
    advice: str
    outcome: Outcome = "failed"
    code: str = "credentials_unavailable"
    is_local: bool = False
    has_asked: bool = True
    next_try_seconds: float = 1.0
    fail_later: Callable[[Any], None] = lambda _: None

    def __str__(self) -> str:
        """What the row is called: the test's name."""
        return f"{self.source.name}: {self.name}"

    @property
    def reason(self) -> str:
        """The reason as one sentence, without its full stop."""
        return f"{self.told} ({self.advice})"


@contextlib.contextmanager
def places() -> Iterator[Places]:
    """Have the places, while the `with` statement runs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    # Bound, so that nobody else gets the port; not listening, so that connections are refused.
    with socket.socket() as nobody, StsServer(tls=context) as untrusted:
        nobody.bind(("127.0.0.1", 0))
        yield Places(f"http://127.0.0.1:{nobody.getsockname()[1]}", untrusted.url)


def shown(text: str, source: Source, elsewhere: Places) -> str:
    """Return `text` with each address and path that differs from run to run under a name of its own."""
    for address, name in (
        *((url, f"<{name}>") for name, url in source.addresses.items()),
        (elsewhere.nobody, "<nobody>"),
        (elsewhere.untrusted, "<untrusted>"),
        (str(source.folder), "<folder>"),
    ):
        text = text.replace(address, name)
    # A place that only a newer botocore knows.
    text = text.replace("login of profile default: it has no login_session; ", "")
    text = re.sub(r"\d+ d \d+ h(?= ago)", "<duration>", text)
    text = re.sub(r"(?<=user that runs the proxy \(id )\d+", "<uid>", text)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>", text)
