"""The `irsa` provider: IAM roles for service accounts, as EKS sets them up.

The kubelet writes a service account's token to a file and renews it there; STS exchanges it for a role's credentials
(Amazon EKS User Guide, "IAM roles for service accounts").
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import Credentials, InvalidValueError, clean_token
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.secret_file import NotAFileError, read_at_most
from aws_signing_proxy.credentials.sts.service import SecurityTokenService, StsRefusedError
from aws_signing_proxy.credentials.sts.session_name import valid_session_name
from aws_signing_proxy.credentials.sts.token_claims import TokenClaims, readable_duration, readable_time
from aws_signing_proxy.credentials.watched_files import FailureWatch

__all__ = ["IrsaOptions", "IrsaProvider"]

# AWS STS API Reference, AssumeRoleWithWebIdentity, WebIdentityToken.
_LONGEST_TOKEN: Final = 20_000
_VARIABLE: Final = "AWS_WEB_IDENTITY_TOKEN_FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class IrsaOptions:
    """Which role is assumed with the token in which file. Durations in seconds; None leaves that to the role."""

    role_arn: str
    token_file: Path
    session_name: str
    duration_seconds: int | None = None


class IrsaProvider:
    """Exchanges the token that is in the file at that time for credentials of the role."""

    name = "irsa"
    is_local = False

    def __init__(self, options: IrsaOptions, *, sts: SecurityTokenService) -> None:
        self._options = options
        self._session_name = valid_session_name(options.session_name)
        self._sts = sts
        self._file = FailureWatch(options.token_file)

    def has_changed(self) -> bool:
        """Whether the token file has changed since a fetch that failed: it was missing, or its token refused.

        After a success never: the kubelet renews the token long before it ends, and credentials that were had with it
        stay good.
        """
        return self._file.has_changed()

    def close(self, _fetch: Fetch) -> None:
        """Close the connections to STS. Nothing was lent."""
        self._sts.close()

    def retrieve(self, fetch: Fetch) -> Credentials:
        """Read the token file and return credentials of the role.

        Raises:
            CredentialsUnavailableError: The file holds no token, or STS gave nothing for it.
        """
        with self._file:
            return self._exchanged(fetch)

    def _exchanged(self, fetch: Fetch) -> Credentials:
        token = fetch.secret(self._read_token())
        over = self._look_at(fetch, TokenClaims.of(token))
        try:
            return self._sts.assume_role_with_web_identity(
                fetch,
                role_arn=self._options.role_arn,
                session_name=self._session_name,
                token=token,
                duration_seconds=self._options.duration_seconds,
            )
        except StsRefusedError as error:
            if over is None:
                raise
            # Last, because that one is advised: what STS says about such a token is a consequence.
            attempts = (*error.attempts, over)
            raise StsRefusedError(attempts, code=error.code, is_conclusive=error.is_conclusive) from None

    def _look_at(self, fetch: Fetch, claims: TokenClaims | None) -> Attempt | None:
        """Tell what the token says about itself; return what is wrong with it, if it says that it is over.

        STS is asked all the same: it may be this machine's clock that is wrong, and STS is who decides.
        """
        source = str(self._options.token_file)
        if claims is None:
            fetch.note(source, "read a token that is no JWT; what it says cannot be told")
            return None
        said = claims.describe()
        if claims.expires_at is not None:
            said += f", good until {readable_time(claims.expires_at)}"
        fetch.note(source, f"read a token with {said}")
        if claims.expires_at is None or not claims.is_expired(fetch.now()):
            return None
        ago = readable_duration(fetch.now() - claims.expires_at)
        reason = f"its token is over since {readable_time(claims.expires_at)}, {ago} ago"
        fetch.note(source, f"{reason}; STS is asked all the same")
        return Attempt(
            source,
            reason,
            "Find out why nobody renews it: in a pod the kubelet does, if it is a projected volume and not a copy; "
            "also check this machine's clock",
        )

    def _read_token(self) -> str:
        """Return the token in the file, which is read anew each time, because it is renewed there.

        Raises:
            CredentialsUnavailableError: It cannot be read or holds no token.
        """
        path = self._options.token_file
        advice = f"Set {_VARIABLE} to the file that holds the token and nothing else"
        try:
            # A line break behind the token is no part of it.
            content = read_at_most(path, _LONGEST_TOKEN + len("\r\n")).rstrip(b"\r\n")
        except FileNotFoundError:
            raise self._broken(
                "no such file",
                f"Set {_VARIABLE} to the file of the token; in a pod of EKS, annotate the service account with "
                "eks.amazonaws.com/role-arn and make the pod anew",
            ) from None
        except NotAFileError:
            raise self._broken("is no regular file", advice) from None
        except (OSError, ValueError) as error:
            words = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            raise self._broken(
                f"cannot be read ({words})",
                f"Let the user that runs the proxy (id {os.geteuid()}) read it; in a pod, fsGroup does that",
            ) from None
        if len(content) > _LONGEST_TOKEN:
            raise self._broken(f"holds more than the {_LONGEST_TOKEN} bytes that STS takes as a token", advice)
        try:
            token = clean_token("the file", content.decode())
        except (InvalidValueError, UnicodeDecodeError):
            raise self._broken("holds something that is no token (it has spaces or other characters)", advice) from None
        if not token:
            raise self._broken("is empty", "Wait until the token was written, or find out who should write it")
        return token

    def _broken(self, reason: str, advice: str) -> CredentialsUnavailableError:
        attempt = Attempt(str(self._options.token_file), reason, advice)
        return CredentialsUnavailableError((attempt,), is_conclusive=True)
