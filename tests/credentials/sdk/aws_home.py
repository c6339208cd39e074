"""A home directory with AWS's two files in it, and a process environment that points there and knows nothing else."""

from __future__ import annotations

import os
import time
import traceback
from pathlib import Path

import pytest

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from aws_signing_proxy.credentials.sdk.provider import DefaultChainProvider

__all__ = ["AwsHome"]


class AwsHome:
    """Sets `os.environ`, which botocore reads; `environ` is the same for us.

    Whatever a fetch tells (errors, notes, `repr`) is searched for the word "planted", which all secrets hold.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.path = path
        self._patch = monkeypatch
        for name in list(os.environ):
            if name.startswith("AWS_") or name.lower().endswith("_proxy") or name == "BOTO_CONFIG":
                monkeypatch.delenv(name)
        (path / ".aws").mkdir()
        self.set(HOME=str(path), AWS_EC2_METADATA_DISABLED="true")

    @property
    def environ(self) -> dict[str, str]:
        return dict(os.environ)

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._patch.setenv(name, value)

    def unset(self, *names: str) -> None:
        for name in names:
            self._patch.delenv(name, raising=False)

    def write(self, name: str, text: str) -> Path:
        path = self.path / ".aws" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def script(self, name: str, text: str) -> Path:
        """Write a program that `credential_process` can name."""
        path = self.path / name
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o700)
        return path

    def provider(self) -> DefaultChainProvider:
        return DefaultChainProvider(self.environ)

    def fetch(self, provider: DefaultChainProvider | None = None, timeout_seconds: float = 10.0) -> Credentials:
        fetch = Fetch(timeout_seconds=timeout_seconds)
        credentials = (provider or self.provider()).retrieve(fetch)
        assert set(credentials.secrets()) <= set(fetch.secrets) | set(credentials.secrets())
        told = repr(credentials) + repr(fetch.notes)
        assert "planted" not in told, told
        return credentials

    def failure(
        self, provider: DefaultChainProvider | None = None, timeout_seconds: float = 10.0
    ) -> CredentialsUnavailableError:
        began = time.monotonic()
        with pytest.raises(CredentialsUnavailableError) as caught:
            (provider or self.provider()).retrieve(Fetch(timeout_seconds=timeout_seconds))
        # Less than any limit of ours or of botocore's that would count instead of the fetch's.
        assert time.monotonic() - began < timeout_seconds + 3
        told = "".join(traceback.format_exception(caught.value)) + caught.value.explain() + repr(caught.value)
        assert "planted" not in told, told
        return caught.value
