"""TLS as the settings want it: whose certificates are trusted, and which one of ours is shown."""

from __future__ import annotations

import contextlib
import os
import ssl
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from aws_signing_proxy.credentials.http.bounded_sockets import BoundedTlsSocket
from aws_signing_proxy.credentials.provider import Attempt

__all__ = ["CertificateFileError", "ClientCertificate", "TrustedCertificates"]

_FILE: Final = "SSL_CERT_FILE"
_DIRECTORY: Final = "SSL_CERT_DIR"

_Mark: TypeAlias = tuple[str, int, int, int, int] | tuple[str]


class ClientCertificate(NamedTuple):
    """A certificate and its key (PEM), with the settings that name them. Without a key file, both are in one file."""

    setting: str
    path: Path
    key_setting: str
    key_path: Path | None


class CertificateFileError(Exception):
    """A file of certificates or keys cannot be used. `attempt` says which, why, and what to do."""

    def __init__(self, setting: str, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.attempt = Attempt(f"{setting} {path}", reason, f"Put it right, or set {setting} to another file")


class TrustedCertificates:
    """Makes the context for TLS, anew where one of the files has changed.

    Trusted are the certificates of `bundle` alone, which `setting` names; without it those of SSL_CERT_FILE and
    SSL_CERT_DIR in `environ` alone; without these the system's, as OpenSSL finds them, or certifi's list where the
    system has none (slim images).
    """

    def __init__(
        self,
        *,
        setting: str,
        bundle: Path | None,
        environ: Mapping[str, str],
        client: ClientCertificate | None = None,
    ) -> None:
        self._setting = setting
        self._bundle = bundle
        self._environ = environ
        self._client = client
        self._marks: list[_Mark] | None = None
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Return a context that verifies a server's certificate and name; the same one while no file changes.

        Raises:
            CertificateFileError: A file is missing or is not what it should be.
        """
        marks = [_mark(path) for path in self._paths()]
        if self._context is None or marks != self._marks:
            self._context = None
            self._context, self._marks = self._made(), marks
        return self._context

    def _paths(self) -> Iterator[Path]:
        if self._bundle is not None:
            yield self._bundle
        elif given := self._environ.get(_FILE, "").strip():
            yield Path(given)
        if self._client is not None:
            yield self._client.path
            yield self._client.key_path or self._client.path

    def _made(self) -> ssl.SSLContext:
        context = ssl.create_default_context(**self._places())
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.sslsocket_class = BoundedTlsSocket
        if self._client is not None:
            _show(context, self._client)
        return context

    def _places(self) -> dict[str, Any]:
        """Return what to trust as `ssl.create_default_context` takes it; empty for the system's."""
        directory = self._environ.get(_DIRECTORY, "").strip()
        setting, path = self._setting, self._bundle
        if path is None and (given := self._environ.get(_FILE, "").strip()):
            # OpenSSL would ignore a file that is not there, and trust nothing or something else.
            setting, path = _FILE, Path(given)
        if path is None:
            return {"capath": directory} if directory else _of_system()
        _check_readable(setting, path)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except (ssl.SSLError, ValueError):
            raise CertificateFileError(setting, path, "holds no certificate in PEM form") from None
        return {"cafile": str(path)} | ({"capath": directory} if setting == _FILE and directory else {})


def _of_system() -> dict[str, Any]:
    places = ssl.get_default_verify_paths()
    if places.cafile:
        return {}
    with contextlib.suppress(OSError):
        if places.capath and any(Path(places.capath).iterdir()):
            return {}
    import certifi

    return {"cafile": certifi.where()}


def _show(context: ssl.SSLContext, client: ClientCertificate) -> None:
    key = client.key_path or client.path
    _check_readable(client.setting, client.path)
    _check_readable(client.key_setting, key)
    try:
        # A password would be asked for on the terminal: an empty one makes OpenSSL refuse instead.
        context.load_cert_chain(client.path, key, password="")
    except (ssl.SSLError, ValueError):
        reason = f"is no usable pair of certificate and unencrypted private key (PEM) with {client.key_setting}"
        raise CertificateFileError(client.setting, client.path, reason) from None


def _check_readable(setting: str, path: Path) -> None:
    try:
        # Opening a pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise CertificateFileError(setting, path, "cannot be read (not a regular file)")
        with path.open("rb"):
            return
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or "not a path"
        raise CertificateFileError(setting, path, f"cannot be read ({said})") from None


def _mark(path: Path) -> _Mark:
    """Return what tells the file from another or a changed one."""
    try:
        found = os.stat(path)  # noqa: PTH116 - as often as STS is asked
    except (OSError, ValueError):
        return (str(path),)
    return str(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
