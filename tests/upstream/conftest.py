"""A private certificate authority, and what its servers and clients need of it."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

__all__ = ["Authority"]


class Authority:
    """One authority, with a certificate for `service.test` and for 127.0.0.1."""

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        self._certificate = self._authority.issue_cert("service.test", "127.0.0.1")
        self.ca_bundle = str(directory / "ca.pem")
        self._authority.cert_pem.write_to_path(self.ca_bundle)

    def server_context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Return a server's context, for one version of TLS or for all."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate.configure_cert(context)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
