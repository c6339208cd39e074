"""How the client proves to the token endpoint who it is (RFC 6749 section 2.3, RFC 7523 section 2.2).

Authlib writes the request; what it is not trusted with is said where that is done. Secrets and keys are read from their
files at each request, so that a rotated one needs no restart.
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.openid.assertion_key import AssertionKey, KeyUnusableError
from aws_signing_proxy.credentials.openid.options import OpenIdOptions
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.secret_file import read_at_most

__all__ = ["authenticate", "client_secret", "method_for"]

_LARGEST_FILE_BYTES: Final = 1 << 20
# Keycloak takes no assertion that lives longer by default; a minute is also enough for clocks that differ a little.
_ASSERTION_SECONDS: Final = 60


def method_for(options: OpenIdOptions, supported: Collection[str] | None) -> str:
    """Return the method: the one that is set, else private_key_jwt where a key is, else a secret's.

    `supported` are the server's methods (RFC 8414, token_endpoint_auth_methods_supported), None where it names none,
    which means client_secret_basic.
    """
    if options.client_authentication is not None:
        return options.client_authentication
    if options.key_file is not None:
        return "private_key_jwt"
    if supported and "client_secret_basic" not in supported and "client_secret_post" in supported:
        return "client_secret_post"
    return "client_secret_basic"


def client_secret(fetch: Fetch, options: OpenIdOptions) -> str:
    """Return the client secret: from its file where one is set, without the line break at its end.

    Raises:
        CredentialsUnavailableError: There is none, or its file cannot be read.
    """
    if options.client_secret_file is not None:
        secret = _read(options.client_secret_file, "ASP_OPEN_ID_CLIENT_SECRET_FILE").rstrip("\r\n")
        if not secret.strip():
            raise _broken(
                f"client secret in {options.client_secret_file}",
                "is blank",
                "Write the client secret into the file that ASP_OPEN_ID_CLIENT_SECRET_FILE names",
            )
        return fetch.secret(secret)
    if not options.client_secret:
        raise _broken(
            "client secret",
            "is not set",
            "Set ASP_OPEN_ID_CLIENT_SECRET or ASP_OPEN_ID_CLIENT_SECRET_FILE "
            "(or ASP_OPEN_ID_CLIENT_KEY_FILE for private_key_jwt)",
        )
    return fetch.secret(options.client_secret)


def authenticate(
    fetch: Fetch,
    options: OpenIdOptions,
    method: str,
    body: str,
    *,
    audience: str,
    algorithms: Collection[str] | None,
) -> tuple[dict[str, str], str]:
    """Return the header fields and the body of a token request with the client's authentication.

    `audience` is the server as a client assertion names it, `algorithms` those that it takes (None: not known).

    Raises:
        CredentialsUnavailableError: The secret or the key is missing or unusable.
    """
    from authlib.oauth2.auth import ClientAuth

    if method == "private_key_jwt":
        secret = _assertion(fetch, options, audience, algorithms)
        how: Any = _put_assertion
    else:
        secret = client_secret(fetch, options)
        how = _put_basic if method == "client_secret_basic" else method
    fetch.secret(quote_plus(secret))
    client = ClientAuth(options.client_id, secret, how)
    _, fields, written = client.prepare("POST", "", {}, body)
    if "Authorization" in fields:
        fetch.secret(fields["Authorization"].removeprefix("Basic "))
    return fields, written


def _put_basic(
    client: Any, _method: str, uri: str, fields: dict[str, str], body: str
) -> tuple[str, dict[str, str], str]:
    """Write client_secret_basic as RFC 6749 section 2.3.1 has it: id and secret form-urlencoded, then Basic.

    Authlib leaves the encoding out, so that a secret with a "%" or a ":" in the id is refused by strict servers, and
    fails with an exception for anything beyond Latin-1.
    """
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    return uri, {**fields, "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}, body


def _put_assertion(
    client: Any, _method: str, uri: str, fields: dict[str, str], body: str
) -> tuple[str, dict[str, str], str]:
    """Put the signed assertion into the body (RFC 7521 section 4.2), and the client's id, which some servers want."""
    from authlib.common.urls import add_params_to_qs
    from authlib.oauth2.rfc7523.client import ASSERTION_TYPE

    parameters = [
        ("client_id", client.client_id),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", client.client_secret),
    ]
    return uri, fields, add_params_to_qs(body, parameters)


def _assertion(fetch: Fetch, options: OpenIdOptions, audience: str, algorithms: Collection[str] | None) -> str:
    """Return a new client assertion (RFC 7523 section 3): issuer and subject are the client, the audience the server.

    Authlib's own PrivateKeyJWT would let it live an hour.
    """
    if options.key_file is None:
        raise _broken("client key", "is not set", "Set ASP_OPEN_ID_CLIENT_KEY_FILE, which private_key_jwt signs with")
    source = f"client key in {options.key_file}"
    pem = fetch.secret(_read(options.key_file, "ASP_OPEN_ID_CLIENT_KEY_FILE"))
    try:
        key = AssertionKey(pem, algorithms)
        return fetch.secret(
            key.sign(
                client_id=options.client_id,
                audience=audience,
                key_id=options.key_id,
                issued_at=int(fetch.now()),
                seconds=_ASSERTION_SECONDS,
            )
        )
    except KeyUnusableError as error:
        raise _broken(source, error.reason, error.advice) from None


def _read(path: Path, setting: str) -> str:
    try:
        content = read_at_most(path, _LARGEST_FILE_BYTES)
    except OSError as error:
        raise _broken(
            f"file {path}",
            f"cannot be read: {(error.strerror or 'unknown error').lower()}",
            f"Let {setting} name a file that this user may read",
        ) from None
    advice = f"Let {setting} name the right file"
    if len(content) > _LARGEST_FILE_BYTES:
        raise _broken(f"file {path}", "is larger than a secret or a key is", advice)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _broken(f"file {path}", "is no text", advice) from None


def _broken(source: str, reason: str, advice: str) -> CredentialsUnavailableError:
    return CredentialsUnavailableError((Attempt(source, reason, advice),), is_conclusive=True)
