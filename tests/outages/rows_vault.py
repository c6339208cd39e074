"""The failure table's rows of Vault: its token, its logins, what it is read for, and Vault itself."""

from __future__ import annotations

from typing import Any, Final

from tests.credentials.vault.vault_backend import AwsRole, Login
from tests.credentials.vault.vault_server import CLOSE, SILENCE, Failure
from tests.outages.sources import Vault
from tests.outages.table import Failing, Places, Row, Settings

__all__ = ["ROWS"]


def fails(prefix: str, *arguments: Any, **failure: Any) -> Failing:
    def fail(source: Vault, _: Places) -> None:
        source.vault.fail(prefix, Failure(**failure))

    return fail


def read(**failure: Any) -> Failing:
    return fails("aws/", **failure)


def role(error: tuple[int, str]) -> Failing:
    def fail(source: Vault, _: Places) -> None:
        source.vault.backend.roles["aws/sts/reader"] = AwsRole(error=error)

    return fail


def no_role(source: Vault, _: Places) -> None:
    source.vault.backend.roles.clear()


def sealed(source: Vault, _: Places) -> None:
    source.vault.is_sealed = True


def dead_token(source: Vault, _: Places) -> None:
    source.vault.backend.tokens.clear()


def no_policy(source: Vault, _: Places) -> None:
    source.vault.backend.policies["proxy"] = {}


def at(place: str) -> Failing:
    return lambda _, places: {"ASP_VAULT_URL": getattr(places, place)}


def app_role(**sent: str) -> Failing:
    def fail(source: Vault, _: Places) -> Settings:
        source.vault.backend.logins["approle"] = Login("approle")
        return {
            "ASP_VAULT_AUTH_TOKEN": "",
            "ASP_VAULT_ROLE_ID": "role-id-1",
            "ASP_VAULT_SECRET_ID": "planted-secret-id",
        } | sent

    return fail


def kubernetes(jwt: str | None, **sent: str) -> Failing:
    def fail(source: Vault, _: Places) -> Settings:
        source.vault.backend.logins["kubernetes"] = Login("kubernetes")
        path = source.folder / "jwt"
        if jwt is not None:
            path.write_text(jwt)
        return {
            "ASP_VAULT_AUTH_TOKEN": "",
            "ASP_VAULT_AUTH_METHOD": "kubernetes",
            "ASP_VAULT_AUTH_ROLE": "dev",
            "ASP_VAULT_JWT_FILE": str(path),
        } | sent

    return fail


def login_500(source: Vault, places: Places) -> Settings | None:
    source.vault.fail("auth/approle", Failure(status=500))
    return app_role()(source, places)


def no_mount(source: Vault, places: Places) -> Settings | None:
    sent = app_role()(source, places)
    source.vault.backend.logins.clear()
    return sent


def token_file(content: str | None) -> Failing:
    def fail(source: Vault, _: Places) -> Settings:
        path = source.folder / "vault-token"
        if content is not None:
            path.write_text(content)
        return {"ASP_VAULT_AUTH_TOKEN": "", "ASP_VAULT_AUTH_TOKEN_FILE": str(path)}

    return fail


