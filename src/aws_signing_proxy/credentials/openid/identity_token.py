"""The token that STS is to be shown: which of an answer's tokens it is, and what it says about itself.

Its claims are read, not verified: that is for STS to do. They are no secret, and most refusals of STS are explained by
them: a role's trust policy compares issuer, audience and subject.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Final

__all__ = ["IdentityToken", "TokenMissingError", "token_of"]

# AssumeRoleWithWebIdentity, parameter WebIdentityToken: 4 to 20000 characters.
_LONGEST_TOKEN: Final = 20_000
_PARTS_OF_JWS: Final = 3
_PARTS_OF_JWE: Final = 5
_LONGEST_CLAIM: Final = 120

_ID_TOKENS: Final = ("idToken", "id_token")  # the original's dialect, and OpenID Connect
_ACCESS_TOKEN: Final = "access_token"  # noqa: S105 - a member's name


class TokenMissingError(Exception):
    """An answer without the token that is wanted. `has_other` is whether it held another one."""

    def __init__(self, reason: str, advice: str, *, has_other: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice
        self.has_other = has_other


class IdentityToken:
    """A token, by which name the server gave it, and its claims where it is a JWT (else None). The `repr` is safe.

    `expires_at` is in seconds since the epoch, by its claim `exp` or else by the answer's `expires_in`; None where
    neither says.
    """

    __slots__ = ("claims", "expires_at", "kind", "value")

    def __init__(self, value: str, kind: str, expires_at: float | None = None) -> None:
        self.value = value
        self.kind = kind
        self.claims = _claims_of(value)
        claimed = _number(self.claims.get("exp")) if self.claims is not None else None
        self.expires_at = expires_at if claimed is None else claimed

    def __repr__(self) -> str:
        return f"<IdentityToken {self.kind}>"

    @property
    def problem(self) -> str | None:
        """Why STS cannot take it, in words that continue "the token ..."; None for a JWT."""
        if self.claims is not None:
            return None
        if self.value.count(".") == _PARTS_OF_JWE - 1:
            return f"the {self.kind} is encrypted (JWE), and STS reads none such"
        return f"the {self.kind} is not a JWT but opaque, and STS takes nothing but JWTs"

    @property
    def authorized_party(self) -> str | None:
        """The claim `azp` (OpenID Connect Core section 2) as it may be shown; None without it."""
        return _written(self.claims["azp"]) if self.claims is not None and "azp" in self.claims else None

    def lives_until(self, moment: float) -> bool:
        """Whether it is known to be good beyond `moment` (seconds since the epoch)."""
        return self.expires_at is not None and self.expires_at > moment

    def describe(self, now: float) -> str:
        """Return what it says about itself: 'iss "https://...", aud "...", sub "...", expires in 300 s'."""
        claims = self.claims or {}
        parts = [f"{name} {_written(claims[name])}" for name in ("iss", "aud", "azp", "sub") if name in claims]
        if self.expires_at is not None:
            seconds = round(self.expires_at - now)
            parts.append(f"expires in {seconds} s" if seconds > 0 else f"expired {-seconds} s ago")
        return ", ".join(parts) or "no claims that can be read"


def token_of(answer: Mapping[str, object], wanted: str, now: float) -> IdentityToken:
    """Return the token of a token endpoint's answer (RFC 6749 section 5.1, or the original's dialect).

    `wanted` is "id_token", "access_token", or "auto": the identity token where there is one. `now` is in seconds since
    the epoch.

    Raises:
        TokenMissingError: It is not there, or is none.
    """
    there = {name: answer[name] for name in (*_ID_TOKENS, _ACCESS_TOKEN) if answer.get(name)}
    names = {"id_token": _ID_TOKENS, "access_token": (_ACCESS_TOKEN,)}.get(wanted, (*_ID_TOKENS, _ACCESS_TOKEN))
    kind = next((name for name in names if name in there), None)
    if kind is None:
        raise _missing(wanted, there)
    value = there[kind]
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise TokenMissingError(
            f'answered with something else than a token in its member "{kind}"',
            "Check that the URL is the authorization server's token endpoint",
        )
    if len(value) > _LONGEST_TOKEN:
        raise TokenMissingError(
            f"issued an {kind} of {len(value)} characters, and STS takes {_LONGEST_TOKEN}",
            "Let the authorization server put fewer claims (groups, roles) into this client's tokens",
            has_other=True,
        )
    seconds = _number(answer.get("expires_in"))
    return IdentityToken(value, kind, None if seconds is None else now + seconds)


def _missing(wanted: str, there: Mapping[str, object]) -> TokenMissingError:
    if _ACCESS_TOKEN in there:
        return TokenMissingError(
            "issued an access_token, but no id_token",
            "Set ASP_OPEN_ID_TOKEN to access_token, or ASP_OPEN_ID_SCOPE to openid where the server then issues an "
            "id_token to clients",
            has_other=True,
        )
    if there:
        return TokenMissingError(
            "issued an id_token, but no access_token", "Set ASP_OPEN_ID_TOKEN to id_token or auto", has_other=True
        )
    names = {"id_token": "idToken or id_token", "access_token": "access_token"}
    return TokenMissingError(
        f"answered without a token (no {names.get(wanted, 'idToken, id_token or access_token')})",
        "Check that the URL is the authorization server's token endpoint, and ASP_OPEN_ID_DIALECT",
    )


def _claims_of(token: str) -> Mapping[str, object] | None:
    """Return the claims of a signed JWT (RFC 7519, RFC 7515 section 7.1); None for anything else."""
    parts = token.split(".")
    if len(parts) != _PARTS_OF_JWS or _decoded(parts[0]) is None:
        return None
    return _decoded(parts[1])


def _decoded(part: str) -> dict[str, object] | None:
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _written(claim: object) -> str:
    text = json.dumps(claim, ensure_ascii=False)
    return text if len(text) <= _LONGEST_CLAIM else f"{text[:_LONGEST_CLAIM]}..."


def _number(value: object) -> float | None:
    """Return a number of seconds as servers write it: a number, or its digits in a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
