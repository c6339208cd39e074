"""The failure table's rows of the AWS SDK's chain, and of static credentials."""

from __future__ import annotations

from typing import Any, Final

from tests.outages.local_sources import AwsToken, Instance, Process
from tests.outages.sources import ROLE, Container
from tests.outages.table import Failing, Places, Row, Settings

__all__ = ["ROWS"]


def container(**failures: Any) -> Failing:
    def fail(source: Container, _: Places) -> None:
        for name, value in failures.items():
            setattr(source.endpoint.failures, name, value)

    return fail


def instance(**failures: Any) -> Failing:
    def fail(source: Instance, _: Places) -> None:
        for name, value in failures.items():
            setattr(source.service.failures, name, value)

    return fail


def no_role(source: Instance, _: Places) -> None:
    source.service.role = None


def nobody_at_service(_: Instance, places: Places) -> Settings:
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": places.nobody}


def web_identity(source: Container, places: Places) -> Settings:
    token = source.folder / "token"
    token.write_text("a.b.c")
    return {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ROLE_ARN": ROLE,
        "AWS_ENDPOINT_URL_STS": places.nobody,
    }


def sets(**settings: str) -> Failing:
    return lambda *_: settings


def at(place: str) -> Failing:
    return lambda _, places: {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{getattr(places, place)}/v1/credentials"}


def old_lease(source: Container, _: Places) -> None:
    source.endpoint.expires_at = 1_700_000_000.0


def file(text: str, **settings: str) -> Failing:
    def fail(source: AwsToken, _: Places) -> Settings:
        source.file.write_text(text)
        return settings

    return fail


def broken_process(source: Process, _: Places) -> Settings:
    script = source.folder / "broken"
    script.write_text("#!/bin/sh\necho planted >&2\nexit 3\n")
    script.chmod(0o700)
    config = source.folder / "other"
    config.write_text(f"[default]\ncredential_process = {script}\n")
    return {"AWS_CONFIG_FILE": str(config)}


AGENT: Final = "Look whether the agent of ECS or EKS Pod Identity runs on this node, and may be reached"
CLOCK: Final = "Check that clock, and why the source hands out what is over"
ANYWHERE: Final = (
    "Give the proxy's task, pod, instance or profile a role or keys at one of these places; "
    "`aws-signing-proxy check` says how for each"
)
NOTHING: Final = (
    "environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set; role of profile default: it has no role_arn "
    "with source_profile or credential_source; web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set, and profile "
    "default has no web_identity_token_file; SSO of profile default: it has no sso_account_id and sso_role_name; "
    "<folder>/credentials: no such file; credential_process of profile default: it has no credential_process; "
    "<folder>/config: no such file; file of the old EC2 tools: AWS_CREDENTIAL_FILE is not set, or its file has no "
    "AWSAccessKeyId; configuration of boto 2: there is no aws_access_key_id under [Credentials] in BOTO_CONFIG, "
    "/etc/boto.cfg or ~/.boto; container credentials: neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor "
    "AWS_CONTAINER_CREDENTIALS_FULL_URI is set"
)

ROWS: Final = (
    Row(
        "container endpoint answers 500",
        Container,
        container(status=500, body=b'{"code":"InternalServerError","message":"agent is ill"}'),
        "container credentials from <container>/v1/credentials: it answered 500 and said: "
        "InternalServerError: agent is ill",
        "Look at the agent of ECS or EKS Pod Identity on this node; it is asked again",
    ),
    Row(
        "container endpoint answers 404",
        Container,
        container(status=404, body=b'{"code":"NotFound","message":"no such task"}'),
        "container credentials from <container>/v1/credentials: it answered 404 and said: NotFound: no such task",
        "Look at the task's or pod's role, and at the AWS_CONTAINER_ variables that name this address",
        "refused",
    ),
    Row(
        "container endpoint answers 403",
        Container,
        container(status=403, body=b"forbidden"),
        "container credentials from <container>/v1/credentials: it answered 403 and said: forbidden",
        "Look at the association of the role with the service account (EKS), and at the role's trust policy",
        "refused",
    ),
    Row(
        "container endpoint answers 400",
        Container,
        container(status=400, body=b""),
        "container credentials from <container>/v1/credentials: it answered 400 and said: nothing",
        "Look at the task's or pod's role, and at the AWS_CONTAINER_ variables that name this address",
        "refused",
    ),
    Row(
        "container endpoint answers a page",
        Container,
        container(body=b"<html>hi</html>"),
        "container credentials from <container>/v1/credentials: its answer is no JSON object with AccessKeyId",
        "Look at what answers there: it is no endpoint for a container's credentials",
        "refused",
    ),
    Row(
        "container endpoint is silent",
        Container,
        container(is_silent=True),
        "container credentials from <container>/v1/credentials: it did not answer in time",
        AGENT,
    ),
    Row(
        "container endpoint closes",
        Container,
        container(is_closing=True),
        "container credentials from <container>/v1/credentials: it closed the connection without an answer",
        AGENT,
    ),
    Row(
        "nobody listens at the container endpoint",
        Container,
        at("nobody"),
        "container credentials from <nobody>/v1/credentials: it refused the connection",
        AGENT,
    ),
    Row(
        "container endpoint's certificate not trusted",
        Container,
        at("untrusted"),
        "container credentials from <untrusted>/v1/credentials: its certificate is not accepted (unable to get "
        "local issuer certificate)",
        "Set AWS_CA_BUNDLE to a PEM file of the authority that signed its certificate",
        "refused",
    ),
    Row(
        "container endpoint gives expired credentials",
        Container,
        old_lease,
        "those from container credentials from <container>/v1/credentials expired at <time>, and it is <time> "
        "by this machine's clock",
        CLOCK,
        "refused",
        "credentials_expired",
    ),
    Row(
        "container endpoint elsewhere",
        Container,
        sets(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://no-such-name.invalid/v1"),
        "container credentials from http://no-such-name.invalid/v1: botocore does not allow this address",
        "Use https, or the address of ECS, of EKS or of this host",
        "refused",
        has_asked=False,
    ),
    Row(
        "authorization token file missing",
        Container,
        sets(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="/nonexistent/token"),
        "container credentials from <container>/v1/credentials: the file /nonexistent/token cannot be used "
        "(No such file or directory)",
        "Let the user that runs the proxy use it, or correct its path",
        "refused",
        has_asked=False,
    ),
    Row(
        "nothing anywhere, IMDS off",
        Instance,
        sets(AWS_EC2_METADATA_DISABLED="true"),
        f"{NOTHING}; instance role from <instance>: AWS_EC2_METADATA_DISABLED switches it off",
        ANYWHERE,
        outcome="absent",
        has_asked=False,
    ),
    Row(
        "nothing anywhere, no role at the instance",
        Instance,
        no_role,
        f"{NOTHING}; instance role from <instance>: the instance has no role (status 404)",
        "Attach an instance profile to the instance",
        outcome="absent",
    ),
    Row(
        "nothing anywhere, nobody at IMDS",
        Instance,
        nobody_at_service,
        f"{NOTHING}; instance role from <nobody>: it refused the connection: this is no EC2 instance, or the way "
        "there is closed",
        ANYWHERE,
        outcome="absent",
    ),
    Row(
        "IMDS answers 500",
        Instance,
        instance(status=500, body=b"", only_path="the-role"),
        "instance role from <instance>: it answered 500",
        "Look at the instance's status checks, load and network; set the instance's metadata options to "
        "HttpEndpoint enabled, and the hop limit to 2 for containers",
    ),
    Row(
        "IMDS refuses",
        Instance,
        instance(status=403, body=b""),
        f"{NOTHING}; instance role from <instance>: it refused the request (status 403)",
        "For EC2's own, set the instance's metadata options to HttpEndpoint enabled, and the hop limit to 2 "
        "for containers",
        outcome="absent",
    ),
    Row(
        "process fails",
        Process,
        broken_process,
        "credential_process <folder>/broken: it failed with exit status 3",
        "Run the command by hand as the user that runs the proxy, and see what it says",
    ),
    Row(
        "web identity without STS",
        Container,
        web_identity,
        "role arn:aws:iam::123456789012:role/reader with the web identity token in "
        "<folder>/token: <nobody> refused the connection",
        "Look at the network, DNS, and HTTPS_PROXY and NO_PROXY",
    ),
    Row(
        "nothing anywhere",
        AwsToken,
        sets(),
        "environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set; <folder>/credentials: no such "
        "file; <folder>/config: no such file",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        is_local=True,
        outcome="absent",
    ),
    Row(
        "half a pair",
        AwsToken,
        sets(AWS_ACCESS_KEY_ID="AKIDEXAMPLE"),
        "environment: AWS_ACCESS_KEY_ID is set but AWS_SECRET_ACCESS_KEY is blank",
        "Set AWS_SECRET_ACCESS_KEY too, or unset AWS_ACCESS_KEY_ID",
        "refused",
        is_local=True,
    ),
    Row(
        "no such profile",
        AwsToken,
        file("[other]\naws_access_key_id = a\n"),
        "environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set; <folder>/credentials: it has "
        "no profile [default]; <folder>/config: no such file",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        is_local=True,
        outcome="absent",
    ),
    Row(
        "a file that is none",
        AwsToken,
        file("aws_access_key_id = planted\n"),
        "environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set; <folder>/credentials: cannot "
        "be understood at line 1: neither a [profile], a key = value, nor a # comment",
        "Correct it, or set AWS_SHARED_CREDENTIALS_FILE to another file",
        "refused",
        is_local=True,
    ),
    Row(
        "expired",
        AwsToken,
        sets(
            AWS_ACCESS_KEY_ID="AKIDEXAMPLE",
            AWS_SECRET_ACCESS_KEY="planted-secret",
            AWS_CREDENTIAL_EXPIRATION="2023-11-14T22:13:20Z",
        ),
        "those from environment expired at <time>, and it is <time> by this machine's clock",
        CLOCK,
        "refused",
        "credentials_expired",
        is_local=True,
    ),
)
