"""What botocore's exceptions mean, in words for people, with what to do about each.

Imports botocore: for `sdk_chain` alone. None of the messages of these exceptions is passed on unless it is known to
hold names only: some quote a file's line, a program's standard error, a server's whole answer.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from botocore import exceptions
from botocore.parsers import ResponseParserError

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.failures import ExchangeError, Kind
from aws_signing_proxy.credentials.http.trusted_certificates import CertificateFileError
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError
from aws_signing_proxy.credentials.sdk.credential_process import SHORTAGES
from aws_signing_proxy.credentials.sdk.places import Places

__all__ = ["explain"]

_REFUSALS: Final = frozenset({400, 401, 403, 404})
# These come with status 400, and pass.
_PASSING_CODES: Final = frozenset({"IDPCommunicationError", "RequestLimitExceeded", "TooManyRequestsException"})
_TRUST: Final = "Let the role's trust policy allow this identity, and this identity's own policy allow the call"
_ADVICE_FOR_CODE: Final = {
    "AccessDenied": _TRUST,
    "AccessDeniedException": _TRUST,
    "ExpiredToken": "Renew the credentials that the role is assumed with",
    "ExpiredTokenException": "Look at what writes the web identity token: the one in the file has expired",
    "InvalidClientTokenId": "Correct the key pair that the role is assumed with: AWS does not know it",
    "InvalidIdentityToken": "Look at the identity provider in IAM: its issuer, audience and keys must fit the token",
    "SignatureDoesNotMatch": "Correct the secret access key that the role is assumed with",
    "RegionDisabledException": "Activate STS in this region for the account, or set AWS_REGION to another",
    "ForbiddenException": "Let an administrator of IAM Identity Center assign the account and permission set",
    "ResourceNotFoundException": "Correct sso_account_id and sso_role_name in the profile",
}

_ADVICE_FOR_KIND: Final = {
    Kind.UNTRUSTED: "Set AWS_CA_BUNDLE to the authority's certificate where a private one is used",
    Kind.WRONG_NAME: "Set AWS_ENDPOINT_URL_STS, or whatever names this address, to a name of the certificate's",
    Kind.EXPIRED: "Look at the clock of this machine, and at what answers there",
    Kind.NOT_YET_VALID: "Look at the clock of this machine, and at what answers there",
    Kind.NOT_TLS: "Look whether this address speaks TLS; else write http://",
}


class _Meaning(NamedTuple):
    reason: str
    advice: str
    is_conclusive: bool


def explain(
    error: Exception, *, method: str, places: Places, endpoint: str, fetch: Fetch
) -> CredentialsUnavailableError:
    """Return what is to be raised for `error`, which botocore raised while it asked the place `method`.

    `endpoint` is the address of the AWS service that it asked last, empty where it asked none.
    """
    if isinstance(error, CertificateFileError):
        return CredentialsUnavailableError((error.attempt,), is_conclusive=True)
    meaning = (
        _of_service(error, endpoint, fetch)
        or _of_network(error, endpoint, fetch)
        or _of_login(error, places)
        or _of_configuration(error, places, fetch)
        or _of_data(error, method)
    )
    attempt = Attempt(places.source(method), fetch.shown(meaning.reason), meaning.advice)
    return CredentialsUnavailableError((attempt,), is_conclusive=meaning.is_conclusive)


def _of_service(error: Exception, endpoint: str, _fetch: Fetch) -> _Meaning | None:
    if not isinstance(error, exceptions.ClientError):
        return None
    response: dict[str, Any] = error.response if isinstance(error.response, dict) else {}
    fields = response.get("Error") or {}
    code, message = str(fields.get("Code") or "no code"), str(fields.get("Message") or "no message")
    status = (response.get("ResponseMetadata") or {}).get("HTTPStatusCode")
    is_refusal = status in _REFUSALS and code not in _PASSING_CODES and "Throttl" not in code
    verb = "refused" if is_refusal else "failed"
    reason = f"{endpoint} {verb} {error.operation_name} with status {status}: {code}: {message}"
    other = "Read what AWS says of this error code" if is_refusal else "It is asked again; see AWS's health dashboard"
    return _Meaning(reason, _ADVICE_FOR_CODE.get(code, other), is_refusal)


def _of_network(error: Exception, endpoint: str, _fetch: Fetch) -> _Meaning | None:
    advice = "Look at the network, DNS, and HTTPS_PROXY and NO_PROXY"
    # A service that was asked, and then a value that is missing or none: nothing else of the chain reads values.
    is_of_answer = endpoint != "" and isinstance(error, KeyError | TypeError | ValueError)
    if is_of_answer or isinstance(error, ResponseParserError):
        return _Meaning(f"the answer of {endpoint} is none of AWS's", advice, is_conclusive=False)
    if not isinstance(error, ExchangeError):
        return None
    failure = error.failure
    return _Meaning(failure.of(endpoint), failure.advice(_ADVICE_FOR_KIND, advice), failure.is_conclusive)


def _of_login(error: Exception, places: Places) -> _Meaning | None:
    run = f"Run `{places.sso_login}` as the user that runs the proxy"
    match error:
        case exceptions.UnauthorizedSSOTokenError() | exceptions.TokenRetrievalError():
            return _Meaning("the SSO login has expired", run, is_conclusive=True)
        case exceptions.SSOTokenLoadError():
            return _Meaning("nobody has logged in, or the login's file cannot be used", run, is_conclusive=True)
        case exceptions.MissingDependencyException():
            advice = "Install it beside the proxy, or use SSO or a role instead of a login session"
            return _Meaning("its login session needs the package botocore[crt]", advice, is_conclusive=True)
        case _ if type(error).__name__.startswith("Login"):  # these are newer than the oldest botocore that is allowed
            advice = f"Run `aws login --profile {places.profile}` as the user that runs the proxy"
            return _Meaning("the login session is missing or has expired", advice, is_conclusive=True)
        case _:
            return None


def _of_configuration(error: Exception, places: Places, fetch: Fetch) -> _Meaning | None:
    given = error.kwargs if isinstance(error, exceptions.BotoCoreError) else {}
    advice = f"Correct the profile {places.profile}"
    match error:
        case exceptions.PartialCredentialsError():
            missing = fetch.shown(str(given.get("cred_var")))
            reason, advice = f"it is incomplete: {missing} is missing", f"Add {missing} to it"
        case exceptions.InfiniteLoopConfigError():
            reason = "its source_profile leads back to itself"
        case exceptions.InvalidConfigError():  # the case above is one of these
            reason = str(given.get("error_msg", "it is invalid"))
        case exceptions.ProfileNotFound():
            reason = "there is no such profile in either file"
            advice = "Set AWS_PROFILE to one of those that `aws configure list-profiles` shows"
        case exceptions.ConfigParseError():
            reason, advice = f"{given.get('path')} cannot be understood{_line(given.get('error'))}", "Correct it"
        case exceptions.ConfigNotFound():
            reason, advice = f"there is no file {given.get('path')}", "Correct its path"
        case exceptions.InvalidIMDSEndpointError() | exceptions.InvalidIMDSEndpointModeError():
            reason = "the address of the instance metadata service is none"
            advice = "Correct AWS_EC2_METADATA_SERVICE_ENDPOINT, and AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"
        case exceptions.NoRegionError() | exceptions.InvalidRegionError():
            reason, advice = "the region to ask STS in is missing or invalid", "Set AWS_REGION"
        case exceptions.ParamValidationError():
            reason = f"AWS would not accept its values: {error}"
        case _:
            return None
    return _Meaning(reason, advice, is_conclusive=True)


def _line(error: object) -> str:
    """Return where in a file a parser gave up; what it says beside that quotes the line."""
    numbers = [number for number, _ in getattr(error, "errors", [])] or [getattr(error, "lineno", None)]
    return "" if numbers[0] is None else f" at line {numbers[0]}"


def _of_data(error: Exception, method: str) -> _Meaning:
    is_conclusive = True
    match error:
        case OSError():
            name = f" {error.filename}" if isinstance(error.filename, str) else ""
            reason = f"the file{name} cannot be used ({error.strerror or type(error).__name__})"
            advice = "Let the user that runs the proxy use it, or correct its path"
            is_conclusive = error.errno not in SHORTAGES
        case exceptions.CredentialRetrievalError():
            # Of a credential_source that has nothing; programs and container endpoints report for themselves.
            reason = "the place that credential_source names has no credentials"
            advice, is_conclusive = "Give that place a role, or use another credential_source", False
        case RuntimeError():
            reason = "what it handed out has expired already"
            advice, is_conclusive = "Look at the source and at this machine's clock", False
        case ValueError() if method == "config-file":  # before the chain is made
            reason = "metadata_service_timeout or metadata_service_num_attempts is no number, there or in its variable"
            advice = "Correct AWS_METADATA_SERVICE_TIMEOUT and its like"
        case ValueError() if method == "container-role" and "legal header value" in str(error):
            reason = "the authorization token for it is not one line"
            advice = "Correct AWS_CONTAINER_AUTHORIZATION_TOKEN, or the file of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
        case ValueError() if method == "container-role":
            reason = "botocore does not allow this address"
            advice = "Use https, or the address of ECS, of EKS or of this host"
        case KeyError():
            # The key is a name that botocore looked for, never a value.
            reason, advice = f"what it holds lacks {error}", "Look at what answers there"
        case _:
            reason = f"botocore could not make use of what it holds ({type(error).__name__})"
            advice = "Look at its values; `aws sts get-caller-identity` may tell more"
    return _Meaning(reason, advice, is_conclusive)
