"""A service's answer that says: these credentials are expired, or nobody knows them.

Services say so in their own words and with their own status (400 of S3, 403 of OpenSearch and API Gateway, either of
the others); a policy that forbids something is a 403 too, and must not be mistaken for it, whatever names stand in
its text. So only the places are looked at where a service writes its error's code, and the message as a whole.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.store import CredentialStore
from aws_signing_proxy.http1.response import ResponseHead
from aws_signing_proxy.http1.response_reader import ResponseReader

__all__ = ["RejectionReader", "rejection_reader"]

_STATUSES: Final = frozenset({400, 401, 403})
# Errors are short; what is longer is somebody's document.
_MOST_BYTES: Final = 4096

_CODE: Final = (
    rb"(?:ExpiredToken(?:Exception)?|InvalidClientTokenId|UnrecognizedClientException|InvalidAccessKeyId"
    rb"|TokenRefreshRequired)"
)
_IN_FIELDS: Final = re.compile(rb"\nx-amzn-errortype:[ \t]*(?:[\w.]+#)?" + _CODE + rb"[ \t]*[:\r]", re.IGNORECASE)
_GZIPPED: Final = re.compile(rb"\ncontent-encoding:[ \t]*(?:x-)?gzip[ \t]*\r", re.IGNORECASE)
_IN_BODY: Final = re.compile(
    rb"<Code>\s*" + _CODE + rb"\s*</Code>"
    rb'|"(?:__type|code|Code)"\s*:\s*"(?:[\w.]+#)?' + _CODE + rb'"'
    rb'|"[Mm]essage"\s*:\s*"(?:The security token included in the request is (?:expired|invalid)\b'
    rb"|The provided token has expired)"
)
_GZIP_WBITS: Final = 31


def rejection_reader(head: ResponseHead, store: CredentialStore, credentials: Credentials) -> RejectionReader | None:
    """Return a reader for a response to what was signed with `credentials`; None where its status is another."""
    return RejectionReader(head, store, credentials) if head.status in _STATUSES else None


class RejectionReader:
    """Looks at the beginning of a body as it passes by, and tells the store; holds at most 4 KiB of it."""

    __slots__ = ("_beginning", "_block", "_credentials", "_store")

    def __init__(self, head: ResponseHead, store: CredentialStore, credentials: Credentials) -> None:
        # With the line end in front of the first field, as `_IN_FIELDS` wants it.
        self._block = b"\n" + head.block
        self._beginning = b""
        self._store = store
        self._credentials = credentials

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
    def is_of_credentials(self) -> bool:
        """Whether the service refused the credentials themselves."""
        if _IN_FIELDS.search(self._block) is not None:
            return True
        body = self._beginning
        if _GZIPPED.search(self._block) is not None:
            try:
                body = zlib.decompressobj(_GZIP_WBITS).decompress(body, _MOST_BYTES)
            except zlib.error:
                return False
        return _IN_BODY.search(body) is not None
