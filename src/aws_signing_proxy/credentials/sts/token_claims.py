"""What an identity token says about itself: read, not verified, for messages that tell people why STS refused it.

Verifying is the part of STS. The claims are no secret; the token as a whole is one.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, NamedTuple

__all__ = ["TokenClaims", "readable_duration", "readable_time"]

_PARTS_OF_A_JWT: Final = 3
_LONGEST_CLAIM: Final = 160
# 9999-12-31T23:59:59Z, beyond which `datetime` cannot tell the time.
_LAST_SECOND: Final = 253402300799


class TokenClaims(NamedTuple):
    """The claims of RFC 7519, section 4.1, that STS compares with a trust policy. None or empty where absent."""

    issuer: str | None
    subject: str | None
    audience: tuple[str, ...]
    expires_at: float | None
    """Seconds since the epoch."""

    @classmethod
    def of(cls, token: str) -> TokenClaims | None:
        """Return the claims of a signed JWT (RFC 7519, section 3), or None where it is nothing of the kind."""
        parts = token.split(".")
        if len(parts) != _PARTS_OF_A_JWT:
            return None
        try:
            # b64decode wants the padding that a JWT leaves out, and takes too much of it.
            content = json.loads(base64.b64decode(f"{parts[1]}===", altchars=b"-_", validate=False))
        except (binascii.Error, ValueError, RecursionError):
            return None
        if not isinstance(content, dict):
            return None
        audience = content.get("aud")
        return cls(
            _text(content.get("iss")),
            _text(content.get("sub")),
            tuple(text for item in (audience if isinstance(audience, list) else [audience]) if (text := _text(item))),
            _seconds(content.get("exp")),
        )

    def describe(self) -> str:
        """Say in words what the claims are: `iss "https://...", sub "...", aud "sts.amazonaws.com"`."""
        said = [
            f'{name} "{value}"' if value is not None else f"no {name}"
            for name, value in (("iss", self.issuer), ("sub", self.subject), ("aud", ", ".join(self.audience) or None))
        ]
        return ", ".join(said)

    def is_expired(self, now: float) -> bool:
        """Whether the token itself says that it is over at `now` (seconds since the epoch)."""
        return self.expires_at is not None and self.expires_at <= now


def readable_time(seconds: float) -> str:
    """Return a time since the epoch as people read it: 2026-01-31T12:00:00Z."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def readable_duration(seconds: float) -> str:
    """Return a duration as people say it, in its largest unit and the next one: 3 h 20 min, 45 s."""
    total = max(0, round(seconds))
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (next_name, next_size) in pairwise(units):
        if total >= size:
            rest = total % size // next_size
            return f"{total // size} {name}" + (f" {rest} {next_name}" if rest else "")
    return f"{total} s"


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    return value if len(value) <= _LONGEST_CLAIM else f"{value[:_LONGEST_CLAIM]}..."


def _seconds(value: object) -> float | None:
    """Return a NumericDate (RFC 7519, section 2); None where it is none, or one that nobody could tell."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value <= _LAST_SECOND else None
