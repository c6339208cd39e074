"""Contexts of TLS: what is trusted, what is shown to the peer, and nothing older than TLS 1.2."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

__all__ = ["CertificateFileError", "KeyPair", "client_context", "server_context"]


class CertificateFileError(Exception):
    """A certificate or its key cannot be used; the message names the files and the reason, and no part of a key."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate with its chain, and its key: PEM files. `key` is None where the first file has both."""

    certificate: Path
    key: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, each once."""
        return (self.certificate,) if self.key is None else (self.certificate, self.key)

    def load_into(self, context: ssl.SSLContext) -> None:
        """Let connections of `context` show this certificate. Raises CertificateFileError."""
        try:
            context.load_cert_chain(self.certificate, self.key, password=_refuse_passphrase)
        except ssl.SSLError as error:
            reason = "the key does not belong to the certificate"
            if error.reason != "KEY_VALUES_MISMATCH":
                reason = f"no certificate and key in PEM form ({_words(error)})"
            raise CertificateFileError(f"{self._shown}: {reason}") from error
        except _EncryptedKeyError as error:
            raise CertificateFileError(f"{self._shown}: the key is encrypted with a passphrase") from error
        except OSError as error:
            raise CertificateFileError(f"{self._shown}: {error.strerror or error}") from error

    @property
    def _shown(self) -> str:
        return " and ".join(str(path) for path in self.files)


class _EncryptedKeyError(Exception):
    """Without it OpenSSL would ask for a passphrase on the terminal, and wait."""


def _refuse_passphrase() -> NoReturn:
    raise _EncryptedKeyError


def _words(error: ssl.SSLError) -> str:
    return (error.reason or "unreadable").replace("_", " ").lower()


def client_context(ca_bundle: str | None, *, key_pair: KeyPair | None = None, verifies: bool = True) -> ssl.SSLContext:
    """Return a context that verifies certificates and names.

    `ca_bundle`: a PEM file of trusted certificates instead of the system's. `key_pair`: what is shown to servers that
    ask. `verifies` false: any certificate of any name is taken, so anybody on the way can be the server. Raises
    OSError or ssl.SSLError where the bundle cannot be read, CertificateFileError for the key pair.
    """
    context = ssl.create_default_context(cafile=ca_bundle)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not verifies:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if key_pair is not None:
        key_pair.load_into(context)
    return context


def server_context(key_pair: KeyPair, *, client_ca: Path | None = None) -> ssl.SSLContext:
    """Return a context for a server.

    `client_ca`: a PEM file of authorities; a client must show a certificate of one of them. Raises
    CertificateFileError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # A client could have the server shake hands for ever on one connection.
    context.options |= ssl.OP_NO_RENEGOTIATION
    key_pair.load_into(context)
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            raise CertificateFileError(f"{client_ca}: no certificates in PEM form ({_words(error)})") from error
        except OSError as error:
            raise CertificateFileError(f"{client_ca}: {error.strerror or error}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context
