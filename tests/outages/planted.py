"""Planted secrets: how they are looked for, and servers that say back whatever secret they were sent."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus
from xml.sax.saxutils import escape

from tests.credentials.openid import authorization_servers, failing_server
from tests.credentials.openid.failing_server import FailingServer
from tests.credentials.sdk import stand_in
from tests.credentials.sdk.stand_in import StandIn
from tests.credentials.sts.sts_answers import error_document
from tests.credentials.sts.sts_server import Respond, StsServer
from tests.credentials.vault import vault_server
from tests.credentials.vault.vault_server import VaultServer

__all__ = ["STYLES", "echo", "found_in"]


def found_in(text: str, secrets: Iterable[str]) -> dict[str, str]:
    """Return what of each secret stands in the text, in whatever form, with what stands around it."""
    found = {}
    for secret in secrets:
        assert len(secret) >= 8, f"{secret!r} is too short to be a secret"
        for form in _forms(secret):
            at = text.find(form)
            if at >= 0:
                found[secret] = text[max(0, at - 200) : at + len(form) + 100]
    return found


def _forms(secret: str) -> set[str]:
    """Return how a secret may be written: as it is, in JSON, in Python, in URLs, in base64 wherever it stands there."""
    written = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    written |= {quote(secret), quote(secret, safe=""), quote_plus(secret), escape(secret)}
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret.encode()).decode()
        # What surrounds it changes the characters at either end.
        core = encoded[(before * 8 + 5) // 6 : (before + len(secret.encode())) * 8 // 6]
        written |= {core, core.replace("+", "-").replace("/", "_")}
    return written


class Said(NamedTuple):
    """What a server answers."""

    status: int
    content_type: str
    body: bytes
    fields: Mapping[str, str] = MappingProxyType({})


def _line(heard: list[str]) -> str:
    """Return all of it in one line, as a field's value may be."""
    return " ".join(word for text in heard for word in text.split() if word.isascii())


def _refused(heard: list[str]) -> Said:
    first, said = heard[0], "; ".join(heard)
    names = ("error", "error_description", "error_uri", "title", "detail", "message", "Message", "code", "Code")
    body = {**dict.fromkeys(names, said), "errors": [first, said], "warnings": [said]}
    return Said(400, "application/json", json.dumps(body).encode())


def _named(heard: list[str]) -> Said:
    """Let the secret stand where codes are."""
    body = {"error": heard[0], "code": heard[-1], "errors": heard, "error_description": quote("; ".join(heard))}
    return Said(403, "application/json", json.dumps(body, ensure_ascii=False).encode())


def _as_aws(heard: list[str]) -> Said:
    return Said(403, "text/xml", error_document(_line(heard)[:2000], "; ".join(heard)))


def _encoded(heard: list[str]) -> Said:
    said = " ".join(base64.b64encode(text.encode()).decode() for text in heard)
    return Said(401, "application/json", json.dumps({"error": "x", "message": said, "errors": [said]}).encode())


def _broken(heard: list[str]) -> Said:
    return Said(500, "text/plain", "\n".join(heard).encode())


def _redirected(heard: list[str]) -> Said:
    one = quote(heard[0], safe="")
    path = f"/{quote(_line(heard))}"
    return Said(307, "text/html", b"", {"Location": f"http://{one}:{one}@{one[:40]}.example{path}?{path}#{path}"})


def _in_fields(heard: list[str]) -> Said:
    line = _line(heard)[:3000]
    names = ("WWW-Authenticate", "Retry-After", "Date", "Server", "x-amzn-RequestId", "Set-Cookie")
    return Said(401, line or "text/plain", b"{}", dict.fromkeys(names, line))


def _well_but(heard: list[str]) -> Said:
    """Answer success, with everything in the wrong place."""
    said = "; ".join(heard)
    names = ("access_token", "id_token", "idToken", "AccessKeyId", "SecretAccessKey", "Token", "Expiration", "Code")
    data = {"access_key": said, "secret_key": "", "ttl": said}
    body = {**dict.fromkeys(names, f"{said} ?"), "Message": said, "data": data, "auth": said, "warnings": [said]}
    return Said(200, "application/json", json.dumps(body | {"expires_in": said, heard[0]: 1}).encode())


STYLES: Final[Mapping[str, Callable[[list[str]], Said]]] = {
    "refused": _refused,
    "named": _named,
    "as AWS": _as_aws,
    "encoded": _encoded,
    "broken": _broken,
    "redirected": _redirected,
    "in fields": _in_fields,
    "well, but": _well_but,
}


def _heard(fields: Iterable[tuple[str, str]], body: bytes) -> list[str]:
    """Return every text that a request brought and that may hold a secret, as it came and decoded."""
    heard = []
    for name, value in fields:
        if name.lower() in {"authorization", "x-vault-token", "x-aws-ec2-metadata-token", "proxy-authorization"}:
            heard.append(value)
            with contextlib.suppress(ValueError):
                heard.append(base64.b64decode(value.removeprefix("Basic "), validate=True).decode())
        if name.lower() == "x-amz-security-token":
            heard.append(value)
    text = body.decode("utf-8", "replace")
    heard += [value for _, value in parse_qsl(text)]
    with contextlib.suppress(ValueError):
        heard += list(_texts(json.loads(text)))
    heard += [text, *(unquote_plus(unquote(value)) for value in heard)]
    return [value for value in heard if value.strip()] or ["nothing was heard"]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def echo(server: StsServer | FailingServer | VaultServer | StandIn, style: str | None) -> None:
    """Let a server say back what it hears, in this style; None: answer well again."""
    say = STYLES.get(style or "")
    match server:
        case StsServer():
            server.choose = None if say is None else _sts(say)
        case FailingServer():
            _patch(server, "reply", None if say is None else _login(say))
        case VaultServer():
            _patch(server, "failure_for", None if say is None else _vault(server, say))
        case StandIn():
            _patch(server, "answer", None if say is None else _place(say))


def _patch(server: object, name: str, replacement: Any) -> None:
    if replacement is None:
        vars(server).pop(name, None)
    else:
        setattr(server, name, replacement)


def _sts(say: Callable[[list[str]], Said]) -> Any:
    def choose(request: Any) -> Respond:
        said = say(_heard(request.fields, request.body))
        return Respond(said.status, said.body, said.content_type, tuple(said.fields.items()))

    return choose


def _login(say: Callable[[list[str]], Said]) -> Any:
    def reply(request: failing_server.Request) -> authorization_servers.Request | failing_server.Reply:
        said = say(_heard(request.fields.items(), request.body))
        return failing_server.Reply(said.status, said.body, {"Content-Type": said.content_type, **said.fields})

    return reply


def _vault(server: VaultServer, say: Callable[[list[str]], Said]) -> Any:
    def failure_for(_path: str) -> vault_server.Failure:
        seen = server.requests[-1]
        said = say(_heard(seen.headers.items(), json.dumps(seen.body, ensure_ascii=False).encode()))
        return vault_server.Failure(said.status, said.body, said.content_type, tuple(said.fields.items()))

    return failure_for


def _place(say: Callable[[list[str]], Said]) -> Any:
    def answer(asked: stand_in.Asked) -> stand_in.Reply:
        said = say(_heard(asked.fields.items(), asked.body))
        return stand_in.Reply(said.status, said.body, {"Content-Type": said.content_type, **said.fields})

    return answer
