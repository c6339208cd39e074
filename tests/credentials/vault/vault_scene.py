"""What the tests of the `vault` provider share: a server, a clock that both go by, fetches, a stand-in for STS."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aws_signing_proxy.credentials.fetch import Fetch, Note
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.vault.provider import VaultOptions, VaultProvider
from tests.credentials.vault.vault_backend import AwsRole, Backend, Login
from tests.credentials.vault.vault_server import Clock, VaultServer

START = 1_800_000_000.0
PATH = "aws/creds/dev"
TOKEN = "planted-vault-token"
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class StsError(CredentialsUnavailableError):
    """AWS's refusal, as `credentials.sts` tells it."""

    def __init__(self, code: str | None) -> None:
        super().__init__((Attempt("STS", "it could not be reached", "Check the network"),))
        self.code = code


class Sts:
    """Answers with these codes in turn, the last one for ever: "" knows the key, None cannot be reached."""

    def __init__(self, *codes: str | None) -> None:
        self.codes = list(codes or [""])
        self.asked: list[str] = []

    def caller_identity(self, fetch: Fetch, credentials: Credentials) -> object:
        self.asked.append(credentials.access_key_id)
        code = self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]
        if code != "":
            raise StsError(code)
        return {"Arn": "arn:aws:iam::123456789012:user/vault-dev"}


class Scene:
    """A Vault with a role `aws/creds/dev`, and providers that talk to it."""

    def __init__(self, vault: VaultServer) -> None:
        self.vault = vault
        self.backend: Backend = vault.backend
        self.clock: Clock = vault.clock
        self.sts = Sts()
        self.pauses: list[float] = []
        self.fetches: list[Fetch] = []
        self.warnings: list[Note] = []
        self.known_secrets: set[str] = set()
        self._providers: list[VaultProvider] = []

    def role(self, path: str = PATH, **fields: Any) -> AwsRole:
        """Put a role into the AWS engine."""
        self.backend.roles[path] = AwsRole(**fields)
        return self.backend.roles[path]

    def login(self, method: str, mount: str | None = None, **fields: Any) -> Login:
        """Mount a login method."""
        self.backend.logins[mount or method] = Login(method, **fields)
        return self.backend.logins[mount or method]

    def provider(self, **options: Any) -> VaultProvider:
        """Return a provider; it logs in with the token TOKEN unless told otherwise."""
        given = {"url": self.vault.url, "path": PATH, "auth_method": "token", "token": TOKEN, **options}
        provider = VaultProvider(VaultOptions(**given), sts=self.sts)
        self._providers.append(provider)
        return provider

    def fetch(self, *, forced: bool = False, refused: bool = False, timeout_seconds: float = 20.0) -> Fetch:
        """Return a fetch whose time passes only in pauses, and with the clock of the scene."""

        def pause(seconds: float) -> None:
            self.pauses.append(seconds)
            self.clock.now += seconds

        fetch = Fetch(
            is_forced=forced or refused,
            is_refused=refused,
            timeout_seconds=timeout_seconds,
            clock=self.clock,
            monotonic=self.clock,
            pause=pause,
            keep_secret=self.known_secrets.add,
            mask=self._masked,
            log_warning=self.warnings.append,
        )
        self.fetches.append(fetch)
        return fetch

    def retrieve(self, provider: VaultProvider, *, forced: bool = False, refused: bool = False) -> Credentials:
        """Ask once, with a fetch of its own."""
        return provider.retrieve(self.fetch(forced=forced, refused=refused))

    def failure(
        self, provider: VaultProvider, *, forced: bool = False, refused: bool = False
    ) -> CredentialsUnavailableError:
        """Ask once; it has to fail, and must tell no secret."""
        with pytest.raises(CredentialsUnavailableError) as caught:
            self.retrieve(provider, forced=forced, refused=refused)
        error = caught.value
        told = "".join(traceback.format_exception(error)) + error.explain() + repr(error) + str(error)
        assert "planted" not in told
        for attempt in error.attempts:
            assert attempt.source
            assert attempt.advice
            assert not attempt.advice.endswith(".")
        return error

    @property
    def notes(self) -> str:
        """What the last fetch told, in one text."""
        return "; ".join(note.text for note in self.fetches[-1].notes)

    def paths(self) -> list[str]:
        """The paths that were asked for since the last call of this."""
        paths = [seen.path for seen in self.vault.requests]
        self.vault.requests.clear()
        return paths

    def close(self) -> None:
        """Give back everything; no provider may leave a connection open."""
        for fetch in self.fetches:
            assert "planted" not in repr(fetch.notes)
        assert "planted" not in repr(self.warnings)
        for provider in self._providers:
            assert "planted" not in repr(provider)
            provider.close(self.fetch())

    def _masked(self, text: str) -> str:
        for secret in self.known_secrets:
            text = text.replace(secret, "***")
        return text


@contextmanager
def scene(monkeypatch: pytest.MonkeyPatch, **server: Any) -> Iterator[Scene]:
    """Start a server and make a scene of it, apart from the environment's proxies."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with VaultServer(clock=Clock(START), **server) as vault:
        made = Scene(vault)
        made.backend.add_token(TOKEN)
        made.role()
        yield made
        made.close()
