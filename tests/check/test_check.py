"""`check` says in plain words what the proxy would do."""

from __future__ import annotations

from pathlib import Path

import pytest

from aws_signing_proxy.check.host_names import host_name_warnings
from aws_signing_proxy.check.report import run_check
from aws_signing_proxy.config.loading import load_settings

NOW = 1_700_000_000.0
PAIR = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "a-planted-secret",
    "AWS_SESSION_TOKEN": "a-planted-token",
}
STATIC = {"ASP_CREDENTIALS_PROVIDER": "awstoken"}
ELASTIC = {"ASP_TARGET_URL": "https://foo.eu-central-1.es.amazonaws.com"}


def check(environ: dict[str, str]) -> tuple[int, str]:
    lines: list[str] = []
    environ = STATIC | environ
    status = run_check(load_settings({}, environ), environ, lines.append, asks_who=False, clock=lambda: NOW)
    text = "\n".join(lines)
    assert "planted" not in text
    return status, text


def test_good_settings_and_credentials_are_status_0_without_warnings() -> None:
    status, text = check(ELASTIC | PAIR)
    assert status == 0
    assert "Warnings" not in text
    assert "asked" not in text  # nobody: they are in the environment
    assert text.endswith("Requests would be signed.")


def test_each_value_is_told_with_where_it_came_from() -> None:
    _, text = check(ELASTIC | PAIR | {"AWS_REGION": "eu-central-1"})
    assert "target       https://foo.eu-central-1.es.amazonaws.com (environment ASP_TARGET_URL)" in text
    assert "service      es (default)" in text
    assert "region       eu-central-1 (environment AWS_REGION)" in text


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "127.0.0.1:8080"),
        ({"ASP_PORT": "0"}, "127.0.0.1, any free port"),
        ({"ASP_BIND_ADDRESS": "::1", "ASP_PORT": "80"}, "[::1]:80"),
        ({"ASP_UNIX_SOCKET": "/tmp/asp.sock"}, "the Unix domain socket /tmp/asp.sock"),
    ],
)
def test_where_it_would_listen_is_told(environ: dict[str, str], told: str) -> None:
    assert f"listens on   {told}\n" in check(ELASTIC | PAIR | environ)[1]


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (ELASTIC, "held until they are whole, then signed (ASP_PAYLOAD=auto)"),
        ({"ASP_TARGET_URL": "https://s3.eu-central-1.amazonaws.com", "ASP_SERVICE": "s3"}, "in chunks, each signed"),
        ({"ASP_TARGET_URL": "http://127.0.0.1:9000", "ASP_SERVICE": "s3"}, "then signed (ASP_PAYLOAD=auto)"),
        ({"ASP_TARGET_URL": "https://a.test", "ASP_SERVICE": "s3", "ASP_PAYLOAD": "signed"}, "(ASP_PAYLOAD=signed)"),
        ({"ASP_TARGET_URL": "https://a.test", "ASP_SERVICE": "vpc-lattice-svcs"}, "not part of the signature"),
    ],
)
def test_what_becomes_of_large_bodies_is_told(environ: dict[str, str], told: str) -> None:
    (line,) = [line for line in check(environ | PAIR)[1].splitlines() if line.startswith("  large bodies ")]
    assert told in line
    assert len(line) <= 115


def test_of_credentials_only_the_source_four_characters_and_the_expiry_are_told() -> None:
    _, text = check(ELASTIC | PAIR | {"AWS_CREDENTIAL_EXPIRATION": "2023-11-14T23:13:20Z"})
    assert "source       environment (provider awstoken)" in text
    assert "access key   …MPLE" in text
    assert "AKIAIOSFODNN7EXAMPLE" not in text
    assert "kind         temporary" in text
    assert "expiry       2023-11-14T23:13:20Z, in 60 minutes" in text


