"""The failure table's rows of STS: a service account's token (irsa), and roles on top of other credentials."""

from __future__ import annotations

from typing import Final

from tests.credentials.openid import authorization_servers
from tests.credentials.sts.sts_server import CloseAtOnce, Failure, Refuse, Reset, Respond, Silence
from tests.outages.local_sources import AwsToken
from tests.outages.sources import ROLE, Irsa
from tests.outages.table import Failing, Places, Row, Settings

__all__ = ["ROWS"]


def sts(failure: Failure) -> Failing:
    def fail(source: Irsa, _: Places) -> None:
        source.sts.choose = lambda _: failure

    return fail


def endpoint(place: str) -> Failing:
    return lambda _, places: {"AWS_ENDPOINT_URL_STS": getattr(places, place)}


def token_file(content: str) -> Failing:
    def fail(source: Irsa, _: Places) -> Settings:
        path = source.folder / "other-token"
        path.write_text(content)
        return {"AWS_WEB_IDENTITY_TOKEN_FILE": str(path)}

    return fail


def expired_set(source: Irsa, _: Places) -> None:
    source.sts.lifetime_seconds = -60.0


def token_is_over(source: Irsa, places: Places) -> Settings | None:
    source.sts.choose = lambda _: Refuse("ExpiredTokenException", "Token expired", 400)
    claims = {"iss": "https://oidc.eks.example", "sub": "system:x", "exp": 1_700_000_000}
    return token_file(authorization_servers.make_jwt(claims))(source, places)


def role_refused(source: AwsToken, places: Places) -> Settings:
    source.write()
    return {"ASP_ASSUME_ROLE_ARNS": ROLE, "AWS_ENDPOINT_URL_STS": places.nobody}


STS_IS_ILL: Final = (
    "The proxy asks again by itself; if it stays so, see what AWS says about STS in this region (health.aws.amazon.com)"
)
IS_IT_STS: Final = "Check that this address is STS's, and that no proxy or firewall answers for it"
WAY_TO_STS: Final = (
    "The proxy asks again by itself; if it stays so, look for a firewall or proxy on the way that swallows the request"
)
REACH_STS: Final = (
    "Check that this address can be reached from here (DNS, routes, security groups, a VPC endpoint for STS, "
    "HTTPS_PROXY), or set AWS_ENDPOINT_URL_STS to one that can"
)

