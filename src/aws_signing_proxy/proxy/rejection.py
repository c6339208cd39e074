"""Reads an answer that may refuse the request's time or its credentials, as it comes (see `sigv4.refusals`)."""

from __future__ import annotations

from typing import Final

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.store import CredentialStore
from aws_signing_proxy.http1.dates import date_of
from aws_signing_proxy.http1.response import ResponseHead
from aws_signing_proxy.http1.response_reader import ResponseReader
from aws_signing_proxy.proxy.service_clock import REFUSED_SECONDS
from aws_signing_proxy.sigv4.refusals import REFUSING_STATUSES, Refusal, refusal_of, server_time, unzipped

__all__ = ["RejectionReader", "rejection_reader"]

# Errors are short; what is longer is somebody's document.
_MOST_BYTES: Final = 4096


def rejection_reader(
    head: ResponseHead,
    store: CredentialStore,
    credentials: Credentials,
    *,
    received_at: float | None = None,
    offset_seconds: float = 0.0,
    is_head_request: bool = False,
) -> RejectionReader | None:
    """Return a reader for a response to what was signed with `credentials`; None where its status is another.

    `received_at` is the local time, since the epoch, at which its head arrived, and `offset_seconds` how far the time
    that was signed was ahead of the local one; without the former its `Date` is not looked at.
    """
    if head.status not in REFUSING_STATUSES:
        return None
    return RejectionReader(
        head,
        store,
        credentials,
        received_at=received_at,
        offset_seconds=offset_seconds,
        is_head_request=is_head_request,
    )


class RejectionReader:
    """Looks at the beginning of a body as it passes by; holds at most 4 KiB of it."""

    __slots__ = (
        "_beginning",
        "_block",
        "_credentials",
        "_is_head_request",
        "_offset_seconds",
        "_received_at",
        "_store",
    )

    def __init__(
        self,
        head: ResponseHead,
        store: CredentialStore,
        credentials: Credentials,
        *,
        received_at: float | None = None,
        offset_seconds: float = 0.0,
        is_head_request: bool = False,
    ) -> None:
        self._block = head.block
        self._beginning = b""
        self._store = store
        self._credentials = credentials
        self._received_at = received_at
        self._offset_seconds = offset_seconds
        self._is_head_request = is_head_request

    def read(self, reader: ResponseReader) -> None:
        """Take what the reader's last `feed` brought."""
        missing = _MOST_BYTES - len(self._beginning)
        if reader.piece is None or missing <= 0:
            return
        piece = reader.piece if reader.content is None else b"".join(reader.content)
        self._beginning += piece[:missing]

    def conclude(self) -> None:
        """The response is complete: where it refuses the credentials, let the store fetch others."""
        if self.is_of_credentials:
            self._store.reject(self._credentials)

    @property
    def is_full(self) -> bool:
        """Whether more of the body would tell no more."""
        return len(self._beginning) >= _MOST_BYTES

    @property
    def refusal(self) -> Refusal | None:
        """Why the request was refused, as far as what has come tells it."""
        dated = self._offset_to(date_of(self._block))
        is_clock_off = dated is not None and abs(dated - self._offset_seconds) >= REFUSED_SECONDS
        return self._refusal_of(is_clock_off=is_clock_off)

    @property
    def is_guess(self) -> bool:
        """Whether nothing but its `Date` says that it was refused for the time."""
        is_of_time = self.refusal is Refusal.CLOCK_SKEW
        return is_of_time and self._refusal_of(is_clock_off=False) is not Refusal.CLOCK_SKEW

    @property
    def is_of_credentials(self) -> bool:
        """Whether the service refused the credentials themselves."""
        return self.refusal is Refusal.CREDENTIALS

    @property
    def seen_offset_seconds(self) -> float | None:
        """How far the service's clock is ahead of the local one, by what it says itself, else by its `Date`."""
        said = server_time(self._body)
        return self._offset_to(date_of(self._block) if said is None else said)

    def _offset_to(self, moment: float | None) -> float | None:
        # Both are cut off to the second: half of one is what is missing on average.
        return None if moment is None or self._received_at is None else moment + 0.5 - self._received_at

    def _refusal_of(self, *, is_clock_off: bool) -> Refusal | None:
        return refusal_of(self._block, self._body, is_clock_off=is_clock_off, is_head_request=self._is_head_request)

    @property
    def _body(self) -> bytes:
        return unzipped(self._block, self._beginning, _MOST_BYTES)
