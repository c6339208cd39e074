"""The token that the proxy talks to Vault with: where it comes from, how long it lives, how it is kept alive.

Vault's HTTP API documentation, "Token auth method": lookup-self, renew-self, revoke-self. A token that was logged in
for is ours: when it cannot be renewed any more it is replaced by another login, and at the end it is revoked. A given
one (a setting, a file) is somebody else's: it is kept alive, never revoked.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any, Final

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import VAULT_LEAD_SECONDS, InvalidValueError, clean_token
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.vault.client import Answer, VaultClient, number, text
from aws_signing_proxy.credentials.vault.errors import BAD_REQUEST, FORBIDDEN, NOT_FOUND, Call, Purpose, VaultError
from aws_signing_proxy.credentials.vault.files import read_secret
from aws_signing_proxy.credentials.vault.login import LOGIN_METHODS, login_call, login_files, login_request
from aws_signing_proxy.credentials.vault.options import VaultOptions
from aws_signing_proxy.credentials.watched_files import FailureWatch, Mark, mark

__all__ = ["Life", "Token", "TokenKeeper", "duration_text"]

# Vault rounds durations down to whole seconds.
ROUNDING_SECONDS: Final = 1.0


@dataclass(slots=True)
class Life:
    """How long a token or a lease lives. Times in seconds since the epoch; `ends_at` None: no end is known.

    `seconds` is what Vault granted last, so that a renewal which is granted less shows that no more can be had.
    """

    seconds: float | None
    ends_at: float | None
    is_renewable: bool

    def margin_seconds(self) -> float:
        """How long before its end it is replaced: before the store's own early window begins."""
        return 0.0 if self.seconds is None else min(2 * VAULT_LEAD_SECONDS, self.seconds / 2)

    def renew_at(self) -> float | None:
        """When to renew it: after two thirds of its life, or before the margin begins."""
        if self.ends_at is None or self.seconds is None or not self.is_renewable:
            return None
        return self.ends_at - max(self.seconds / 3, self.margin_seconds())

    def replace_at(self) -> float | None:
        """When another one has to be made: the margin begins."""
        return None if self.ends_at is None else self.ends_at - self.margin_seconds()

    def is_near_its_end(self, now: float) -> bool:
        """Whether it has to be replaced now."""
        replace_at = self.replace_at()
        return replace_at is not None and now >= replace_at

    def extend(self, asked_at: float, seconds: float, *, is_renewable: bool, wanted: float | None) -> None:
        """Take over what a renewal was answered with. Granted less than wanted: the maximum TTL is near."""
        is_capped = wanted is not None and seconds < wanted - ROUNDING_SECONDS
        self.seconds, self.ends_at = seconds, asked_at + seconds
        self.is_renewable = is_renewable and not is_capped


@dataclass(slots=True)
class Token:
    """A Vault token. `is_ours`: it was logged in for, by this process; `made_in` then names the fetch that got it."""

    value: str = field(repr=False)
    life: Life
    is_ours: bool
    made_in: weakref.ref[Fetch] | None = field(repr=False, default=None)


