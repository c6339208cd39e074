"""Fetches credentials once, as the proxy would, and explains what came of it; asks AWS whose they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from aws_signing_proxy.credential_sources import provider_for, secrets_of, token_service
from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.fetcher import FailedFetchError, Fetcher
from aws_signing_proxy.credentials.ledger import Ledger
from aws_signing_proxy.credentials.model import Credentials, utc
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from aws_signing_proxy.credentials.sts.errors import USELESS_CREDENTIALS_CODES, StsRefusedError
from aws_signing_proxy.observe.logs import SECRETS_OF_LOG

if TYPE_CHECKING:
    from aws_signing_proxy.config.settings import Settings

__all__ = ["Verdict", "check_credentials"]

_WHO_TIMEOUT_SECONDS: Final = 10.0
_MINUTE: Final = 60.0


class Verdict(Enum):
    """What would become of requests."""

    SIGNED = auto()
    SIGNED_IN_VAIN = auto()
    """There are credentials, and AWS says that they are not good: no service would take them."""
    NOT_SIGNED = auto()


def check_credentials(
    settings: Settings,
    environ: Mapping[str, str],
    tell: Callable[[str], None],
    *,
    asks_who: bool,
    clock: Callable[[], float],
) -> Verdict:
    """Tell, a line at a time, where credentials came from or why there are none; return what they are good for.

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
        verdict = Verdict.NOT_SIGNED
        if found is not None:
            if _tell_credentials(found, fetcher.provider.name, tell, clock()):
                is_taken = not asks_who or _tell_who(found, settings, environ, tell)
                verdict = Verdict.SIGNED if is_taken else Verdict.SIGNED_IN_VAIN
        elif error is not None:
            _tell_failure(error, tell)
    finally:
        _tell_closing(fetcher, tell)
    return verdict


async def _fetch(fetcher: Fetcher) -> tuple[Credentials | None, FailedFetchError | None]:
    try:
        return await fetcher.fetch(is_forced=False), None
    except FailedFetchError as error:
        return None, error


def _tell_closing(fetcher: Fetcher, tell: Callable[[str], None]) -> None:
    """Give back what was lent, and tell what could not be."""
    asyncio.run(fetcher.close())
    for note in fetcher.last.warnings if fetcher.last is not None else ():
        tell(f"- {note.source}: {note.text}")


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
    """Ask STS whose the credentials are, and return False where it says that they are not good.

    Whatever else keeps it from telling (it cannot be reached, its certificate is not trusted, the policy of its VPC
    endpoint forbids to ask) says nothing about what the service does with them.
    """
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
        if isinstance(error, StsRefusedError) and error.code in USELESS_CREDENTIALS_CODES:
            return False
        tell("             So it is not known whose they are, and the service may take them all the same.")
        tell("             (--no-whoami leaves the question out)")
        return True
    finally:
        service.close()
    tell(f"identity     {who.arn} (account {who.account}), says STS")
    return True
