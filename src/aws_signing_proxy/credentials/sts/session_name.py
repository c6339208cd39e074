"""Names of role sessions, as STS takes them."""

from __future__ import annotations

import hashlib
import re
from typing import Final

__all__ = ["DEFAULT_SESSION_NAME", "valid_session_name"]

DEFAULT_SESSION_NAME: Final = "aws-signing-proxy"

# AWS STS API Reference, AssumeRole, RoleSessionName. `\w` is ASCII there.
_SHORTEST: Final = 2
_LONGEST: Final = 64
_FORBIDDEN: Final = re.compile(r"[^\w+=,.@-]", re.ASCII)
_HASH_CHARACTERS: Final = 8


def valid_session_name(text: str) -> str:
    """Return `text` as a RoleSessionName: 2 to 64 characters, each an ASCII letter, a digit or one of `_+=,.@-`.

    A valid name stays as it is. Other characters become "-". What is too long is cut and ends with a hash of the
    whole, so that two long names which differ at their ends stay apart. One character alone gets a "-" behind it;
    of nothing (or blanks) becomes "aws-signing-proxy".
    """
    trimmed = text.strip()
    if not trimmed:
        return DEFAULT_SESSION_NAME
    name = _FORBIDDEN.sub("-", trimmed)
    if len(name) > _LONGEST:
        mark = hashlib.sha256(trimmed.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARACTERS]
        return f"{name[: _LONGEST - _HASH_CHARACTERS - 1]}-{mark}"
    return name.ljust(_SHORTEST, "-")