class TokenKeeper:
    """Has the token that is to be used now."""

    def __init__(self, client: VaultClient, options: VaultOptions) -> None:
        self._client = client
        self._options = options
        self._token: Token | None = None
        self._ours: list[Token] = []
        self._file_mark: Mark = None
        self._has_read_file = False
        self._login_files = FailureWatch(*login_files(options))

    def has_changed(self) -> bool:
        """Whether the token file has changed since it was read, or what a login needs since one failed."""
        if self._login_files.has_changed():
            return True
        path = self._options.token_file
        return self._has_read_file and path is not None and mark(path) != self._file_mark

    def current(self, fetch: Fetch) -> Token:
        """Return a token that lives: the one that is kept, renewed where that is due, or another.

        Raises:
            CredentialsUnavailableError: There is none, or Vault could not be asked.
        """
        token = self._token
        self._login_files.forget()
        if self._options.auth_method in LOGIN_METHODS:
            if token is None or (token.life.is_near_its_end(fetch.now()) and not token.life.is_renewable):
                return self._log_in(fetch)
        else:
            value = self._given(fetch)
            if token is None or token.value != value:
                token = self._looked_up(fetch, value)
            elif token.life.is_near_its_end(fetch.now()):
                # Somebody else may have renewed it meanwhile: Vault's agent does.
                token.life = _prolonged(
                    token.life, self._looked_up(fetch, value, has_ended=_has_ended(token, fetch)).life
                )
            self._token = token
        renew_at = token.life.renew_at()
        if renew_at is not None and fetch.now() >= renew_at:
            return self._renewed(fetch, token)
        return token

    def replacement(self, fetch: Fetch, refused: Token) -> Token | None:
        """Return another token than the one that Vault refuses; None where there is none to be had.

        Raises:
            CredentialsUnavailableError: The login for it failed.
        """
        if self._options.auth_method in LOGIN_METHODS:
            is_new = refused.made_in is not None and refused.made_in() is fetch
            return None if is_new else self._log_in(fetch)
        value = self._given(fetch)
        if value == refused.value:
            return None
        self._token = self._looked_up(fetch, value)
        return self._token

    def forget(self) -> None:
        """Begin anew at the next call: look a given token up once more, or log in again."""
        self._token = None

    def can_be_replaced(self) -> bool:
        """Whether a token that has ended is followed by another without anybody doing anything."""
        return self._options.auth_method in LOGIN_METHODS

    def is_alive(self, fetch: Fetch, token: Token) -> bool:
        """Whether Vault still knows the token. A policy that forbids the question counts as no."""
        try:
            self._client.ask(fetch, self._call("lookup-self"), _lookup_self, token=token.value)
        except VaultError as error:
            if error.status != FORBIDDEN:
                raise
            return False
        return True

    def revoke_unused(self, fetch: Fetch, used: list[Token]) -> None:
        """Revoke the tokens that were logged in for and that nothing depends on; failures are logged."""
        for token in [token for token in self._ours if not any(token is kept for kept in used)]:
            self._ours.remove(token)
            if _has_ended(token, fetch):
                continue
            call = Call(Purpose.TOKEN, "revoking the token", "auth/token/revoke-self", self._settings())
            try:
                self._client.ask(fetch, call, lambda hvac: hvac.auth.token.revoke_self(), token=token.value)
            except VaultError as error:
                # Refused: it is dead already. Otherwise it ends by itself.
                told = error.attempts[0].reason
                fetch.warn(self._client.source, f"the token that was logged in for could not be revoked: {told}")
            else:
                fetch.note(self._client.source, "revoked the token that was logged in for")

    def revoke_all(self, fetch: Fetch) -> None:
        """Revoke every token that was logged in for."""
        self._token = None
        self.revoke_unused(fetch, [])

    def all(self) -> list[Token]:
        """Return every token that is in use or still to be revoked."""
        return self._ours if self._token is None else [self._token, *self._ours]

    @property
    def kept(self) -> Token | None:
        """The token that is in use, without asking anybody."""
        return self._token

    def _log_in(self, fetch: Fetch) -> Token:
        call = login_call(self._options)
        asked_at = fetch.now()
        with self._login_files:
            request = login_request(fetch, self._options)
            auth = self._auth(fetch, call, self._client.ask(fetch, call, request))
        if isinstance(auth.get("mfa_requirement"), dict):
            advice = "Use a login method or a role without MFA enforcement: nobody is there to enter a code"
            raise self._client.unusable(call, "the demand for a second factor", advice, is_conclusive=True)
        value = self._checked(text(auth.get("client_token")), call)
        seconds = number(auth.get("lease_duration")) or None  # 0: it never ends
        ends_at = None if seconds is None else asked_at + seconds
        life = Life(seconds, ends_at, is_renewable=auth.get("renewable") is True and seconds is not None)
        token = Token(value, life, is_ours=True, made_in=weakref.ref(fetch))
        self._token = token
        self._ours.append(token)
        fetch.note(self._client.source, f"logged in with {self._options.auth_method}; the token {_told(life)}")
        return token

    def _given(self, fetch: Fetch) -> str:
        options = self._options
        if options.token_file is not None and options.auth_method == "token_file":
            # Marked before it is read: a file that changes in between is then read once more, not missed.
            self._file_mark, self._has_read_file = mark(options.token_file), True
            return read_secret(fetch, options.token_file, "ASP_VAULT_AUTH_TOKEN_FILE")
        value = fetch.secret((options.token or "").strip())
        return self._checked(value, Call(Purpose.TOKEN, "taking the token from its setting", "", self._settings()))

    def _checked(self, value: str, call: Call) -> str:
        if not value and call.purpose is Purpose.LOGIN:
            raise self._client.unusable(call, "an answer without auth.client_token")
        try:
            if value:
                # It becomes a field's value in HTTP.
                return clean_token("the token", value)
        except InvalidValueError as error:
            raise self._refused(str(error), "Set it to the token as Vault issued it, on one line") from None
        raise self._refused("there is no token", f"Set {self._settings()}")

    def _looked_up(self, fetch: Fetch, value: str, *, has_ended: bool = False) -> Token:
        """Return a given token with the life that Vault says it has; unknown where it may not be asked."""
        call = self._call("lookup-self")
        asked_at = fetch.now()
        try:
            answer = self._client.ask(fetch, call, _lookup_self, token=value)
        except VaultError as error:
            if error.status not in {BAD_REQUEST, FORBIDDEN, NOT_FOUND}:
                raise
            if has_ended:
                advice = f"Put a new one into {self._settings()}; a periodic token would be kept alive for good"
                raise self._refused("the token has ended", advice) from None
            fetch.note(self._client.source, "the token may not look itself up, so when it ends is not known")
            return Token(value, Life(None, None, is_renewable=False), is_ours=False)
        data = answer.get("data")
        data = data if isinstance(data, dict) else {}
        seconds = number(data.get("ttl"))
        if seconds is None or (seconds == 0 and data.get("expire_time") is None):
            life = Life(None, None, is_renewable=False)  # a root token, say
        else:
            life = Life(seconds, asked_at + seconds, is_renewable=data.get("renewable") is True)
        fetch.note(self._client.source, f"the token of {self._settings()} {_told(life)}")
        return Token(value, life, is_ours=False)

    def _renewed(self, fetch: Fetch, token: Token) -> Token:
        call = self._call("renew-self")
        asked_at = fetch.now()
        try:
            answer = self._client.ask(fetch, call, lambda hvac: hvac.auth.token.renew_self(), token=token.value)
        except VaultError as error:
            if error.status not in {BAD_REQUEST, FORBIDDEN}:
                raise
            token.life.is_renewable = False
            fetch.note(self._client.source, f"the token cannot be renewed: {error.attempts[0].reason}")
            if not token.is_ours:
                return token
            # Refused: it is dead or may not renew itself. Only past its maximum TTL does it live on to its end.
            lives_on = error.status == BAD_REQUEST and not token.life.is_near_its_end(fetch.now())
            return token if lives_on else self._log_in(fetch)
        auth = self._auth(fetch, call, answer)
        seconds = number(auth.get("lease_duration"))
        if seconds is None:
            raise self._client.unusable(call, "an answer without auth.lease_duration")
        is_renewable = auth.get("renewable") is True
        token.life.extend(asked_at, seconds, is_renewable=is_renewable, wanted=token.life.seconds)
        fetch.note(self._client.source, f"renewed the token; it {_told(token.life)}")
        if token.is_ours and not token.life.is_renewable and token.life.is_near_its_end(fetch.now()):
            return self._log_in(fetch)
        return token

    def _auth(self, fetch: Fetch, call: Call, answer: Answer) -> dict[str, Any]:
        auth = answer.get("auth")
        if not isinstance(auth, dict):
            raise self._client.unusable(call, "an answer without auth")
        fetch.secret(text(auth.get("client_token")))
        return auth

    def _call(self, operation: str) -> Call:
        doing = {"lookup-self": "looking the token up", "renew-self": "renewing the token"}[operation]
        return Call(Purpose.TOKEN, doing, f"auth/token/{operation}", self._settings())

    def _settings(self) -> str:
        return self._options.token_settings

    def _refused(self, reason: str, advice: str) -> CredentialsUnavailableError:
        return CredentialsUnavailableError((Attempt(self._client.source, reason, advice),), is_conclusive=True)


def _prolonged(known: Life, found: Life) -> Life:
    """Return the life that was found, unless it is only what is left of the known one: then the margin stays."""
    if known.seconds is None or found.seconds is None or known.ends_at is None or found.ends_at is None:
        return found
    if found.ends_at > known.ends_at + ROUNDING_SECONDS:
        return found
    return Life(known.seconds, found.ends_at, is_renewable=known.is_renewable and found.is_renewable)


def _lookup_self(hvac: Any) -> Any:
    return hvac.auth.token.lookup_self()


def _has_ended(token: Token, fetch: Fetch) -> bool:
    return token.life.ends_at is not None and fetch.now() >= token.life.ends_at


def _told(life: Life) -> str:
    if life.seconds is None:
        return "does not end"
    can = "can" if life.is_renewable else "cannot"
    return f"lives {duration_text(life.seconds)} and {can} be renewed"


def duration_text(seconds: float) -> str:
    """Return a duration as people say it: the two largest units ("1 h 30 min")."""
    left = round(seconds)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
