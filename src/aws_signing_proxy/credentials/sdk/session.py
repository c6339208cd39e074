"""botocore's session and chain, with everything in them bound to one fetch: its time, its secrets, no terminal.

Imports botocore: for `sdk_chain` alone, which is imported when the SDK's chain has to be asked.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from botocore.config import Config
from botocore.configprovider import ConstantProvider
from botocore.credentials import (
    AssumeRoleProvider,
    AssumeRoleWithWebIdentityProvider,
    CanonicalNameCredentialSourcer,
    ContainerProvider,
    ProcessProvider,
    ProfileProviderBuilder,
    create_credential_resolver,
)
from botocore.exceptions import SSOTokenLoadError
from botocore.session import Session
from botocore.utils import ContainerMetadataFetcher, JSONFileCache

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.botocore_answer import as_botocore
from aws_signing_proxy.credentials.http.exchange import HttpClient
from aws_signing_proxy.credentials.http.trusted_certificates import TrustedCertificates
from aws_signing_proxy.credentials.http.web_address import shown_address
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.sdk.credential_process import ProcessRunner
from aws_signing_proxy.credentials.sdk.metadata import ContainerSession, InstanceSession
from aws_signing_proxy.credentials.sdk.static_shortcut import profile_as_sdk

__all__ = ["BoundSession", "Chain"]

# What one call to STS or SSO may take.
_CALL_SECONDS: Final = 14.0
_LARGEST_ANSWER_BYTES: Final = 1 << 20
_SSO_SECRETS: Final = ("accessToken", "refreshToken", "clientSecret")
_LOGGERS: Final = ("botocore.credentials", "botocore.tokens", "botocore.utils")


class BoundSession(Session):  # type: ignore[misc] # botocore has no types
    """A session whose clients ask once, within the time of the fetch that is going on, and are closed after it.

    Kept from fetch to fetch: it holds the parsed files and the models of the services.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__()
        self.endpoint = ""
        """The address of the service that was asked last; empty where none was."""
        self._fetch = Fetch()
        self._clients: list[Any] = []
        self._environ = environ
        self._http: HttpClient | None = None
        # A blank variable is no profile. Not set as a variable of the session: then the environment would not count.
        profile = ConstantProvider(value=profile_as_sdk(environ))
        self.get_component("config_store").set_config_provider("profile", profile)
        for name in _LOGGERS:
            # Their warnings are the failures that are raised as well, with tracebacks that quote more than they should.
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def begin(self, fetch: Fetch) -> None:
        """Bind all that is asked from now on to `fetch`."""
        self._fetch = fetch
        self.endpoint = ""

    def end(self) -> None:
        """Close the connections that were made for the fetch."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        if self._http is not None:
            self._http.close()

    def create_client(self, service_name: str, **options: Any) -> Any:
        """Make a client. botocore's providers call this, with keywords only."""
        for name in ("aws_secret_access_key", "aws_session_token"):
            self._fetch.secret(options.get(name) or "")
        bounds = Config(retries={"total_max_attempts": 1, "mode": "standard"})
        given = options.pop("config", None)
        client = super().create_client(service_name, config=bounds if given is None else given.merge(bounds), **options)
        client.meta.events.register("before-send", self._send)
        self._clients.append(client)
        self.endpoint = shown_address(str(client.meta.endpoint_url))
        return client

    def _send(self, request: Any, **_: Any) -> Any:
        """Stand in for botocore's own HTTP, which waits for each piece of an answer anew."""
        answer = self._http_for_use().send(
            self._fetch,
            request.method,
            request.url,
            fields=dict(request.headers.items()),
            body=request.body,
            at_most_seconds=_CALL_SECONDS,
        )
        return as_botocore(self._fetch, request, answer)

    def _http_for_use(self) -> HttpClient:
        if self._http is None:
            # Of AWS_CA_BUNDLE, or of the profile.
            bundle = self.get_config_variable("ca_bundle")
            trusted = TrustedCertificates(
                setting="AWS_CA_BUNDLE" if self._environ.get("AWS_CA_BUNDLE") else "ca_bundle",
                bundle=Path(bundle) if bundle else None,
                environ=self._environ,
            )
            self._http = HttpClient(trusted, environ=self._environ, largest_answer_bytes=_LARGEST_ANSWER_BYTES)
        return self._http


