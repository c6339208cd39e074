"""Certificates in files, as an operator keeps them: written, replaced, broken."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import trustme

__all__ = ["Certificates"]


class Certificates:
    """An authority, and a certificate of it in `cert` and `key`; clients trust `ca`."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.authority = trustme.CA()
        self.folder = folder
        self.names = names or ("localhost", "127.0.0.1")
        self.cert, self.key, self.ca = folder / "tls.crt", folder / "tls.key", folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        self.renew()

    def renew(self) -> None:
        """Write another certificate and key into the same files."""
        leaf = self.authority.issue_cert(*self.names)
        self._replace(self.key, leaf.private_key_pem.bytes())
        self._replace(self.cert, b"".join(pem.bytes() for pem in leaf.cert_chain_pems))

    def breaks(self) -> None:
        """Write something into the certificate's file that is none."""
        self._replace(self.cert, b"-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")

    def client_context(self) -> ssl.SSLContext:
        """Return a client's context that trusts the authority."""
        return ssl.create_default_context(cafile=str(self.ca))

    def client_of(self, name: str = "client.test", *, authority: trustme.CA | None = None) -> Path:
        """Write a client's certificate with its key into one file."""
        path = self.folder / f"{name}-{os.urandom(2).hex()}.pem"
        (authority or self.authority).issue_cert(name).private_key_and_cert_chain_pem.write_to_path(path)
        return path

    @staticmethod
    def _replace(path: Path, content: bytes) -> None:
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.replace(path)
