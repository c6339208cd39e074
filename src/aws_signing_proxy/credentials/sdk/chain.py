"""One question to the AWS SDK's chain, and what came of it.

Imports botocore: to be imported where the chain has to be asked, and not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from botocore.configloader import load_config, raw_config_parse
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import ConfigNotFound

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import (
    Credentials,
    InvalidValueError,
    clean_key_id,
    clean_secret,
    clean_token,
)
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError, NothingFoundError
from aws_signing_proxy.credentials.sdk.failures import explain
from aws_signing_proxy.credentials.sdk.places import Places
from aws_signing_proxy.credentials.sdk.session import BoundSession, Chain
from aws_signing_proxy.credentials.sdk.static_shortcut import path_as_sdk, profile_as_sdk

__all__ = ["SdkChain"]

_INSTANCE: Final = "iam-role"
_LOGIN: Final = "login"
_STATIC: Final = frozenset({"shared-credentials-file", "config-file"})


_ADVICE_ON_NOTHING: Final = (
    "Give the proxy's task, pod, instance or profile a role or keys at one of these places; `aws-signing-proxy check` "
    "says how for each"
)


class _Taken(NamedTuple):
    """Credentials as botocore hands them out, nothing checked yet."""

    access_key_id: Any
    secret_access_key: Any
    session_token: Any
    expires_at: float | None

    def __repr__(self) -> str:
        return "<taken credentials>"


class SdkChain:
    """The chain for one state of the two shared files; to be made anew when they have changed.

    botocore reads `os.environ` itself; `environ` is what we read beside it (the profile, AWS_REGION, the paths).
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._session: BoundSession | None = None

    def retrieve(self, fetch: Fetch) -> Credentials:
        """Ask every place in botocore's order for credentials, until one has them.

        Raises:
            CredentialsUnavailableError: Where none has any, with every place. Where one is configured but fails,
                with that one alone: the others were not asked, or had nothing, and need no mending.
        """
        _check_readable(self._environ)
        places = Places(self._environ, config={}, credentials_file=None, config_file=None, metadata_url="")
        session = self._session
        try:
            if session is None:
                session = BoundSession(self._environ)
            session.begin(fetch)
            places = self._places(session, "")
            chain = Chain(session, self._environ, fetch, places.source("container-role"))
            places = self._places(session, chain.instance_url)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is explained; its text may quote a file
            raise explain(error, method="config-file", places=places, endpoint="", fetch=fetch) from None
        self._session = session
        try:
            return self._ask(chain, places, session, fetch)
        finally:
            session.end()

    def _ask(self, chain: Chain, places: Places, session: BoundSession, fetch: Fetch) -> Credentials:
        attempts: list[Attempt] = []
        for provider in chain.providers:
            method = str(provider.METHOD)
            taken: _Taken | CredentialsUnavailableError | None
            try:
                loaded = provider.load()
                taken = None if loaded is None else _take(loaded, method)
            except CredentialsUnavailableError as error:
                taken = CredentialsUnavailableError(error.attempts, is_conclusive=error.is_conclusive)
            except Exception as error:  # noqa: BLE001 - a library's, which must not leave here
                taken = None
                if method != _INSTANCE:
                    explained = explain(error, method=method, places=places, endpoint=session.endpoint, fetch=fetch)
                    taken = _with_instance(explained, chain, places)
            if isinstance(taken, CredentialsUnavailableError):
                # Out here, so that it has no context: botocore's frames and exceptions may quote secrets.
                try:
                    raise taken
                finally:
                    del taken  # whose traceback holds this frame
            if taken is not None:
                return self._credentials(taken, method, chain, places, fetch)
            attempts.append(self._nothing(method, chain, places))
        # What answers as an instance's service is where credentials are meant to come from.
        advice = attempts[-1].advice if chain.instance.is_there else _ADVICE_ON_NOTHING
        raise NothingFoundError(tuple(attempts), advice=advice)

    def _nothing(self, method: str, chain: Chain, places: Places) -> Attempt:
        if method != _INSTANCE:
            return places.nothing(method)
        attempt = chain.instance.nothing(places.source(method))
        if chain.instance.exchanges and chain.instance.has_answered:
            raise CredentialsUnavailableError((attempt,))
        return attempt

    def _credentials(self, taken: _Taken, method: str, chain: Chain, places: Places, fetch: Fetch) -> Credentials:
        expires_at, source = taken.expires_at, places.source(method)
        if method == _INSTANCE:
            # As written by the service: botocore makes a later time of one that is near.
            expires_at = chain.instance.expires_at
            if expires_at is None:
                raise _unusable(source, "its credentials name no time when they end", "Look at what answers there")
            source = source.replace("instance role", f"instance role {chain.instance.role or ''}".rstrip(), 1)
        for secret in (taken.secret_access_key, taken.session_token):
            fetch.secret(secret if isinstance(secret, str) else "")
        source = fetch.shown(source)
        try:
            credentials = Credentials(
                clean_key_id("its access key id", _filled("its access key id", taken.access_key_id)),
                clean_secret("its secret access key", _filled("its secret access key", taken.secret_access_key)),
                clean_token("its session token", str(taken.session_token or "")) or None,
                expires_at=expires_at,
                source=source,
            )
        except InvalidValueError as error:
            raise _unusable(source, str(error), "Write it as AWS issued it, on one line, without a comment") from None
        if method in _STATIC and any(mark in credentials.secret_access_key for mark in (" #", " ;")):
            reason = "its secret access key is followed by a comment, which botocore takes for a part of it"
            raise _unusable(source, reason, "Put the comment on a line of its own")
        fetch.note(source, "it has credentials without an end" if expires_at is None else _until(expires_at))
        return credentials

    def _places(self, session: BoundSession, metadata_url: str) -> Places:
        profile = profile_as_sdk(self._environ) or "default"
        return Places(
            self._environ,
            config=session.full_config,
            credentials_file=_sections(raw_config_parse, self._environ, "AWS_SHARED_CREDENTIALS_FILE").get(profile),
            config_file=_sections(load_config, self._environ, "AWS_CONFIG_FILE").get("profiles", {}).get(profile),
            metadata_url=metadata_url,
        )


