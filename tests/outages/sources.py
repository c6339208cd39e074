"""Every remote source of credentials behind one handle: start it, let it fail in a certain way, mend it.

Each hands out numbered sets: the n-th has n in all its parts, so a signature made with parts of two is refused by a
service that verifies (`identity`).
"""

from __future__ import annotations

import contextlib
import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from aws_signing_proxy.sigv4 import Identity
from tests.credentials.openid import authorization_servers
from tests.credentials.openid.authorization_servers import OriginalServer
from tests.credentials.sdk.metadata_servers import ContainerEndpoint
from tests.credentials.sts.sts_server import (
    CloseAtOnce,
    Delay,
    Failure,
    Refuse,
    Respond,
    Silence,
    StsServer,
    numbered_set,
)
from tests.credentials.vault import vault_server
from tests.credentials.vault.vault_backend import AwsRole
from tests.credentials.vault.vault_server import VaultServer

__all__ = ["FAILURES", "SOURCES", "Container", "Irsa", "OpenId", "Source", "Vault"]

ROLE: Final = "arn:aws:iam::123456789012:role/reader"
FAILURES: Final = ("error", "refused", "silent", "closed")
"""A status of 500, a refusal, a request that is never answered, a connection that is closed without an answer."""


class Source(ABC):
    """A source that runs while the `with` statement does. `secrets` are those that were planted in it."""

    name: str
    secrets: tuple[str, ...] = ()

    def __init__(self, folder: Path, *, lease_seconds: float = 3600.0) -> None:
        self.folder = folder
        self.lease_seconds = lease_seconds

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        self.start(self._stack)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @abstractmethod
    def start(self, stack: contextlib.ExitStack) -> None:
        """Start the servers; `stack` stops them."""

    @property
    @abstractmethod
    def environ(self) -> dict[str, str]:
        """The settings of a proxy that uses the source."""

    @property
    @abstractmethod
    def addresses(self) -> dict[str, str]:
        """The addresses of its servers, each under the server's name."""

    @property
    @abstractmethod
    def fetches(self) -> int:
        """How many times credentials were asked for, failures included."""

    @property
    @abstractmethod
    def sets(self) -> int:
        """How many sets of credentials were handed out."""

    @abstractmethod
    def fail(self, kind: str) -> None:
        """Fail from now on, as one of FAILURES."""

    @abstractmethod
    def slow(self, seconds: float) -> None:
        """Answer well, but late, from now on."""

    @abstractmethod
    def every_second_fails(self) -> None:
        """Fail at the first request from now on, and at every second one after it."""

    @abstractmethod
    def mend(self) -> None:
        """Answer well, and at once."""

    @abstractmethod
    def identity(self, access_key_id: str) -> Identity | None:
        """The set with this key, None where there is none."""


class _Sts(Source):
    """What the sources have in common that exchange a token at STS."""

    sts: StsServer

    def start(self, stack: contextlib.ExitStack) -> None:
        self.sts = stack.enter_context(StsServer(lifetime_seconds=self.lease_seconds))

    @property
    def addresses(self) -> dict[str, str]:
        return {"sts": self.sts.url}

    @property
    def fetches(self) -> int:
        return len(self.sts.requests)

    @property
    def sets(self) -> int:
        return self.sts.issued

    @property
    def secrets_of_sets(self) -> Iterator[str]:
        for number in range(1, self.sets + 1):
            one = numbered_set(number)
            yield from (one.secret_access_key, one.session_token or "")

    def fail(self, kind: str) -> None:
        failures: dict[str, Failure] = {
            "error": Respond(500, b"<html>sts is down</html>", "text/html"),
            "refused": Refuse("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"),
            "silent": Silence(),
            "closed": CloseAtOnce(),
        }
        self.sts.choose = lambda _: failures[kind]

    def slow(self, seconds: float) -> None:
        self.sts.choose = lambda _: Delay(seconds)

    def every_second_fails(self) -> None:
        numbers = itertools.count()
        self.sts.choose = lambda _: None if next(numbers) % 2 else Respond(503, b"busy", "text/plain")

    def mend(self) -> None:
        self.sts.choose = None

    def identity(self, access_key_id: str) -> Identity | None:
        number = re.fullmatch(r"ASIASTANDIN(\d{8})", access_key_id)
        return numbered_set(int(number[1])) if number else None


class Irsa(_Sts):
    """A service account's token in a file, exchanged at STS."""

    name = "irsa"
    token = authorization_servers.make_jwt({"iss": "https://oidc.eks.example", "sub": "system:serviceaccount:a:b"})
    secrets = (token,)

    @property
    def environ(self) -> dict[str, str]:
        file = self.folder / "token"
        file.write_text(self.token)
        return {
            "ASP_CREDENTIALS_PROVIDER": "irsa",
            "ASP_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
            "AWS_ENDPOINT_URL_STS": self.sts.url,
        }


