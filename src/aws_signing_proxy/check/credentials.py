"""Fetches credentials once, as the proxy would, and explains what came of it; asks AWS whose they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from aws_signing_proxy.credential_sources import provider_for, secrets_of, token_service
from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.fetcher import FailedFetchError, Fetcher
from aws_signing_proxy.credentials.ledger import Ledger
from aws_signing_proxy.credentials.model import Credentials, utc
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from aws_signing_proxy.observe.logs import SECRETS_OF_LOG

if TYPE_CHECKING:
    from aws_signing_proxy.config.settings import Settings

__all__ = ["check_credentials"]

_WHO_TIMEOUT_SECONDS: Final = 10.0
_MINUTE: Final = 60.0


def check_credentials(
    settings: Settings,
    environ: Mapping[str, str],
    tell: Callable[[str], None],
    *,
    asks_who: bool,
    clock: Callable[[], float],
) -> bool:
    """Tell, a line at a time, where credentials came from or why there are none; return whether they can be used.

    What was lent for the occasion (a lease, a token) is given back.
    """
    SECRETS_OF_LOG.replace((), secrets_of(settings, environ))
    fetcher = Fetcher(
        provider_for(settings, environ),
        ledger=Ledger(),
        timeout_seconds=settings.credentials_fetch_timeout_seconds,
        secrets=SECRETS_OF_LOG,
        clock=clock,
    )
    try:
        found, error = asyncio.run(_fetch(fetcher))
        _tell_steps(fetcher, tell)
        is_usable = False
        if found is not None:
            is_usable = _tell_credentials(found, fetcher.provider.name, tell, clock())
            if is_usable and asks_who:
                is_usable = _tell_who(found, settings, environ, tell)
        elif error is not None:
            _tell_failure(error, tell)
    finally:
        asyncio.run(fetcher.close())
    return is_usable


async def _fetch(fetcher: Fetcher) -> tuple[Credentials | None, FailedFetchError | None]:
    try:
        return await fetcher.fetch(is_forced=False), None
    except FailedFetchError as error:
        return None, error


def _tell_steps(fetcher: Fetcher, tell: Callable[[str], None]) -> None:
    fetch = fetcher.last
    if fetch is None:
        return
    for note in fetch.notes:
        tell(f"- {note.source}: {note.text}")
    if fetch.steps:
        times = ", ".join(
            f"{step.step} {step.seconds * 1000:.0f} ms{'' if step.is_success else ' (failed)'}" for step in fetch.steps
        )
        tell(f"asked        {times}")


def _tell_failure(error: FailedFetchError, tell: Callable[[str], None]) -> None:
    if not error.attempts:
        tell(error.reason)
        for line in (error.frames or "").splitlines():
            tell(line)
        return
    tell("none found; what was looked at:")
    for source, reason, advice in error.attempts:
        tell(f"- {source}: {reason}")
        tell(f"  {advice}")


def _tell_credentials(found: Credentials, provider: str, tell: Callable[[str], None], now: float) -> bool:
    tell(f"source       {found.source} (provider {provider})")
    tell(f"access key   {found.shown_id}")
    tell(f"kind         {'temporary' if found.session_token else 'long-term'}")
    if found.expires_at is None:
        tell("expiry       not told by the source")
        return True
    if found.is_expired(now):
        tell(f"expiry       {utc(found.expires_at)}: they have expired; put new ones there")
        return False
    tell(f"expiry       {utc(found.expires_at)}, in {_duration(found.expires_at - now)}")
    return True


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < _MINUTE * 2 else f"{seconds / _MINUTE:.0f} minutes"


def _tell_who(found: Credentials, settings: Settings, environ: Mapping[str, str], tell: Callable[[str], None]) -> bool:
    """Ask STS whose the credentials are. What it refuses cannot be used; that it cannot be asked proves nothing."""
    service = token_service(settings, environ)
    fetch = Fetch(
        timeout_seconds=_WHO_TIMEOUT_SECONDS,
        keep_secret=SECRETS_OF_LOG.register,
        mask=SECRETS_OF_LOG.mask,
    )
    try:
        who = service.caller_identity(fetch, found)
    except CredentialsUnavailableError as error:
        for source, reason, advice in error.attempts:
            tell(f"identity     {fetch.shown_whole(f'{source}: {reason}')}")
            tell(f"             {fetch.shown_whole(advice)}")
        return not error.is_conclusive
    finally:
        service.close()
    tell(f"identity     {who.arn} (account {who.account}), says STS")
    return True
