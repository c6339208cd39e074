"""What the settings of connections demand of each other, and what is suspicious about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from aws_signing_proxy.config.notation import quoted
from aws_signing_proxy.no_proxy import is_on_this_machine

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from aws_signing_proxy.config.connection_settings import ConnectionSettings
    from aws_signing_proxy.config.problems import Problem
    from aws_signing_proxy.config.proxy_variables import ProxyUrl
    from aws_signing_proxy.config.sources import Candidate
    from aws_signing_proxy.config.values import TargetUrl
    from aws_signing_proxy.no_proxy import NoProxy

__all__ = ["broken_connection_rules", "connection_advice", "proxy_on_the_way"]


def broken_connection_rules(
    candidates: Mapping[str, Candidate], wrong: AbstractSet[str]
) -> Iterator[tuple[str, Problem]]:
    """Yield each broken rule, as the name of the setting that is to blame and its problem."""
    for certificate, key in (("tls_cert", "tls_key"), ("client_cert", "client_key")):
        if not wrong & {certificate, key}:
            yield from _key_pair(candidates[certificate], candidates[key])
    authorities = candidates["tls_client_ca"]
    if authorities.value is not None and not wrong & {"tls_cert", "tls_client_ca"}:
        if candidates["tls_cert"].value is None:
            yield authorities.declaration.name, authorities.problem("nothing, because ASP_TLS_CERT is not set")
        elif reason := _problem_with_authorities(authorities.value):
            yield authorities.declaration.name, authorities.problem(f"a readable file of certificates, not {reason}")


def _key_pair(certificate: Candidate, key: Candidate) -> Iterator[tuple[str, Problem]]:
    if certificate.value is None:
        if key.value is not None:
            expected = f"nothing, because {certificate.declaration.environment[0]} is not set"
            yield key.declaration.name, key.problem(expected)
        return
    found = _problem_with_key_pair(certificate.value, key.value, key.declaration.environment[0])
    if found is None:
        return
    blamed, expected = (certificate, found) if key.value is None else (key, found)
    yield blamed.declaration.name, blamed.problem(expected)


class _EncryptedKeyError(Exception):
    pass


def _refuse_passphrase() -> NoReturn:
    raise _EncryptedKeyError  # OpenSSL would ask for it on the terminal, and wait


def _problem_with_key_pair(certificate: Path, key: Path | None, key_setting: str) -> str | None:
    """Return what is expected instead, None where the two can be used."""
    import ssl  # only where there is a certificate: --help and the like do without

    try:
        _server_context().load_cert_chain(certificate, key, password=_refuse_passphrase)
    except _EncryptedKeyError:
        return "a key that is not encrypted with a passphrase"
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"the key of the certificate in {certificate}, not another one"
        if key is None and b"PRIVATE KEY-----" not in certificate.read_bytes():
            return f"a file that holds the key as well, or {key_setting} set to the file that does"
        return f"a certificate and its key in PEM form, which OpenSSL can read ({_words(error)})"
    except OSError as error:
        return f"readable files ({error.strerror})"
    return None


def _problem_with_authorities(path: Path) -> str | None:
    import ssl

    try:
        _server_context().load_verify_locations(path)
    except ssl.SSLError as error:
        return f"one that OpenSSL cannot read ({_words(error)})"
    except OSError as error:
        return f"one that cannot be read ({error.strerror})"
    return None


def _server_context() -> ssl.SSLContext:
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def _words(error: ssl.SSLError) -> str:
    return (error.reason or "unreadable").replace("_", " ").lower()


def proxy_on_the_way(settings: ConnectionSettings, target: TargetUrl) -> ProxyUrl | None:
    """Return the proxy through which `target` is reached, None for the direct way.

    What counts is where the connection goes: a tunnel on this machine (ASP_CONNECT_TO) is no way through a proxy.
    """
    proxy = settings.https_proxy if target.is_tls else settings.http_proxy
    host, port = target.host, target.port
    if settings.connect_to is not None:
        host, port = settings.connect_to.host, settings.connect_to.port or port
    is_direct = is_on_this_machine(host) or (settings.no_proxy is not None and settings.no_proxy.covers(host, port))
    return None if is_direct else proxy


def connection_advice(candidates: Mapping[str, Candidate], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each setting that is not used, or dangerous."""
    given: dict[str, Any] = {name: candidate.value for name, candidate in candidates.items()}
    if given["insecure_skip_verify"]:
        yield (
            "ASP_INSECURE_SKIP_VERIFY is true: the target's certificate is not verified. Whoever is on the way can "
            "read and change everything, and use the session token. Trust a private authority with ASP_CA_BUNDLE "
            "instead."
        )
    if given["unix_socket"] is not None and given["tls_cert"] is not None:
        yield "ASP_TLS_CERT: not used, because ASP_UNIX_SOCKET is set; no TLS is spoken on the Unix socket."
    target = given["target_url"]
    if not target.is_tls:
        for name in ("client_cert", "insecure_skip_verify"):
            if given[name]:
                yield f"{candidates[name].environment_name}: not used, because ASP_TARGET_URL is plain http."
    no_proxy: NoProxy | None = given["no_proxy"]
    if no_proxy is not None and no_proxy.unknown:
        unknown = ", ".join(quoted(word) for word in no_proxy.unknown)
        yield f"{candidates['no_proxy'].environment_name}: {unknown} covers nothing; names, addresses and networks do."
    for name in ("ALL_PROXY", "all_proxy"):
        if environ.get(name) and given["https_proxy" if target.is_tls else "http_proxy"] is None:
            yield (
                f"{name}: honoured where credentials are fetched, not for the target; set "
                f"{'HTTPS_PROXY' if target.is_tls else 'HTTP_PROXY'} for it."
            )