def test_expired_credentials_are_status_2() -> None:
    status, text = check(ELASTIC | PAIR | {"AWS_CREDENTIAL_EXPIRATION": "2023-11-14T22:13:20Z"})
    assert status == 2
    assert "they have expired" in text
    assert text.endswith("Requests would be answered 503: nothing to sign with.")


def test_without_credentials_every_place_is_told_with_what_to_do(tmp_path: Path) -> None:
    status, text = check(ELASTIC | {"HOME": str(tmp_path)})
    assert status == 2
    assert "- environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set" in text
    text = " ".join(text.split())  # where a line ends depends on the length of the path
    assert f"- {tmp_path}/.aws/credentials: no such file Create it, or set" in text
    assert f"- {tmp_path}/.aws/config: no such file" in text


def test_half_a_pair_is_told_without_its_value() -> None:
    status, text = check(ELASTIC | {"AWS_SECRET_ACCESS_KEY": "planted"})
    assert status == 2
    assert "AWS_SECRET_ACCESS_KEY is set but AWS_ACCESS_KEY_ID is not set" in text


def test_a_file_s_path_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    _, text = check(ELASTIC | {"HOME": str(tmp_path), "AWS_SHARED_CREDENTIALS_FILE": "/\x1b[2J\n/x"})
    assert "\x1b" not in text
    assert "/?[2J /x: no such file" in text


@pytest.mark.parametrize(
    ("environ", "warning"),
    [
        ({"ASP_TARGET_URL": "http://search.example.com"}, "http://search.example.com is plain http"),
        ({"ASP_BIND_ADDRESS": "0.0.0.0"}, "The proxy listens on 0.0.0.0: whoever reaches the port acts with your AWS"),
        ({"ASP_BIND_ADDRESS": "::"}, "The proxy listens on ::"),
        ({"ASP_MGMT_BIND_ADDRESS": "10.0.0.1"}, "The management port listens on 10.0.0.1"),
        ({"AWS_REGION": "eu-west-1"}, "belongs to the region eu-central-1, but requests are signed for eu-west-1"),
        ({"ASP_SERVICE": "s3"}, "belongs to the service es, but requests are signed for s3"),
        ({"ASP_PROT": "8080"}, "ASP_PROT is not a setting"),
    ],
)
def test_a_warning_is_told_and_does_not_change_the_status(environ: dict[str, str], warning: str) -> None:
    status, text = check(ELASTIC | PAIR | environ)
    assert warning in " ".join(text.split())  # a warning goes over several lines
    assert status == 0


@pytest.mark.parametrize(
    "environ",
    [
        {"ASP_TARGET_URL": "http://127.0.0.1:9200"},
        {"ASP_TARGET_URL": "http://[::1]:9200"},
        {"ASP_TARGET_URL": "http://localhost:9200"},
        {"ASP_TARGET_URL": "http://opensearch.localhost"},
        {"ASP_BIND_ADDRESS": "127.0.0.2"},
        {"ASP_UNIX_SOCKET": "/tmp/asp.sock", "ASP_BIND_ADDRESS": "0.0.0.0"},
    ],
)
def test_what_stays_on_this_machine_is_no_danger(environ: dict[str, str]) -> None:
    assert "Warnings" not in check(ELASTIC | PAIR | environ)[1]


