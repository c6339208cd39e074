"""`aws-signing-proxy check`: says in plain words what the proxy would do, without doing it.

The settings are valid by then; what is judged here is whether they make sense together, and whether there are
credentials: they are fetched once, as the proxy would, and AWS is asked whose they are. Nothing is listened on.
"""

from __future__ import annotations

import ipaddress
import textwrap
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from aws_signing_proxy.check.credentials import Verdict, check_credentials
from aws_signing_proxy.check.host_names import host_name_warnings
from aws_signing_proxy.config.connection_rules import proxy_on_the_way
from aws_signing_proxy.payload_choice import payload_rules
from aws_signing_proxy.sigv4.payloads import PayloadSetting

if TYPE_CHECKING:
    from aws_signing_proxy.config.loading import Loaded
    from aws_signing_proxy.config.settings import Settings

__all__ = ["run_check", "setting_warnings"]

_OK: Final = 0
_COLUMNS: Final = 100
_INDENT: Final = 2
_TOLD_ALWAYS: Final = ("target_url", "service", "region")
_NOT_OK: Final = 2
_VERDICTS: Final = {
    Verdict.SIGNED: "Requests would be signed.",
    Verdict.SIGNED_IN_VAIN: "Requests would be signed with credentials that AWS does not take.",
    Verdict.NOT_SIGNED: "Requests would be answered 503: nothing to sign with.",
}
_WAYS: Final = {
    PayloadSetting.SIGNED: "held until they are whole, then signed",
    PayloadSetting.CHUNKED: "objects and parts streamed in chunks, each signed; others held, then signed",
    PayloadSetting.UNSIGNED: "streamed, and not part of the signature",
}


def run_check(
    loaded: Loaded,
    environ: Mapping[str, str],
    echo: Callable[[str], None],
    *,
    asks_who: bool = True,
    clock: Callable[[], float] = time.time,
) -> int:
    """Tell what was found, a line at a time, and return the exit status.

    It is 0, or 2 where nothing could be signed, or only with credentials that AWS does not take.
    `environ` is where the credentials provider looks. `asks_who`: STS is asked who AWS says we are. Of the credentials
    only the source, the last four characters of the access key id and the expiry are told. Warnings do not change the
    exit status.
    """
    settings = loaded.settings

    def tell(text: str) -> None:
        for line in _lines(text):
            echo(line)

    echo("Settings")
    echo(f"  target       {settings.target_url} ({loaded.source_of('target_url')})")
    echo(f"  service      {settings.service} ({loaded.source_of('service')})")
    echo(f"  region       {settings.region} ({loaded.source_of('region')})")
    if (way := _way(settings)) is not None:
        echo(f"  way there    {way}")
    echo(f"  listens on   {_listening(settings)}")
    echo(f"  management   {_address(settings.mgmt_bind_address, settings.mgmt_port)}")
    echo(f"  large bodies {_large_bodies(settings)}")
    for name, shown, source in loaded.given():
        if name not in _TOLD_ALWAYS:
            tell(f"{name} = {shown} ({source})")
    echo("Credentials")
    verdict = check_credentials(settings, environ, tell, asks_who=asks_who, clock=clock)
    warnings = [*loaded.warnings, *setting_warnings(settings)]
    if warnings:
        echo("Warnings")
        for warning in warnings:
            tell(f"- {warning}")
    echo(_VERDICTS[verdict])
    return _OK if verdict is Verdict.SIGNED else _NOT_OK


def setting_warnings(settings: Settings) -> list[str]:
    """Return a sentence for whatever is allowed but probably not meant, or dangerous."""
    target = settings.target_url
    warnings = host_name_warnings(target.host, service=settings.service, region=settings.region)
    if target.scheme == "http" and not _is_loopback(target.host):
        warnings.append(
            f"{target} is plain http: bodies and the session token cross the network unencrypted. Use https://."
        )
    if settings.unix_socket is None and not _is_loopback(settings.bind_address):
        warnings.append(
            f"The proxy listens on {settings.bind_address}: whoever reaches the port acts with your AWS identity. "
            "Limit who does, or set ASP_BIND_ADDRESS to 127.0.0.1."
        )
    if not _is_loopback(settings.mgmt_bind_address):
        warnings.append(
            f"The management port listens on {settings.mgmt_bind_address}: whoever reaches it can read the metrics."
        )
    return warnings


def _listening(settings: Settings) -> str:
    if settings.unix_socket is not None:
        return f"the Unix domain socket {settings.unix_socket}"
    where = _address(settings.bind_address, settings.port)
    if settings.tls_cert is None:
        return where
    return f"{where}, TLS{'' if settings.tls_client_ca is None else ' with certificates of clients'}"


def _large_bodies(settings: Settings) -> str:
    """Return what becomes of bodies over ASP_BODY_MEMORY_LIMIT."""
    return f"{_WAYS[payload_rules(settings).large]} (ASP_PAYLOAD={settings.payload})"


def _way(settings: Settings) -> str | None:
    """Return how connections get to the target; None where they go directly, as is usual."""
    parts = []
    if settings.connect_to is not None:
        parts.append(f"to {settings.connect_to} instead (ASP_CONNECT_TO)")
    proxy = proxy_on_the_way(settings, settings.target_url)
    if proxy is not None:
        parts.append(
            f"through the HTTP proxy {proxy} ({'HTTPS_PROXY' if settings.target_url.is_tls else 'HTTP_PROXY'})"
        )
    elif settings.https_proxy is not None or settings.http_proxy is not None:
        parts.append("through no HTTP proxy, by scheme, NO_PROXY, or because it is this machine")
    return ", ".join(parts) or None


def _address(host: str, port: int) -> str:
    where = f"[{host}]" if ":" in host else host
    return f"{where}, any free port" if port == 0 else f"{where}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # RFC 6761, section 6.3: "localhost" and names below it are loopback.
        return host == "localhost" or host.endswith(".localhost")


def _lines(text: str) -> list[str]:
    """Return a text in lines that fit on a terminal, below its heading; what is broken off stands further in."""
    indent = " " * (len(text) - len(text.lstrip()) + _INDENT)
    return textwrap.wrap(
        _printable(text.strip()),
        _COLUMNS,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _printable(text: str) -> str:
    """Escape what could act on a terminal: paths and profile names come from the environment."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