ROWS: Final = (
    Row(
        "STS answers 500",
        Irsa,
        sts(Respond(500, b"<html>down</html>", "text/html")),
        "STS at <sts>: answered with status 500 and no error of AWS's",
        STS_IS_ILL,
    ),
    Row(
        "STS answers 503 as AWS does",
        Irsa,
        sts(Refuse("ServiceUnavailable", "Try later", 503)),
        "STS at <sts>: could not assume arn:aws:iam::123456789012:role/reader (ServiceUnavailable: Try "
        'later); the token has iss "https://oidc.eks.example", sub "system:serviceaccount:a:b", no aud',
        STS_IS_ILL,
    ),
    Row(
        "STS throttles",
        Irsa,
        sts(Refuse("Throttling", "Rate exceeded", 400)),
        "STS at <sts>: could not assume arn:aws:iam::123456789012:role/reader (Throttling: Rate exceeded); "
        'the token has iss "https://oidc.eks.example", sub "system:serviceaccount:a:b", no aud',
        "The proxy asks again by itself; if it stays so, see who else in this account calls STS this often",
    ),
    Row(
        "STS refuses 403",
        Irsa,
        sts(Refuse("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")),
        "STS at <sts>: refused to assume arn:aws:iam::123456789012:role/reader (AccessDenied: Not authorized "
        'to perform sts:AssumeRoleWithWebIdentity); the token has iss "https://oidc.eks.example", sub '
        '"system:serviceaccount:a:b", no aud',
        "Let the trust policy of arn:aws:iam::123456789012:role/reader allow sts:AssumeRoleWithWebIdentity to "
        "the OpenID Connect provider of this issuer (Principal, Federated), with conditions that this sub and "
        "aud meet",
        "refused",
    ),
    Row(
        "STS refuses 400",
        Irsa,
        sts(Refuse("InvalidIdentityToken", "No OpenIDConnect provider found in your account", 400)),
        "STS at <sts>: refused to assume arn:aws:iam::123456789012:role/reader (InvalidIdentityToken: No "
        'OpenIDConnect provider found in your account); the token has iss "https://oidc.eks.example", sub '
        '"system:serviceaccount:a:b", no aud',
        "Make an OpenID Connect provider for this issuer in IAM, in the role's account, with this aud among "
        "its client ids (audiences); its keys must be reachable, and the token must be signed with one of "
        "them",
        "refused",
    ),
    Row(
        "STS refuses 401",
        Irsa,
        sts(Respond(401, b"<html>who are you</html>", "text/html")),
        "STS at <sts>: answered with status 401 and no error of AWS's",
        IS_IT_STS,
        "refused",
    ),
    Row(
        "STS is silent",
        Irsa,
        sts(Silence()),
        "STS at <sts>: did not answer in time",
        WAY_TO_STS,
    ),
    Row(
        "STS closes",
        Irsa,
        sts(CloseAtOnce()),
        "STS at <sts>: closed the connection without an answer",
        WAY_TO_STS,
    ),
    Row(
        "STS resets",
        Irsa,
        sts(Reset()),
        "STS at <sts>: closed the connection without an answer",
        WAY_TO_STS,
    ),
    Row(
        "STS answers a page",
        Irsa,
        sts(Respond(200, b"<html>welcome</html>", "text/html")),
        "STS at <sts>: answered with status 200 and something that STS never answers",
        IS_IT_STS,
    ),
    Row(
        "STS redirects",
        Irsa,
        sts(Respond(302, b"", "text/html", (("Location", "https://login.example/?a=b"),))),
        "STS at <sts>: answered with a redirect (302) to https://login.example, which is not followed",
        IS_IT_STS,
    ),
    Row(
        "STS answers expired credentials",
        Irsa,
        expired_set,
        "those from role arn:aws:iam::123456789012:role/reader by STS expired at <time>, and it is <time> by "
        "this machine's clock",
        "Check that clock, and why the source hands out what is over",
        "refused",
        "credentials_expired",
    ),
    Row(
        "nobody listens",
        Irsa,
        endpoint("nobody"),
        "STS at <nobody>: refused the connection",
        REACH_STS,
    ),
    Row(
        "certificate not trusted",
        Irsa,
        endpoint("untrusted"),
        "STS at <untrusted>: its certificate is not accepted (unable to get local issuer certificate)",
        "Set AWS_CA_BUNDLE to a PEM file of the authority that signed its certificate, if that is one of your own",
        "refused",
    ),
    Row(
        "no such name",
        Irsa,
        endpoint("no_name"),
        "STS at http://no-such-name.invalid: its name cannot be resolved (Name or service not known)",
        REACH_STS,
    ),
    Row(
        "no token file",
        Irsa,
        token_file("a.b.c"),
        "<folder>/other-token: no such file",
        "Set AWS_WEB_IDENTITY_TOKEN_FILE to the file of the token; in a pod of EKS, annotate the service "
        "account with eks.amazonaws.com/role-arn and make the pod anew",
        "refused",
        fail_later=lambda source: (source.folder / "other-token").unlink(),
        has_asked=False,
    ),
    Row(
        "token file empty",
        Irsa,
        token_file(""),
        "<folder>/other-token: is empty",
        "Wait until the token was written, or find out who should write it",
        "refused",
        has_asked=False,
    ),
    Row(
        "token file of something else",
        Irsa,
        token_file("two words"),
        "<folder>/other-token: holds something that is no token (it has spaces or other characters)",
        "Set AWS_WEB_IDENTITY_TOKEN_FILE to the file that holds the token and nothing else",
        "refused",
        has_asked=False,
    ),
    Row(
        "token is over",
        Irsa,
        token_is_over,
        "STS at <sts>: refused to assume arn:aws:iam::123456789012:role/reader (ExpiredTokenException: Token "
        'expired); the token has iss "https://oidc.eks.example", sub "system:x", no aud; '
        "<folder>/other-token: its token is over since <time>, <duration> ago",
        "Find out why nobody renews it: in a pod the kubelet does, if it is a projected volume and not a "
        "copy; also check this machine's clock",
        "refused",
    ),
    Row(
        "a role on top, nobody listens",
        AwsToken,
        role_refused,
        "STS at <nobody>: role 1 of 1, with the credentials of profile default in <folder>/credentials: "
        "refused the connection",
        REACH_STS,
    ),
)
