"""What an authorization server's refusal means, and what a person can do about exactly this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.web_address import shown_address
from aws_signing_proxy.credentials.openid.authorization_server import Answer
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError

__all__ = ["ServerRefusedError", "refusal"]

_SKEW_SECONDS: Final = 30
_LONGEST_FIELD: Final = 200
_LONGEST_EXAMINED: Final = 1 << 14

# RFC 6749 section 5.2, RFC 8707 section 2, and what servers answer besides.
_ADVICE_BY_CODE: Final = {
    "unauthorized_client": (
        "Allow this client the client credentials grant at the authorization server (Keycloak: service accounts)"
    ),
    "unsupported_grant_type": (
        "Enable the client credentials grant at the authorization server, or check that the URL is its token endpoint"
    ),
    "invalid_scope": "Set ASP_OPEN_ID_SCOPE to scopes that the server knows and allows this client",
    "invalid_target": "Set ASP_OPEN_ID_AUDIENCE to an audience that the server knows and allows this client",
    "invalid_request": (
        "Compare what the server misses with ASP_OPEN_ID_SCOPE, ASP_OPEN_ID_AUDIENCE, ASP_OPEN_ID_CLIENT_AUTH and "
        "ASP_OPEN_ID_DIALECT"
    ),
    "invalid_grant": "Check at the authorization server that this client is enabled and may have tokens",
    "access_denied": "Grant this client access to the audience in ASP_OPEN_ID_AUDIENCE at the authorization server",
    "temporarily_unavailable": "The authorization server says that this passes; the proxy asks again by itself",
    "server_error": "Look into the authorization server's log",
}
_PASSING_CODES: Final = {"temporarily_unavailable", "server_error"}

# How the client authenticated -> what to do when that was refused.
_ADVICE_BY_AUTHENTICATION: Final = {
    "json": "Check ASP_OPEN_ID_CLIENT_ID and the client secret",
    "client_secret_basic": (
        "Check ASP_OPEN_ID_CLIENT_ID and the client secret; a server that wants the secret in the body needs "
        "ASP_OPEN_ID_CLIENT_AUTH=client_secret_post"
    ),
    "client_secret_post": (
        "Check ASP_OPEN_ID_CLIENT_ID and the client secret; a server that wants HTTP Basic authentication needs "
        "ASP_OPEN_ID_CLIENT_AUTH=client_secret_basic"
    ),
    "private_key_jwt": (
        "Check that the public half of ASP_OPEN_ID_CLIENT_KEY_FILE is registered for ASP_OPEN_ID_CLIENT_ID (under "
        "ASP_OPEN_ID_CLIENT_KEY_ID, where set), that the client is set to private_key_jwt, and this machine's clock"
    ),
}
_REFUSED_CLIENT: Final = 401
_PASSING_STATUSES: Final = {408, 425, 429}


class ServerRefusedError(CredentialsUnavailableError):
    """The server answered, but not with what was asked for.

    `code` is the member `error` of its answer, where it is a string. `is_without_token` is whether the server said yes,
    but issued nothing: another server than was thought.
    """

    def __init__(
        self, attempt: Attempt, *, is_conclusive: bool, status: int, code: str | None, is_without_token: bool = False
    ) -> None:
        super().__init__((attempt,), is_conclusive=is_conclusive)
        self.status = status
        self.code = code
        self.is_without_token = is_without_token


def refusal(fetch: Fetch, answer: Answer, *, setting: str, authentication: str | None) -> ServerRefusedError:
    """Return the error for an answer that is no success.

    `setting` is where its URL was set; `authentication` is how the client proved who it is ("json",
    "client_secret_basic", ...), None where it did not have to.
    """
    said = answer.json_object()
    found = said.get("error") if said is not None else None
    code = found if isinstance(found, str) else None
    reason = f"answered {answer.status_line}{_said(fetch, answer, said)}{_timing(fetch, answer)}"
    if code in _PASSING_CODES or answer.status in _PASSING_STATUSES or answer.status >= 500:  # noqa: PLR2004 - 5xx
        is_conclusive = False
    else:
        is_conclusive = True
    advice = _advice(answer.status, code, setting, authentication)
    return ServerRefusedError(
        Attempt(answer.source, fetch.shown(reason), advice),
        is_conclusive=is_conclusive,
        status=answer.status,
        code=code,
    )


def _advice(status: int, code: str | None, setting: str, authentication: str | None) -> str:
    url_advice = f"Check {setting}, and that the server's address ends there"
    by_status = {
        403: "Allow this client (or this machine, at a gateway before the server) to have tokens",
        404: f"Check {setting} and its path: the server has nothing there",
        405: f"Check {setting} and its path: the server takes no such request there",
        406: "Check ASP_OPEN_ID_DIALECT: the server answers in another form",
        407: "Put user and password into HTTPS_PROXY or HTTP_PROXY, or name the server in NO_PROXY",
        410: f"Check {setting} and its path: what was there is gone",
        415: "Check ASP_OPEN_ID_DIALECT: the server reads another form (json, or oauth2's)",
        422: "Check ASP_OPEN_ID_DIALECT: the server reads another form (json, or oauth2's)",
        429: "Raise the client's limit at the authorization server, or see who else asks; the proxy asks again itself",
    }
    if code == "invalid_client" or (code not in _ADVICE_BY_CODE and status == _REFUSED_CLIENT):
        return _ADVICE_BY_AUTHENTICATION.get(authentication or "", url_advice)
    if code in _ADVICE_BY_CODE and status != 429:  # noqa: PLR2004 - a limit is a limit, whatever it is called
        return _ADVICE_BY_CODE[code]
    if 300 <= status < 400:  # noqa: PLR2004 - 3xx
        return f"Set {setting} to the address that finally answers; the client's secret is not sent elsewhere"
    if status >= 500:  # noqa: PLR2004 - 5xx
        return "Look into the authorization server's log, and whether the server or a gateway before it is overloaded"
    return by_status.get(status, f"{url_advice}; compare ASP_OPEN_ID_DIALECT with what the server speaks")


def _said(fetch: Fetch, answer: Answer, said: Mapping[str, object] | None) -> str:
    """Return the server's own words: an error's fields (RFC 6749, RFC 9457, and usual others), or what came instead."""
    if 300 <= answer.status < 400:  # noqa: PLR2004 - 3xx
        return f", a redirect to {_target(answer)}, which is not followed"
    if said is None:
        return _kind_of_body(answer)
    names = ("error", "error_description", "error_uri", "title", "detail", "message", "code", "errorCode")
    # Cut when it is masked: half a secret would not be known any more.
    parts = [
        f'{name} "{fetch.shown_whole(text[:_LONGEST_EXAMINED])[:_LONGEST_FIELD]}"'
        for name in names
        if (text := _text(said.get(name)))
    ]
    return f" with {', '.join(parts)}" if parts else ""


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        inner = value.get("message") or value.get("description")
        return inner if isinstance(inner, str) else ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value)


def _target(answer: Answer) -> str:
    location = answer.fields.get("location", "")
    if not location:
        return "nowhere"
    return shown_address(location) if "://" in location else location.partition("?")[0].partition("#")[0]


def _kind_of_body(answer: Answer) -> str:
    if not answer.body.strip():
        return " and nothing else"
    kind = answer.fields.get("content-type", "").partition(";")[0].strip() or "something without a Content-Type"
    if answer.body.lstrip()[:1] == b"<":
        return f" and a page ({kind}), no JSON"
    return f" and {kind} that is no JSON object"


def _timing(fetch: Fetch, answer: Answer) -> str:
    """Return what the answer says about time: how long to wait, and a clock that differs from ours."""
    now = fetch.now()
    parts = []
    wait = answer.retry_after_seconds(now)
    if wait is not None:
        parts.append(f"; it asks to wait {wait:.0f} s")
    ahead = answer.clock_ahead_seconds(now)
    if ahead is not None and abs(ahead) > _SKEW_SECONDS:
        parts.append(f"; its clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's")
    return "".join(parts)
