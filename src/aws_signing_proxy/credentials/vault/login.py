"""The ways to log in to Vault: AppRole, Kubernetes and JWT (Vault's HTTP API documentation, "Auth methods").

Each posts to auth/<mount>/login and is answered with the same `auth` object. What is sent is read anew for each
login: secret ids are renewed, and service account tokens rotate.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.vault.errors import Call, Purpose
from aws_signing_proxy.credentials.vault.files import read_secret
from aws_signing_proxy.credentials.vault.options import KUBERNETES_TOKEN_FILE, VaultOptions

__all__ = ["LOGIN_METHODS", "login_call", "login_files", "login_request"]

LOGIN_METHODS: Final = ("approle", "kubernetes", "jwt")

_SETTINGS: Final = {
    "approle": "ASP_VAULT_ROLE_ID and ASP_VAULT_SECRET_ID (or ASP_VAULT_SECRET_ID_FILE)",
    "kubernetes": "ASP_VAULT_AUTH_ROLE, ASP_VAULT_JWT_FILE and ASP_VAULT_AUTH_MOUNT",
    "jwt": "ASP_VAULT_AUTH_ROLE, ASP_VAULT_JWT_FILE and ASP_VAULT_AUTH_MOUNT",
}


def login_call(options: VaultOptions) -> Call:
    """Return what the login is called in messages."""
    method = options.auth_method
    path = f"auth/{_mount(options)}/login"
    return Call(Purpose.LOGIN, f"the login with {method} at {path}", path, _SETTINGS[method])


def login_files(options: VaultOptions) -> tuple[Path | None, ...]:
    """Return the files that the login reads."""
    if options.auth_method == "approle":
        return (options.secret_id_file,)
    if options.auth_method == "kubernetes":
        return (options.jwt_file or KUBERNETES_TOKEN_FILE,)
    return (options.jwt_file,) if options.auth_method == "jwt" else ()


def login_request(fetch: Fetch, options: VaultOptions) -> Callable[[Any], Any]:
    """Return what to ask the hvac client for; the secrets that it sends are known to `fetch`.

    Raises:
        CredentialsUnavailableError: A setting is missing, or a file with a secret cannot be used.
    """
    mount = _mount(options)
    if options.auth_method == "approle":
        role_id = _required(options.role_id, "ASP_VAULT_ROLE_ID")
        secret_id = _secret_id(fetch, options)
        return lambda hvac: hvac.auth.approle.login(role_id, secret_id, use_token=False, mount_point=mount)
    if options.auth_method == "kubernetes":
        role = _required(options.auth_role, "ASP_VAULT_AUTH_ROLE")
        jwt = read_secret(fetch, options.jwt_file or KUBERNETES_TOKEN_FILE, "ASP_VAULT_JWT_FILE")
        return lambda hvac: hvac.auth.kubernetes.login(role, jwt, use_token=False, mount_point=mount)
    if options.jwt_file is None:
        raise _unset("ASP_VAULT_JWT_FILE")
    # Without a role Vault takes the mount's default_role.
    jwt = read_secret(fetch, options.jwt_file, "ASP_VAULT_JWT_FILE")
    return lambda hvac: hvac.auth.jwt.jwt_login(options.auth_role, jwt, use_token=False, path=mount)


def _secret_id(fetch: Fetch, options: VaultOptions) -> str | None:
    """Return the secret id; None where the role needs none (bind_secret_id=false)."""
    if options.secret_id_file is not None:
        return read_secret(fetch, options.secret_id_file, "ASP_VAULT_SECRET_ID_FILE")
    return fetch.secret(options.secret_id) if options.secret_id else None


def _mount(options: VaultOptions) -> str:
    return (options.auth_mount or options.auth_method).strip("/").removeprefix("auth/")


def _required(value: str | None, setting: str) -> str:
    if not value:
        raise _unset(setting)
    return value


def _unset(setting: str) -> CredentialsUnavailableError:
    return CredentialsUnavailableError(
        (Attempt(setting, "is not set, and this login needs it", f"Set {setting}"),), is_conclusive=True
    )
