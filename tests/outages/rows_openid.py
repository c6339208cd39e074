"""The failure table's rows of oidc: the authorization server in each dialect, its discovery, and STS after it."""

from __future__ import annotations

from typing import Any, Final

from tests.credentials.openid.authorization_servers import Failure
from tests.credentials.sts.sts_server import Refuse, Silence
from tests.outages.sources import OpenId
from tests.outages.table import Failing, Places, Row, Settings

__all__ = ["ROWS"]


def login(**failure: Any) -> Failing:
    def fail(source: OpenId, _: Places) -> None:
        source.server.failure = Failure(**failure)

    return fail


def at(place: str) -> Failing:
    def fail(_: OpenId, places: Places) -> Settings:
        return {"ASP_OPEN_ID_AUTH_SERVER_URL": f"{getattr(places, place)}/token"}

    return fail


def oauth(**failure: Any) -> Failing:
    def fail(source: OpenId, _: Places) -> Settings:
        source.server.failure = Failure(**failure)
        return {"ASP_OPEN_ID_DIALECT": "oauth2"}

    return fail


def either(**failure: Any) -> Failing:
    def fail(source: OpenId, _: Places) -> Settings:
        source.server.failure = Failure(**failure)
        return {"ASP_OPEN_ID_DIALECT": "auto"}

    return fail


def discovery(source: OpenId, _: Places) -> Settings:
    source.server.failure = Failure(status=404, body=b"<html>no</html>", fields={"Content-Type": "text/html"})
    return {
        "ASP_OPEN_ID_AUTH_SERVER_URL": "",
        "ASP_OPEN_ID_ISSUER_URL": source.server.origin,
        "ASP_OPEN_ID_DIALECT": "oauth2",
    }


def sts(failure: Any) -> Failing:
    def fail(source: OpenId, _: Places) -> None:
        source.sts.choose = lambda _: failure

    return fail


def sts_nobody(_: OpenId, places: Places) -> Settings:
    return {"AWS_ENDPOINT_URL_STS": places.nobody}


def secret_file(content: str | None) -> Failing:
    def fail(source: OpenId, _: Places) -> Settings:
        path = source.folder / "client-secret"
        if content is not None:
            path.write_text(content)
        return {"ASP_OPEN_ID_CLIENT_SECRET": "", "ASP_OPEN_ID_CLIENT_SECRET_FILE": str(path)}

    return fail


def key_file(source: OpenId, _: Places) -> Settings:
    path = source.folder / "key.pem"
    path.write_text("no key")
    return {"ASP_OPEN_ID_CLIENT_SECRET": "", "ASP_OPEN_ID_CLIENT_KEY_FILE": str(path), "ASP_OPEN_ID_DIALECT": "oauth2"}


def expired(source: OpenId, _: Places) -> None:
    source.sts.lifetime_seconds = -60.0


