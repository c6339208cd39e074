"""One Vault server, asked through `hvac`: a call goes in, a checked JSON object or a `VaultError` comes out.

`hvac` reads VAULT_ADDR, VAULT_TOKEN, ~/.vault-token, VAULT_CACERT and VAULT_CLIENT_CERT where it is given None, so it
is given every value. It is asked for the plain response: its exceptions do not tell the statuses of a standby apart,
and raise others of their own where an answer is not JSON as Vault writes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from aws_signing_proxy.credentials.fetch import Fetch, Step
from aws_signing_proxy.credentials.http.failures import ExchangeError
from aws_signing_proxy.credentials.http.trusted_certificates import CertificateFileError
from aws_signing_proxy.credentials.http.web_address import shown_address
from aws_signing_proxy.credentials.provider import Attempt
from aws_signing_proxy.credentials.vault.errors import Call, VaultError, refusal
from aws_signing_proxy.credentials.vault.options import VaultOptions
from aws_signing_proxy.credentials.vault.outages import ForeignRedirectError, outage

if TYPE_CHECKING:
    from aws_signing_proxy.credentials.vault.transport import VaultSession

__all__ = ["Answer", "VaultClient", "number", "text"]

_MOST_WARNINGS: Final = 3

Answer = Mapping[str, Any]
"""A JSON object that Vault answered with; empty where it answered without a body (204)."""


class VaultClient:
    """Asks one Vault. `source` is its address as messages show it: without user, password and query."""

    def __init__(self, options: VaultOptions, environ: Mapping[str, str]) -> None:
        self._options = options
        self._environ = environ
        self.source = f"Vault {shown_address(options.url)}"
        self._session: VaultSession | None = None
        self._hvac: Any = None

    def ask(self, fetch: Fetch, call: Call, send: Callable[[Any], Any], *, token: str | None = None) -> Answer:
        """Make one call: `send` is handed the hvac client, and returns its `requests` response.

        Raises:
            VaultError: Vault refused, could not be reached, or answered something else than a JSON object.
        """
        if fetch.remaining_seconds <= 0:
            reason = f"{call.doing} was not begun: the time for this fetch is over"
            advice = "See which of the steps before took so long; the proxy asks again by itself"
            raise VaultError(Attempt(self.source, reason, advice), is_conclusive=False)
        session = self._prepared()
        self._hvac.token = token or ""
        try:
            with fetch.step(Step.VAULT), session.bound_to(fetch):
                return self._answer(fetch, call, self._sent(fetch, call, send))
        finally:
            self._hvac.token = ""

    def rest(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._session is not None:
            self._session.rest()

    def _sent(self, fetch: Fetch, call: Call, send: Callable[[Any], Any]) -> Any:
        from requests import RequestException

        try:
            return send(self._hvac)
        except CertificateFileError as error:
            failed = VaultError(error.attempt, is_conclusive=True)
        except (ExchangeError, ForeignRedirectError, RequestException, ValueError) as error:
            failed = outage(fetch, self.source, call, error)
        # Raised out here, so that it has no context: these exceptions carry the request, and with it the token.
        try:
            raise failed
        finally:
            del failed  # whose traceback holds this frame

    def _prepared(self) -> VaultSession:
        if self._session is not None:
            return self._session
        import hvac

        from aws_signing_proxy.credentials.vault.transport import VaultSession

        session = VaultSession(self._options, self._environ)
        self._hvac = hvac.Client(
            url=self._options.url,
            token="",
            cert=(),
            verify=True,
            session=session,
            namespace=self._options.namespace or "",
            adapter=hvac.adapters.RawAdapter,
            ignore_exceptions=True,
        )
        self._session = session
        return session

    def _answer(self, fetch: Fetch, call: Call, response: Any) -> Answer:
        status: int = response.status_code
        is_success = 200 <= status < 300  # noqa: PLR2004 - RFC 9110 section 15.3
        body: bytes = response.content
        if is_success and not body.strip():
            return {}
        content_type = str(response.headers.get("Content-Type", "")).partition(";")[0].strip()
        try:
            # ValueError: not JSON, or a number of thousands of digits; RecursionError: nested without end.
            parsed = json.loads(body)
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            shown = fetch.shown(f"{content_type or 'no content type'}, not the JSON object that Vault writes")
            if is_success:
                raise self.unusable(call, f"an answer that is no JSON object ({fetch.shown(content_type)})")
            texts = _plain_text(content_type, body)
            raise refusal(fetch, self.source, call, status=status, texts=texts, shown=shown)
        if not is_success:
            errors = parsed.get("errors")
            texts = tuple(error for error in errors if isinstance(error, str)) if isinstance(errors, list) else ()
            raise refusal(fetch, self.source, call, status=status, texts=texts)
        self._look_beside(fetch, call, parsed)
        return parsed

    def _look_beside(self, fetch: Fetch, call: Call, answer: Answer) -> None:
        wrapped = answer.get("wrap_info")
        if isinstance(wrapped, dict):
            fetch.secret(text(wrapped.get("token")))
            reason = f"{call.doing} gave a wrapped answer, which somebody has to approve or unwrap"
            advice = f"Let the policy for {call.path} demand neither min_wrapping_ttl nor a control group"
            raise VaultError(Attempt(self.source, reason, advice), is_conclusive=True)
        warnings = answer.get("warnings")
        if isinstance(warnings, list):
            for warning in warnings[:_MOST_WARNINGS]:
                fetch.note(self.source, f"Vault warns: {text(warning)}")

    def unusable(self, call: Call, what: str, advice: str = "", *, is_conclusive: bool = False) -> VaultError:
        """Return the error for an answer with status 200 that does not hold what it should."""
        advice = advice or "Check ASP_VAULT_URL: what answers there is not Vault, or something rewrites its answers"
        return VaultError(Attempt(self.source, f"{call.doing} gave {what}", advice), is_conclusive=is_conclusive)


def text(value: object) -> str:
    """Return a JSON string; anything else counts as empty."""
    return value if isinstance(value, str) else ""


def number(value: object) -> float | None:
    """Return a JSON number that can be a duration in seconds: finite and not negative. None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _plain_text(content_type: str, body: bytes) -> tuple[str, ...]:
    """Return a body of plain text: Go's HTTP server and load balancers write one line there. HTML helps nobody.

    Far more than is shown of it, which is cut when it is masked: half a secret would not be known any more.
    """
    return (body[: 1 << 14].decode("utf-8", "replace"),) if content_type == "text/plain" and body.strip() else ()