class Chain:
    """botocore's providers in botocore's order, made for one fetch.

    Those that could hang or ask a terminal are replaced by the same ones with other parts; one that a later botocore
    adds is used as it is. Nothing is kept between fetches (the cache of assumed roles is new): whoever asks wants to
    know what holds now, and botocore's own windows would hand out what it has.
    """

    def __init__(self, session: BoundSession, environ: Mapping[str, str], fetch: Fetch, container: str) -> None:
        cache: dict[str, Any] = {}
        region = environ.get("AWS_REGION", "").strip() or None
        resolver = create_credential_resolver(session, cache=cache, region_name=region)
        originals = {provider.METHOD: provider for provider in resolver.providers}
        self.container = ContainerSession(fetch, environ, container)
        at_most = float(session.get_config_variable("metadata_service_timeout"))
        self.instance = InstanceSession(fetch, environ, at_most)
        # The fetcher is botocore's own, with its settings; only the session in it is not.
        instance_fetcher = originals["iam-role"]._role_fetcher  # noqa: SLF001 - there is no other way in
        instance_fetcher._session = self.instance  # noqa: SLF001 - as above
        self.instance_url = str(instance_fetcher.get_base_url())

        builder = _Builder(session, cache, region, fetch)
        profile = profile_as_sdk(environ) or "default"
        replaced = {provider.METHOD: provider for provider in builder.providers(profile_name=profile)}
        replaced["container-role"] = ContainerProvider(fetcher=ContainerMetadataFetcher(session=self.container))
        replaced["assume-role"] = AssumeRoleProvider(
            load_config=lambda: session.full_config,
            client_creator=builder.create_client,
            cache=cache,
            profile_name=profile,
            prompter=_refuse_to_ask,
            credential_sourcer=CanonicalNameCredentialSourcer(
                [originals["env"], replaced["container-role"], originals["iam-role"]]
            ),
            profile_provider_builder=builder,
        )
        self.providers = [replaced.get(provider.METHOD, provider) for provider in resolver.providers]


class _Builder(ProfileProviderBuilder):  # type: ignore[misc] # botocore has no types
    """Makes the providers of a profile, also of one that a role is assumed from."""

    def __init__(self, session: BoundSession, cache: dict[str, Any], region: str | None, fetch: Fetch) -> None:
        directory = os.path.expanduser("~/.aws/sso/cache")  # noqa: PTH111 - as botocore does, at its import
        super().__init__(session, cache=cache, region_name=region, sso_token_cache=_SsoCache(directory, fetch))
        self._bound_session = session
        self._roles = cache
        self._region = region
        self._fetch = fetch

    def create_client(self, service_name: str, **options: Any) -> Any:
        """Make a client in the region of the chain."""
        return self._bound_session.create_client(service_name, **({"region_name": self._region} | options))

    def _create_process_provider(self, profile_name: str) -> Any:
        return ProcessProvider(
            profile_name=profile_name,
            load_config=lambda: self._bound_session.full_config,
            popen=ProcessRunner(self._fetch),
        )

    def _create_web_identity_provider(self, profile_name: str, disable_env_vars: bool) -> Any:
        return AssumeRoleWithWebIdentityProvider(
            load_config=lambda: self._bound_session.full_config,
            client_creator=self.create_client,
            cache=self._roles,
            profile_name=profile_name,
            disable_env_vars=disable_env_vars,
            token_loader_cls=self._token_loader,
        )

    def _token_loader(self, path: str) -> Any:
        def load() -> str:
            file = Path(path)
            if file.exists() and not file.is_file():
                # Opening a pipe would wait for its writer, and the fetch with it.
                raise OSError(errno.EINVAL, "it is not a regular file", path)
            return self._fetch.secret(file.read_text(encoding="utf-8").strip())

        return load


class _SsoCache(JSONFileCache):  # type: ignore[misc] # botocore has no types
    """The tokens of `aws sso login`, each made known as a secret when it is read or written."""

    def __init__(self, directory: str, fetch: Fetch) -> None:
        super().__init__(directory, dumps_func=_dumps)
        self._fetch = fetch

    def __getitem__(self, key: str) -> Any:
        try:
            token = super().__getitem__(key)
        except KeyError:
            raise SSOTokenLoadError(error_msg="its file cannot be read") from None
        self._learn(token)
        return token

    def __setitem__(self, key: str, token: Any) -> None:
        self._learn(token)
        super().__setitem__(key, token)

    def _learn(self, token: Any) -> None:
        for name in _SSO_SECRETS:
            if isinstance(token, dict) and isinstance(token.get(name), str):
                self._fetch.secret(token[name])


def _dumps(token: Any) -> str:
    """Write a token as the AWS CLI reads it."""
    return json.dumps(token, default=_written)


def _written(value: object) -> object:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else str(value)


def _refuse_to_ask(prompt: str) -> str:
    """Stand in for the prompt for an MFA code, which would wait for a terminal."""
    device = prompt.removeprefix("Enter MFA code for ").rstrip(": ")
    raise CredentialsUnavailableError(
        (
            Attempt(
                f"MFA device {device}",
                "the profile's role wants a code, and nobody is there to type it",
                "Use a role without mfa_serial for the proxy, or keep a session's keys in another profile",
            ),
        ),
        is_conclusive=True,
    )