FITTING = [
    ("search-x-abc.eu-central-1.es.amazonaws.com", "es", "eu-central-1"),
    ("vpc-x-abc.us-gov-west-1.es.amazonaws.com", "es", "us-gov-west-1"),
    ("x.aos.eu-west-1.on.aws", "es", "eu-west-1"),
    ("abc.eu-west-1.aoss.amazonaws.com", "aoss", "eu-west-1"),
    ("s3.eu-west-1.amazonaws.com", "s3", "eu-west-1"),
    ("bucket.s3.eu-west-1.amazonaws.com", "s3", "eu-west-1"),
    ("bucket.s3.dualstack.eu-west-1.amazonaws.com", "s3", "eu-west-1"),
    ("s3-fips.us-east-1.amazonaws.com", "s3", "us-east-1"),
    ("s3-eu-west-1.amazonaws.com", "s3", "eu-west-1"),
    ("bucket.s3-eu-west-1.amazonaws.com", "s3", "eu-west-1"),
    ("s3.cn-north-1.amazonaws.com.cn", "s3", "cn-north-1"),
    ("bucket.vpce-1a2b-3c4d.s3.eu-west-1.vpce.amazonaws.com", "s3", "eu-west-1"),
    ("abc123.execute-api.eu-west-1.amazonaws.com", "execute-api", "eu-west-1"),
    ("dynamodb.ap-southeast-2.amazonaws.com", "dynamodb", "ap-southeast-2"),
    ("abc.lambda-url.eu-west-1.on.aws", "lambda", "eu-west-1"),
    ("aps-workspaces.eu-west-1.amazonaws.com", "aps", "eu-west-1"),
    ("sts.amazonaws.com", "sts", "us-east-1"),
    ("s3.eusc-de-east-1.amazonaws.eu", "s3", "eusc-de-east-1"),
    ("sqs.eu-west-1.api.aws", "sqs", "eu-west-1"),
]


@pytest.mark.parametrize(("host", "service", "region"), FITTING)
def test_a_host_name_that_fits_is_not_warned_of(host: str, service: str, region: str) -> None:
    assert host_name_warnings(host, service=service, region=region) == []


@pytest.mark.parametrize(("host", "service", "region"), FITTING)
def test_a_host_name_that_does_not_fit_is_told_with_what_would(host: str, service: str, region: str) -> None:
    of_service, of_region = host_name_warnings(host, service="other", region="xx-north-1")
    assert f"Set ASP_SERVICE to {service}." in of_service
    assert f"Set AWS_REGION to {region}." in of_region


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "::1",
        "search.example.com",
        "eu-west-1.es.amazonaws.com.example.com",
        "x.eu-west-1.es.notamazonaws.com",
        "bucket.s3.amazonaws.com",  # of any region: a bucket's, which the name does not tell
        "us-west-2.s3.amazonaws.com",  # a bucket that is called like a region
        "bucket.s3-accelerate.amazonaws.com",
        "kms.es.s3.amazonaws.com",
    ],
)
def test_of_a_region_that_a_host_name_does_not_tell_nothing_is_said(host: str) -> None:
    assert host_name_warnings(host, service="s3", region="eu-central-1") == []


def test_of_a_service_that_is_not_known_only_the_region_is_judged() -> None:
    (warning,) = host_name_warnings("newthing.eu-west-1.amazonaws.com", service="x", region="eu-central-1")
    assert "AWS_REGION" in warning


def test_settings_that_are_not_at_their_default_are_told_with_their_source_and_no_others() -> None:
    """Whoever wonders why the proxy behaves so finds it here."""
    _, text = check(ELASTIC | PAIR | {"ASP_RESPONSE_TIMEOUT": "30s", "ASP_BIND_ADDRESS": "127.0.0.2"})
    assert "  response_timeout_seconds = 30.0 (environment ASP_RESPONSE_TIMEOUT)" in text.splitlines()
    assert "progress_timeout_seconds" not in text


def test_a_secret_setting_is_told_without_its_value() -> None:
    """Its name and source are enough to find it."""
    _, text = check(ELASTIC | PAIR | {"ASP_VAULT_AUTH_TOKEN": "a-planted-token-of-vault"})
    assert "  vault_auth_token = *** (environment ASP_VAULT_AUTH_TOKEN)" in text.splitlines()


def test_no_line_of_a_warning_is_wider_than_a_terminal() -> None:
    """A hundred columns, and what continues a line is indented."""
    _, text = check(PAIR | {"ASP_TARGET_URL": "https://foo.eu-west-1.es.amazonaws.com"})
    assert "eu-west-1" in text
    assert max(map(len, text.splitlines())) <= 100