ROWS: Final = (
    Row(
        "server answers 500",
        OpenId,
        login(status=500, body=b"<html>down</html>", fields={"Content-Type": "text/html"}),
        "authorization server <login>/token: answered 500 Internal Server Error and a page (text/html), no JSON",
        "Look into the authorization server's log, and whether the server or a gateway before it is overloaded",
    ),
    Row(
        "server answers 503 and asks to wait",
        OpenId,
        login(status=503, body=b'{"error":"temporarily_unavailable"}', fields={"Retry-After": "30"}),
        "authorization server <login>/token: answered 503 Service Unavailable with error "
        '"temporarily_unavailable"; it asks to wait 30 s',
        "The authorization server says that this passes; the proxy asks again by itself",
        next_try_seconds=30.0,
    ),
    Row(
        "server limits",
        OpenId,
        login(status=429, body=b'{"message":"slow down"}'),
        'authorization server <login>/token: answered 429 Too Many Requests with message "slow down"',
        "Raise the client's limit at the authorization server, or see who else asks; the proxy asks again itself",
    ),
    Row(
        "server refuses 401",
        OpenId,
        login(status=401, body=b'{"message":"unknown identity"}'),
        'authorization server <login>/token: answered 401 Unauthorized with message "unknown identity"',
        "Check ASP_OPEN_ID_CLIENT_ID and the client secret",
        "refused",
    ),
    Row(
        "server refuses 403",
        OpenId,
        login(status=403, body=b"<html>forbidden</html>", fields={"Content-Type": "text/html"}),
        "authorization server <login>/token: answered 403 Forbidden and a page (text/html), no JSON",
        "Allow this client (or this machine, at a gateway before the server) to have tokens",
        "refused",
    ),
    Row(
        "server refuses 400 in OAuth's words",
        OpenId,
        oauth(status=400, body=b'{"error":"invalid_scope","error_description":"aws is not allowed"}'),
        'authorization server <login>/token: answered 400 Bad Request with error "invalid_scope", '
        'error_description "aws is not allowed"',
        "Set ASP_OPEN_ID_SCOPE to scopes that the server knows and allows this client",
        "refused",
    ),
    Row(
        "server refuses the client in OAuth's words",
        OpenId,
        oauth(status=401, body=b'{"error":"invalid_client","error_description":"Client authentication failed"}'),
        'authorization server <login>/token: answered 401 Unauthorized with error "invalid_client", '
        'error_description "Client authentication failed"',
        "Check ASP_OPEN_ID_CLIENT_ID and the client secret; a server that wants the secret in the body needs "
        "ASP_OPEN_ID_CLIENT_AUTH=client_secret_post",
        "refused",
    ),
    Row(
        "server refuses both dialects",
        OpenId,
        either(status=400, body=b'{"error":"unauthorized_client"}'),
        'authorization server <login>/token: answered 400 Bad Request with error "unauthorized_client" '
        "(dialect json); authorization server <login>/token: answered 400 Bad Request with error "
        '"unauthorized_client" (dialect oauth2)',
        "Allow this client the client credentials grant at the authorization server (Keycloak: service accounts)",
        "refused",
    ),
    Row(
        "server knows no such path",
        OpenId,
        login(status=404, body=b"not found", fields={"Content-Type": "text/plain"}),
        "authorization server <login>/token: answered 404 Not Found and text/plain that is no JSON object",
        "Check ASP_OPEN_ID_AUTH_SERVER_URL and its path: the server has nothing there",
        "refused",
    ),
    Row(
        "server redirects",
        OpenId,
        login(status=302, fields={"Location": "https://login.example/?a=b"}),
        "authorization server <login>/token: answered 302 Found, a redirect to https://login.example, which "
        "is not followed",
        "Set ASP_OPEN_ID_AUTH_SERVER_URL to the address that finally answers; the client's secret is not sent "
        "elsewhere",
        "refused",
    ),
    Row(
        "server answers a page",
        OpenId,
        login(status=200, body=b"<html>log in</html>", fields={"Content-Type": "text/html"}),
        "authorization server <login>/token: answered 200 OK, but no JSON object",
        "Check ASP_OPEN_ID_AUTH_SERVER_URL: it is to be the token endpoint, not a page for people",
        "refused",
    ),
    Row(
        "server answers no token",
        OpenId,
        login(status=200, body=b'{"ok":true}'),
        "authorization server <login>/token: answered without a token (no idToken, id_token or access_token)",
        "Check that the URL is the authorization server's token endpoint, and ASP_OPEN_ID_DIALECT",
        "refused",
    ),
    Row(
        "server is silent",
        OpenId,
        login(is_silent=True),
        "authorization server <login>/token: did not answer in time",
        "Check that the authorization server is up and that a firewall lets this machine reach it",
    ),
    Row(
        "server closes",
        OpenId,
        login(closes=True),
        "authorization server <login>/token: closed the connection without an answer",
        "Look into the authorization server's log, and check scheme and port of ASP_OPEN_ID_AUTH_SERVER_URL",
    ),
    Row(
        "server speaks no HTTP",
        OpenId,
        login(raw=b"SSH-2.0-x\r\n"),
        "authorization server <login>/token: answered something that is not HTTP",
        "Check scheme and port of ASP_OPEN_ID_AUTH_SERVER_URL: a server with TLS is reached by https://",
    ),
    Row(
        "nobody listens",
        OpenId,
        at("nobody"),
        "authorization server <nobody>/token: refused the connection",
        "Check that the authorization server runs, and the host and port of ASP_OPEN_ID_AUTH_SERVER_URL",
    ),
    Row(
        "certificate not trusted",
        OpenId,
        at("untrusted"),
        "authorization server <untrusted>/token: its certificate is not accepted (unable to get local issuer "
        "certificate)",
        "Let ASP_OPEN_ID_CA_BUNDLE name a file with the certificate of the authority that issued it, or check "
        "the host name in ASP_OPEN_ID_AUTH_SERVER_URL",
        "refused",
    ),
    Row(
        "no such name",
        OpenId,
        at("no_name"),
        "authorization server http://no-such-name.invalid/token: its name cannot be resolved (Name or service "
        "not known)",
        "Check the host name in ASP_OPEN_ID_AUTH_SERVER_URL, and this machine's DNS",
    ),
    Row(
        "no discovery document",
        OpenId,
        discovery,
        "authorization server <login>/.well-known/openid-configuration: answered 404 Not Found and a page "
        "(text/html), no JSON; authorization server <login>/.well-known/oauth-authorization-server: answered "
        "404 Not Found and a page (text/html), no JSON",
        "Set ASP_OPEN_ID_ISSUER_URL to the issuer as the server writes it, without "
        "/.well-known/openid-configuration, or ASP_OPEN_ID_AUTH_SERVER_URL to the token endpoint itself",
        "refused",
    ),
    Row(
        "no secret file",
        OpenId,
        secret_file(None),
        "file <folder>/client-secret: cannot be read: no such file or directory",
        "Let ASP_OPEN_ID_CLIENT_SECRET_FILE name a file that this user may read",
        "refused",
        has_asked=False,
    ),
    Row(
        "secret file empty",
        OpenId,
        secret_file("\n"),
        "client secret in <folder>/client-secret: is blank",
        "Write the client secret into the file that ASP_OPEN_ID_CLIENT_SECRET_FILE names",
        "refused",
        has_asked=False,
    ),
    Row(
        "key file is none",
        OpenId,
        key_file,
        "client key in <folder>/key.pem: holds no PEM",
        "Let ASP_OPEN_ID_CLIENT_KEY_FILE name the client's private key in PEM (RSA or EC), without a passphrase",
        "refused",
        has_asked=False,
    ),
    Row(
        "STS refuses the token",
        OpenId,
        sts(Refuse("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")),
        "STS at <sts>: refused to assume arn:aws:iam::123456789012:role/reader (AccessDenied: Not authorized "
        'to perform sts:AssumeRoleWithWebIdentity); the token has iss "https://login.example.com", sub '
        '"client-1", aud "sts.amazonaws.com"',
        "Let the trust policy of arn:aws:iam::123456789012:role/reader allow sts:AssumeRoleWithWebIdentity to "
        "the OpenID Connect provider of this issuer (Principal, Federated), with conditions that this sub and "
        "aud meet",
        "refused",
    ),
    Row(
        "STS answers 500",
        OpenId,
        sts(Refuse("InternalFailure", "oops", 500)),
        "STS at <sts>: could not assume arn:aws:iam::123456789012:role/reader (InternalFailure: oops); the "
        'token has iss "https://login.example.com", sub "client-1", aud "sts.amazonaws.com"',
        "The proxy asks again by itself; if it stays so, see what AWS says about STS in this region "
        "(health.aws.amazon.com)",
    ),
    Row(
        "STS is silent",
        OpenId,
        sts(Silence()),
        "STS at <sts>: did not answer in time",
        "The proxy asks again by itself; if it stays so, look for a firewall or proxy on the way that "
        "swallows the request",
    ),
    Row(
        "nobody listens at STS",
        OpenId,
        sts_nobody,
        "STS at <nobody>: refused the connection",
        "Check that this address can be reached from here (DNS, routes, security groups, a VPC endpoint for "
        "STS, HTTPS_PROXY), or set AWS_ENDPOINT_URL_STS to one that can",
    ),
    Row(
        "STS answers expired credentials",
        OpenId,
        expired,
        "those from role arn:aws:iam::123456789012:role/reader by STS expired at <time>, and it is <time> by "
        "this machine's clock",
        "Check that clock, and why the source hands out what is over",
        "refused",
        "credentials_expired",
    ),
)