ROWS: Final = (
    Row(
        "reading answers 500",
        Vault,
        read(status=500),
        "Vault <vault>: reading aws/sts/reader was answered 500 (internal error)",
        "Look into Vault's log at the time of this message; the proxy asks again by itself",
    ),
    Row(
        "a gateway answers 502",
        Vault,
        read(status=502, body=b"<html>bad gateway</html>", content_type="text/html"),
        "Vault <vault>: reading aws/sts/reader was answered 502 (text/html, not the JSON object that Vault writes)",
        "AWS throttles Vault, or the load balancer finds no node: see their logs; the proxy asks again by itself",
    ),
    Row(
        "reading is throttled",
        Vault,
        read(status=429, body=b'{"errors":["request path \\"aws/sts/reader\\": rate limit quota exceeded"]}'),
        'Vault <vault>: reading aws/sts/reader was answered 429 (request path "aws/sts/reader": rate limit '
        "quota exceeded)",
        "Raise the quota that Vault names (rate limit, lease count), or set ASP_VAULT_URL to the active node "
        "if this one is a standby; the proxy asks again by itself",
    ),
    Row(
        "policy forbids",
        Vault,
        no_policy,
        "Vault <vault>: reading aws/sts/reader was answered 403 (1 error occurred: * permission denied)",
        'Give the token a policy with path "aws/sts/reader" { capabilities = ["read"] }; or the token has '
        "ended, was revoked, or belongs to another namespace: check ASP_VAULT_AUTH_TOKEN, and "
        "ASP_VAULT_NAMESPACE",
        "refused",
    ),
    Row(
        "token is dead",
        Vault,
        dead_token,
        "Vault <vault>: reading aws/sts/reader was answered 403 (2 errors occurred: * permission denied * "
        "invalid token)",
        "Check ASP_VAULT_AUTH_TOKEN: the token has ended or was revoked, or belongs to another namespace",
        "refused",
    ),
    Row(
        "no such role",
        Vault,
        no_role,
        'Vault <vault>: reading aws/sts/reader was answered 400 (Role "reader" not found)',
        "Create the role in Vault (vault list <mount>/roles shows those there are), or mend ASP_VAULT_PATH",
        "refused",
    ),
    Row(
        "AWS refuses Vault",
        Vault,
        role(
            (400, "Error assuming role: AccessDenied: User: arn:aws:iam::1:user/vault is not authorized to perform it")
        ),
        "Vault <vault>: reading aws/sts/reader was answered 400 (Error assuming role: AccessDenied: User: "
        "arn:aws:iam::1:user/vault is not authorized to perform it)",
        "Allow Vault's own AWS credentials (config/root of the secrets engine) the action that AWS names",
        "refused",
    ),
    Row(
        "a gateway answers 401",
        Vault,
        read(status=401, body=b"<html>log in</html>", content_type="text/html"),
        "Vault <vault>: reading aws/sts/reader was answered 401 (text/html, not the JSON object that Vault writes)",
        "Vault itself never answers 401: let the gateway in front of it pass the proxy's requests, or set "
        "ASP_VAULT_URL to Vault's own address",
        "refused",
    ),
    Row(
        "sealed",
        Vault,
        sealed,
        "Vault <vault>: looking the token up was answered 503 (Vault is sealed)",
        "Unseal Vault (vault operator unseal) or see why its auto-unseal fails; the proxy asks again by itself",
    ),
    Row(
        "silent",
        Vault,
        read(kind=SILENCE),
        "Vault <vault>: reading aws/sts/reader failed: it did not answer in time",
        "See whether Vault is overloaded and whether a firewall drops the connection; the proxy asks again by itself",
    ),
    Row(
        "closes",
        Vault,
        read(kind=CLOSE),
        "Vault <vault>: reading aws/sts/reader failed: it closed the connection without an answer",
        "See whether Vault restarts, whether ASP_VAULT_URL should begin with https://, whether the listener "
        "demands another client certificate (ASP_VAULT_CLIENT_CERT), and what stands between; the proxy asks "
        "again by itself",
    ),
    Row(
        "answers a page",
        Vault,
        read(status=200, body=b"<html>Vault UI</html>", content_type="text/html"),
        "Vault <vault>: reading aws/sts/reader gave an answer that is no JSON object (text/html)",
        "Check ASP_VAULT_URL: what answers there is not Vault, or something rewrites its answers",
    ),
    Row(
        "redirects to a login page",
        Vault,
        read(status=302, headers=(("Location", "https://login.example/?a=b"),)),
        "Vault <vault>: reading aws/sts/reader failed: it answered 302 and wants to send the proxy to "
        "https://login.example, which is not how Vault's standby nodes redirect",
        "Set ASP_VAULT_URL to Vault's own address: the token is not sent on to where a gateway, a login page "
        "or another scheme is",
        "refused",
    ),
    Row(
        "wraps its answer",
        Vault,
        read(status=200, body=b'{"wrap_info":{"token":"hvs.planted-wrapping","ttl":60}}'),
        "Vault <vault>: reading aws/sts/reader gave a wrapped answer, which somebody has to approve or unwrap",
        "Let the policy for aws/sts/reader demand neither min_wrapping_ttl nor a control group",
        "refused",
    ),
    Row(
        "answers without keys",
        Vault,
        read(status=200, body=b'{"data":{"foo":"bar"}}'),
        "Vault <vault>: reading aws/sts/reader gave an answer without data.access_key",
        "Set ASP_VAULT_PATH to a path of an AWS secrets engine: <mount>/creds/<role>, say",
        "refused",
    ),
    Row(
        "nobody listens",
        Vault,
        at("nobody"),
        "Vault <nobody>: looking the token up failed: it refused the connection",
        "Start Vault, or check host and port in ASP_VAULT_URL; the proxy asks again by itself",
    ),
    Row(
        "certificate not trusted",
        Vault,
        at("untrusted"),
        "Vault <untrusted>: looking the token up failed: its certificate is not accepted (unable to get local "
        "issuer certificate)",
        "Set ASP_VAULT_CA_BUNDLE to a PEM file with the certificate of the authority that signed Vault's",
        "refused",
    ),
    Row(
        "no such name",
        Vault,
        at("no_name"),
        "Vault http://no-such-name.invalid: looking the token up failed: its name cannot be resolved (Name or service "
        "not known)",
        "Check the host in ASP_VAULT_URL, and the DNS of this machine; the proxy asks again by itself",
    ),
    Row(
        "approle with a wrong secret id",
        Vault,
        app_role(ASP_VAULT_SECRET_ID="another-secret-id"),
        "Vault <vault>: the login with approle at auth/approle/login was answered 400 (invalid role or secret ID)",
        "Check ASP_VAULT_ROLE_ID and ASP_VAULT_SECRET_ID (or ASP_VAULT_SECRET_ID_FILE): Vault does not accept "
        "this login (its server log says more)",
        "refused",
    ),
    Row(
        "approle answers 500",
        Vault,
        login_500,
        "Vault <vault>: the login with approle at auth/approle/login was answered 500 (internal error)",
        "Look into Vault's log at the time of this message; the proxy asks again by itself",
    ),
    Row(
        "approle is not mounted",
        Vault,
        no_mount,
        "Vault <vault>: the login with approle at auth/approle/login was answered 403 (1 error occurred: * "
        "permission denied)",
        "Check ASP_VAULT_ROLE_ID and ASP_VAULT_SECRET_ID (or ASP_VAULT_SECRET_ID_FILE), and "
        "ASP_VAULT_NAMESPACE: Vault answers so where the login is not allowed, and where no login method is "
        "mounted at that path",
        "refused",
    ),
    Row(
        "kubernetes with a wrong role",
        Vault,
        kubernetes("planted.jwt.1", ASP_VAULT_AUTH_ROLE="other"),
        "Vault <vault>: the login with kubernetes at auth/kubernetes/login was answered 400 (invalid role "
        'name "other")',
        "Check ASP_VAULT_AUTH_ROLE, ASP_VAULT_JWT_FILE and ASP_VAULT_AUTH_MOUNT: Vault does not accept this "
        "login (its server log says more)",
        "refused",
    ),
    Row(
        "kubernetes with a wrong token",
        Vault,
        kubernetes("wrong.jwt.1"),
        "Vault <vault>: the login with kubernetes at auth/kubernetes/login was answered 403 (1 error "
        "occurred: * permission denied)",
        "Check ASP_VAULT_AUTH_ROLE, ASP_VAULT_JWT_FILE and ASP_VAULT_AUTH_MOUNT, and ASP_VAULT_NAMESPACE: "
        "Vault answers so where the login is not allowed, and where no login method is mounted at that path",
        "refused",
    ),
    Row(
        "kubernetes without a token file",
        Vault,
        kubernetes(None),
        "<folder>/jwt: no such file",
        "See whether the program that writes it runs, or set ASP_VAULT_JWT_FILE to the right path",
        has_asked=False,
    ),
    Row(
        "kubernetes with an empty token file",
        Vault,
        kubernetes(""),
        "<folder>/jwt: is empty",
        "See whether the program that writes it runs, or set ASP_VAULT_JWT_FILE to another file",
        has_asked=False,
    ),
    Row(
        "no token file",
        Vault,
        token_file(None),
        "<folder>/vault-token: no such file",
        "See whether the program that writes it runs, or set ASP_VAULT_AUTH_TOKEN_FILE to the right path",
        has_asked=False,
    ),
    Row(
        "token file with JSON",
        Vault,
        token_file('{"token":"x"}'),
        "<folder>/vault-token: holds JSON (a wrapped or encrypted token, say)",
        "Configure the agent's sink without wrap_ttl and dh_type, or set ASP_VAULT_AUTH_TOKEN_FILE to a plain "
        "token's file",
        "refused",
        has_asked=False,
    ),
)