def _with_instance(error: CredentialsUnavailableError, chain: Chain, places: Places) -> CredentialsUnavailableError:
    """Add why the instance had no credentials, where a profile's credential_source sent botocore there."""
    if not chain.instance.exchanges or chain.instance.expires_at is not None:
        return error
    attempts = (chain.instance.nothing(places.source(_INSTANCE)), *error.attempts)
    return CredentialsUnavailableError(attempts, is_conclusive=error.is_conclusive)


def _take(loaded: Any, method: str) -> _Taken:
    """Return what a provider loaded, without letting botocore decide anew whether to ask the source again.

    What was loaded a moment ago is the answer, however short its life; only what was deferred (a role to assume) is
    asked for now, and a login session, which was read from a cache. The expiry has no public name; the AWS CLI takes
    the same attribute (`aws configure export-credentials`).
    """
    if not isinstance(loaded, RefreshableCredentials):
        frozen = loaded.get_frozen_credentials()
        return _Taken(frozen.access_key, frozen.secret_key, frozen.token, None)
    frozen = loaded._frozen_credentials  # noqa: SLF001 - as said above
    if frozen is None or method == _LOGIN:
        frozen = loaded.get_frozen_credentials()
    expiry = loaded._expiry_time  # noqa: SLF001 - as said above
    # Never without an end: credentials that botocore renews have one, and without it we would sign with dead ones.
    if expiry.tzinfo is None:
        expiry = expiry.replace(tzinfo=UTC)
    return _Taken(frozen.access_key, frozen.secret_key, frozen.token, expiry.timestamp())


def _filled(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidValueError(f"{name} is blank")
    return value


def _sections(parse: Any, environ: Mapping[str, str], variable: str) -> dict[str, Any]:
    try:
        sections: dict[str, Any] = parse(path_as_sdk(environ, variable))
    except ConfigNotFound:
        return {}
    return sections


def _check_readable(environ: Mapping[str, str]) -> None:
    """Refuse a file that is there and cannot be read: botocore would take it for empty, and look elsewhere."""
    for variable in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        path = Path(path_as_sdk(environ, variable))
        try:
            if path.is_file():
                path.open("rb").close()
        except OSError as error:
            reason = f"cannot be read ({error.strerror or type(error).__name__})"
            advice = f"Let the user that runs the proxy read it, or set {variable} to another"
            raise _unusable(str(path), reason, advice) from None


def _unusable(source: str, reason: str, advice: str) -> CredentialsUnavailableError:
    return CredentialsUnavailableError((Attempt(source, reason, advice),), is_conclusive=True)


def _until(moment: float) -> str:
    try:
        return f"it has credentials until {datetime.fromtimestamp(moment, UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}"
    except (OverflowError, OSError, ValueError):
        return "it has credentials without an end in sight"
