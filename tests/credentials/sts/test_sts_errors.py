"""What people are told when STS says no: its code, its words, and what to do about exactly that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.model import InvalidValueError
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from aws_signing_proxy.credentials.sts.service import AssumedRole, SecurityTokenService, StsRefusedError
from tests.credentials.sts.sts_scene import BASE, ROLE, ROLE_ARN, identity_token, service
from tests.credentials.sts.sts_server import Refuse, Respond, StsServer


@pytest.fixture(name="server")
def _server() -> Iterator[StsServer]:
    with StsServer() as server:
        yield server


@pytest.fixture(name="sts")
def _sts(server: StsServer) -> Iterator[SecurityTokenService]:
    sts = service(server)
    yield sts
    sts.close()


def refused_role(sts: SecurityTokenService, fetch: Fetch | None = None) -> StsRefusedError:
    with pytest.raises(StsRefusedError) as caught:
        sts.assume_role(fetch or Fetch(), BASE, ROLE)
    return caught.value


def refused_token(sts: SecurityTokenService, token: str | None = None) -> StsRefusedError:
    with pytest.raises(StsRefusedError) as caught:
        sts.assume_role_with_web_identity(Fetch(), role_arn=ROLE_ARN, session_name="x", token=token or identity_token())
    return caught.value


@pytest.mark.parametrize(
    ("code", "status", "is_conclusive", "advice"),
    [
        ("AccessDenied", 403, True, f"Name the caller as Principal in the trust policy of {ROLE_ARN}"),
        ("MalformedPolicyDocument", 400, True, "Correct the session policy"),
        ("PackedPolicyTooLarge", 400, True, "Shorten the session policy"),
        ("RegionDisabledException", 403, True, "activate STS for the region eu-central-1"),
        ("ValidationError", 400, True, "a session lasts 15 min at least"),
        ("InvalidClientTokenId", 403, True, "does not exist, was deleted or deactivated"),
        ("UnrecognizedClientException", 403, True, "does not exist, was deleted or deactivated"),
        ("ExpiredToken", 403, True, "Renew the credentials"),
        ("ExpiredTokenException", 400, True, "Renew the credentials"),
        ("SignatureDoesNotMatch", 403, True, "belongs to the access key id"),
        ("IncompleteSignature", 403, True, "no proxy on the way changes"),
        ("Throttling", 400, False, "see who else in this account"),
        ("RequestLimitExceeded", 503, False, "see who else in this account"),
        ("ServiceUnavailable", 503, False, "The proxy asks again by itself"),
        ("InternalFailure", 500, False, "The proxy asks again by itself"),
        ("NeverHeardOf", 400, True, "Look up this error of AssumeRole"),
        ("NeverHeardOf", 429, False, "see who else in this account"),
        ("NeverHeardOf", 500, False, "The proxy asks again by itself"),
    ],
)
def test_every_error_of_assume_role_has_its_advice(
    server: StsServer, sts: SecurityTokenService, code: str, status: int, is_conclusive: bool, advice: str
) -> None:
    server.fail(Refuse(code, "STS's own words", status))
    error = refused_role(sts)
    (attempt,) = error.attempts
    assert error.code == code
    assert error.is_conclusive is is_conclusive
    assert attempt.source == f"STS at {server.url}"
    assert (
        attempt.reason
        == f"{'refused to' if is_conclusive else 'could not'} assume {ROLE_ARN} ({code}: STS's own words)"
    )
    assert advice in attempt.advice
    assert not attempt.advice.endswith(".")


@pytest.mark.parametrize(
    ("code", "status", "is_conclusive", "advice"),
    [
        ("AccessDenied", 403, True, f"Let the trust policy of {ROLE_ARN} allow sts:AssumeRoleWithWebIdentity"),
        ("InvalidIdentityToken", 400, True, "Make an OpenID Connect provider for this issuer in IAM"),
        ("ExpiredTokenException", 400, True, "Get a new token"),
        ("IDPRejectedClaim", 403, True, "Get a new token"),
        ("IDPCommunicationError", 400, False, "let STS reach the issuer's /.well-known"),
        ("Throttling", 400, False, "see who else in this account"),
        ("ValidationError", 400, True, "Correct what the message names"),
    ],
)
def test_every_error_of_a_token_has_its_advice_and_tells_the_claims(
    server: StsServer, sts: SecurityTokenService, code: str, status: int, is_conclusive: bool, advice: str
) -> None:
    server.fail(Refuse(code, "Not authorized", status))
    error = refused_token(sts)
    assert (error.code, error.is_conclusive) == (code, is_conclusive)
    assert advice in error.attempts[0].advice
    assert (
        f'({code}: Not authorized); the token has iss "https://oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE", '
        'sub "system:serviceaccount:shop:proxy", aud "sts.amazonaws.com"' in error.attempts[0].reason
    )


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("AccessDenied", "Let the policy of the VPC endpoint for STS allow sts:GetCallerIdentity"),
        ("RegionDisabledException", "Let an administrator of the account activate STS for the region eu-central-1"),
        ("InvalidClientTokenId", "does not exist, was deleted or deactivated"),
    ],
)
def test_where_only_asked_who_we_are_no_role_is_advised(
    server: StsServer, sts: SecurityTokenService, code: str, advice: str
) -> None:
    server.fail(Refuse(code, "STS's own words", 403))
    with pytest.raises(StsRefusedError) as caught:
        sts.caller_identity(Fetch(), BASE)
    (attempt,) = caught.value.attempts
    assert attempt.reason == f"refused to say who we are ({code}: STS's own words)"
    assert advice in attempt.advice
    assert "role" not in attempt.advice


def test_a_long_message_does_not_crowd_out_the_claims(server: StsServer, sts: SecurityTokenService) -> None:
    server.fail(Refuse("AccessDenied", "words " * 500))
    reason = refused_token(sts).attempts[0].reason
    assert 'sub "system:serviceaccount:shop:proxy"' in reason
    assert len(reason) < 1000


def test_of_an_opaque_token_it_is_said_that_it_is_no_jwt(server: StsServer, sts: SecurityTokenService) -> None:
    server.fail(Refuse("InvalidIdentityToken", "The ID Token provided is not a valid JWT."))
    error = refused_token(sts, "opaque-token-of-some-provider")
    assert "it is no JWT" in error.attempts[0].reason
    assert "opaque" not in str(error)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "SignatureDoesNotMatch",
            "Signature expired: 20261125T100000Z is now earlier than 20261125T105500Z (- 15 min.)",
        ),
        ("SignatureDoesNotMatch", "Signature not yet current: 20261125T110000Z is still later than 20261125T101500Z"),
        ("SignatureDoesNotMatch", "The request signature we calculated does not match"),
        ("RequestExpired", ""),
    ],
)
@pytest.mark.parametrize(("offset", "direction"), [(7200.0, "2 h behind"), (-5400.0, "1 h 30 min ahead of")])
def test_a_wrong_clock_is_told_with_the_servers_time_and_the_difference(
    server: StsServer, sts: SecurityTokenService, code: str, message: str, offset: float, direction: str
) -> None:
    server.date_offset_seconds = offset
    server.fail(Refuse(code, message))
    advice = refused_role(sts).attempts[0].advice
    # A second may pass, and Date has none of its fractions.
    direction = direction.replace("2 h behind", "behind that of STS").replace(
        "1 h 30 min ahead of", "ahead of that of STS"
    )
    assert advice.startswith("Set this machine's clock: it is ")
    assert f"{direction}, which says " in advice
    assert "GMT" in advice
    assert any(words in advice for words in ("2 h", "1 h 59 min", "1 h 30 min", "1 h 29 min"))


def test_a_signature_that_does_not_match_while_the_clocks_agree_is_not_blamed_on_them(
    server: StsServer, sts: SecurityTokenService
) -> None:
    server.fail(Refuse("SignatureDoesNotMatch", "The request signature we calculated does not match"))
    assert "clock" not in refused_role(sts).attempts[0].advice


def test_an_expired_signature_is_blamed_on_the_clock_also_without_a_date(
    server: StsServer, sts: SecurityTokenService
) -> None:
    document = b"<R><Error><Code>RequestExpired</Code><Message>Request has expired.</Message></Error></R>"
    server.fail(Respond(403, document, fields=(("Date", "nonsense"),)))
    server.date_offset_seconds = 0
    assert refused_role(sts).attempts[0].advice.startswith("Set this machine's clock")


def test_what_sts_says_is_shown_without_secrets_and_on_one_line(server: StsServer, sts: SecurityTokenService) -> None:
    server.fail(Refuse("AccessDenied", "key base-secret-key\nsecond line"))
    known: list[str] = []

    def mask(text: str) -> str:
        for secret in known:
            text = text.replace(secret, "***")
        return text

    reason = refused_role(sts, Fetch(keep_secret=known.append, mask=mask)).attempts[0].reason
    assert reason.endswith("(AccessDenied: key *** second line)")


@pytest.mark.parametrize(
    ("answer", "reason", "is_conclusive"),
    [
        (Respond(200, b""), "status 200 and something that STS never answers", False),
        (Respond(200, b"not XML <SessionToken>leaked</SessionToken>"), "something that STS never answers", False),
        (Respond(200, b'{"json": true}', "application/json"), "something that STS never answers", False),
        (Respond(200, b"<html><body>Welcome</body></html>", "text/html"), "something that STS never answers", False),
        (Respond(200, b"\xff\xfe\x00"), "something that STS never answers", False),
        (Respond(200, b"<AssumeRoleResponse/>"), "something that STS never answers", False),
        (Respond(200, b"<R><AssumeRoleResult/></R>"), "answered without credentials", False),
        (
            Respond(200, b"<R><AssumeRoleResult><PackedPolicySize>6</PackedPolicySize></AssumeRoleResult></R>"),
            "answered without credentials",
            False,
        ),
        (
            Respond(200, b"<R><AssumeRoleResult><Credentials/></AssumeRoleResult></R>"),
            "unusable: there is no AccessKeyId",
            False,
        ),
        (
            Respond(
                200,
                b"<R><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId><Expiration>soon</Expiration>"
                b"</Credentials></AssumeRoleResult></R>",
            ),
            "something that STS never answers",
            False,
        ),
        (Respond(204, b""), "something that STS never answers", False),
        (Respond(400, b""), "answered with status 400 and something", True),
        (Respond(403, b"<html><body>Blocked</body></html>", "text/html"), "status 403 and no error of AWS's", True),
        (Respond(403, b"<html>Blocked<br></html>", "text/html"), "status 403 and something", True),
        (Respond(403, b"<Error>text</Error>"), "status 403 and no error of AWS's", True),
        (Respond(403, b"<R><Error>text</Error></R>"), "status 403 and", True),
        (Respond(403, b"<R><Error><Code/></Error></R>"), "status 403 and no error of AWS's", True),
        (Respond(404, b"Not found", "text/plain"), "status 404", True),
        (Respond(429, b"<html></html>", "text/html"), "status 429", False),
        (Respond(500, b""), "status 500 and no error of AWS's", False),
        (Respond(502, b"<html>Bad gateway</html>", "text/html"), "status 502 and no error of AWS's", False),
        (
            Respond(302, b"", fields=(("Location", "https://user:pass@login.example/a?b=c"),)),
            "answered with a redirect (302) to https://login.example/a, which is not followed",
            False,
        ),
        (Respond(307, b"<html/>"), "answered with a redirect (307), which is not followed", False),
        (Respond(301, b"", fields=(("Location", "http://[broken"),)), "answered with a redirect (301)", False),
    ],
)
def test_an_answer_that_is_not_that_of_sts_is_told_as_that(
    server: StsServer, sts: SecurityTokenService, answer: Respond, reason: str, is_conclusive: bool
) -> None:
    server.fail(answer)
    with pytest.raises(CredentialsUnavailableError) as caught:
        sts.assume_role(Fetch(), BASE, ROLE)
    assert not isinstance(caught.value, StsRefusedError)
    assert reason in caught.value.attempts[0].reason
    assert caught.value.is_conclusive is is_conclusive
    assert "leaked" not in str(caught.value)
    # It would keep the request alive, with its token.
    assert caught.value.__context__ is None or isinstance(caught.value.__context__, InvalidValueError)
    # And the client works on.
    assert sts.assume_role(Fetch(), BASE, ROLE).access_key_id


def test_a_caller_without_a_name_is_none(server: StsServer, sts: SecurityTokenService) -> None:
    body = b"<R><GetCallerIdentityResult><Account>1</Account></GetCallerIdentityResult></R>"
    server.fail(Respond(200, body))
    with pytest.raises(CredentialsUnavailableError, match="answered without the caller's account"):
        sts.caller_identity(Fetch(), BASE)


def test_what_cannot_be_sent_at_all_is_told_without_its_value(server: StsServer, sts: SecurityTokenService) -> None:
    with pytest.raises(CredentialsUnavailableError, match="Invalid length for parameter RoleArn") as caught:
        sts.assume_role(Fetch(), BASE, AssumedRole(arn="reader"))
    assert caught.value.is_conclusive
    with pytest.raises(CredentialsUnavailableError, match="Invalid length for parameter WebIdentityToken") as caught:
        sts.assume_role_with_web_identity(Fetch(), role_arn=ROLE_ARN, session_name="x", token="tok")
    assert "tok," not in str(caught.value)
    assert not server.requests