class OpenId(_Sts):
    """An authorization server of the original's dialect, then STS. It is the authorization server that fails."""

    name = "oidc"
    secrets = ("original-secret-of-the-client",)

    def start(self, stack: contextlib.ExitStack) -> None:
        super().start(stack)
        self.server = stack.enter_context(OriginalServer(secret=self.secrets[0]))

    @property
    def environ(self) -> dict[str, str]:
        return {
            "ASP_CREDENTIALS_PROVIDER": "oidc",
            "ASP_ROLE_ARN": ROLE,
            "ASP_OPEN_ID_AUTH_SERVER_URL": self.server.url,
            "ASP_OPEN_ID_CLIENT_ID": self.server.client_id,
            "ASP_OPEN_ID_CLIENT_SECRET": self.server.secret,
            # The other dialect would be tried, too, where the server refuses: that is tested elsewhere.
            "ASP_OPEN_ID_DIALECT": "json",
            "AWS_ENDPOINT_URL_STS": self.sts.url,
        }

    @property
    def addresses(self) -> dict[str, str]:
        return super().addresses | {"login": self.server.origin}

    @property
    def fetches(self) -> int:
        return len(self.server.requests)

    def fail(self, kind: str) -> None:
        failure = authorization_servers.Failure
        self.server.failure = {
            "error": failure(status=500, body=b"<html>down</html>"),
            "refused": failure(status=401, body=b'{"error": "invalid_client"}'),
            "silent": failure(is_silent=True),
            "closed": failure(closes=True),
        }[kind]

    def slow(self, seconds: float) -> None:
        self.server.failure = authorization_servers.Failure(delay_seconds=seconds)

    def every_second_fails(self) -> None:
        # STS: the authorization server's failures are planned one by one.
        super().every_second_fails()

    def mend(self) -> None:
        super().mend()
        self.server.failure = None


class Vault(Source):
    """Vault with a token, and STS credentials of its AWS engine."""

    name = "vault"
    secrets = ("planted-vault-token",)

    def start(self, stack: contextlib.ExitStack) -> None:
        self.vault = stack.enter_context(VaultServer())
        self.vault.backend.add_token(self.secrets[0])
        role = AwsRole(credential_type="assumed_role", ttl=self.lease_seconds)
        self.vault.backend.roles["aws/sts/reader"] = role

    @property
    def environ(self) -> dict[str, str]:
        return {
            "ASP_CREDENTIALS_PROVIDER": "vault",
            "ASP_VAULT_URL": self.vault.url,
            "ASP_VAULT_PATH": "aws/sts/reader",
            "ASP_VAULT_AUTH_TOKEN": self.secrets[0],
        }

    @property
    def addresses(self) -> dict[str, str]:
        return {"vault": self.vault.url}

    @property
    def fetches(self) -> int:
        return self.vault.count("aws/")

    @property
    def sets(self) -> int:
        return self.vault.backend.sets_made

    def fail(self, kind: str) -> None:
        failure = vault_server.Failure
        self.vault.fail(
            "aws/",
            {
                "error": failure(status=500),
                "refused": failure(status=403, body=b'{"errors":["1 error occurred:\\n\\t* permission denied\\n\\n"]}'),
                "silent": failure(kind=vault_server.SILENCE),
                "closed": failure(kind=vault_server.CLOSE),
            }[kind],
        )

    def slow(self, seconds: float) -> None:
        self.vault.fail("aws/", vault_server.Failure(status=0, delay_seconds=seconds))

    def every_second_fails(self) -> None:
        numbers = itertools.count()
        failure_for = self.vault.failure_for

        def choose(path: str) -> vault_server.Failure | None:
            if path.startswith("aws/") and next(numbers) % 2 == 0:
                return vault_server.Failure(status=500)
            return failure_for(path)

        self.vault.failure_for = choose  # type: ignore[method-assign] # the stand-in is told by prefix only

    def mend(self) -> None:
        self.vault.mend()

    def identity(self, access_key_id: str) -> Identity | None:
        number = re.fullmatch(r"ASIASTS(\d{9})", access_key_id)
        if number is None:
            return None
        n = int(number[1])
        return Identity(access_key_id, f"planted-sts-{n}", f"planted-session-{n}")


class Container(Source):
    """The SDK's own chain, which finds a container's endpoint (ECS)."""

    name = "default"

    def start(self, stack: contextlib.ExitStack) -> None:
        self.endpoint = stack.enter_context(ContainerEndpoint())
        self.endpoint.lease_seconds = self.lease_seconds

    @property
    def environ(self) -> dict[str, str]:
        return {
            "ASP_CREDENTIALS_PROVIDER": "default",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.endpoint.full_uri,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
        }

    @property
    def addresses(self) -> dict[str, str]:
        return {"container": self.endpoint.url}

    @property
    def fetches(self) -> int:
        return len(self.endpoint.requests)

    @property
    def sets(self) -> int:
        return self.endpoint.handed_out

    def fail(self, kind: str) -> None:
        failures = self.endpoint.failures
        failures.status = {"error": 500, "refused": 403}.get(kind)
        failures.body = b"{}" if failures.status else None
        failures.is_silent = kind == "silent"
        failures.is_closing = kind == "closed"

    def slow(self, seconds: float) -> None:
        self.endpoint.failures.delay_seconds = seconds

    def every_second_fails(self) -> None:
        numbers = itertools.count()
        respond = self.endpoint.respond

        def choose(asked: object) -> object:
            self.endpoint.failures.status = None if next(numbers) % 2 else 500
            self.endpoint.failures.body = None if self.endpoint.failures.status is None else b"{}"
            return respond(asked)  # type: ignore[arg-type] # handed on as it came

        self.endpoint.respond = choose  # type: ignore[method-assign, assignment] # the stand-in fails or not

    def mend(self) -> None:
        self.endpoint.failures = type(self.endpoint.failures)()

    def identity(self, access_key_id: str) -> Identity | None:
        number = re.fullmatch(r"ASIA(\D+)(\d+)", access_key_id)
        if number is None:
            return None
        end = f"{number[1]}-{number[2]}"
        return Identity(access_key_id, f"planted-secret-{end}", f"planted-token-{end}")


SOURCES: Final = (Irsa, OpenId, Vault, Container)
