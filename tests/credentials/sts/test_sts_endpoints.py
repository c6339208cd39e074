"""Which STS is asked: the region's own in its partition, or the one that the environment names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.regions import EndpointResolver

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.failures import ExchangeError, Failure, Kind
from aws_signing_proxy.credentials.http.web_address import shown_address
from aws_signing_proxy.credentials.provider import CredentialsUnavailableError
from aws_signing_proxy.credentials.sts.client import StsClient
from aws_signing_proxy.credentials.sts.endpoint_data import endpoints_of
from aws_signing_proxy.credentials.sts.errors import Operation
from aws_signing_proxy.credentials.sts.service import SecurityTokenService
from aws_signing_proxy.credentials.sts.settings import StsSettings
from tests.credentials.sts.sts_scene import BASE, ROLE, service
from tests.credentials.sts.sts_server import StsServer

FIPS = {"AWS_USE_FIPS_ENDPOINT": "true"}
DUALSTACK = {"AWS_USE_DUALSTACK_ENDPOINT": "true"}


def asked(region: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, str]:
    """Return the address that is said, the URL that would be asked, and the region in the signature's scope."""
    client = StsClient(StsSettings.read(region, environ))
    sent: list[Any] = []

    def keep(request: Any, _: Fetch) -> None:
        sent.append(request)
        raise ExchangeError(Failure(Kind.CLOSED))

    monkeypatch.setattr(client._transport, "send", keep)
    with pytest.raises(ExchangeError):
        client.call(Operation.GET_CALLER_IDENTITY, {}, identity=BASE, fetch=Fetch())
    scope = sent[0].headers["Authorization"]
    scope = (scope.decode() if isinstance(scope, bytes) else scope).split("/")
    return client.address, sent[0].url.rstrip("/"), scope[2]


@pytest.mark.parametrize(
    ("region", "environ", "host"),
    [
        ("eu-central-1", {}, "sts.eu-central-1.amazonaws.com"),
        ("us-east-1", {}, "sts.us-east-1.amazonaws.com"),
        ("ap-northeast-1", {"AWS_STS_REGIONAL_ENDPOINTS": "legacy"}, "sts.ap-northeast-1.amazonaws.com"),
        ("eu-central-9", {}, "sts.eu-central-9.amazonaws.com"),
        ("cn-north-1", {}, "sts.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", {}, "sts.us-gov-west-1.amazonaws.com"),
        ("us-iso-east-1", {}, "sts.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", {}, "sts.us-isob-east-1.sc2s.sgov.gov"),
        ("eu-isoe-west-1", {}, "sts.eu-isoe-west-1.cloud.adc-e.uk"),
        ("us-east-1", FIPS, "sts-fips.us-east-1.amazonaws.com"),
        ("us-gov-west-1", FIPS, "sts.us-gov-west-1.amazonaws.com"),
        ("eu-central-1", DUALSTACK, "sts.eu-central-1.api.aws"),
        ("us-east-1", FIPS | DUALSTACK, "sts-fips.us-east-1.api.aws"),
        ("us-iso-east-1", DUALSTACK, "sts.us-iso-east-1.api.aws.ic.gov"),
        ("eu-central-1", {"AWS_USE_FIPS_ENDPOINT": "no", "AWS_USE_DUALSTACK_ENDPOINT": " FALSE "}, None),
        ("eu-central-1", {"AWS_USE_FIPS_ENDPOINT": " True "}, "sts-fips.eu-central-1.amazonaws.com"),
    ],
)
def test_the_endpoint_is_that_of_the_region_in_its_partition(
    region: str, environ: dict[str, str], host: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = f"https://{host or f'sts.{region}.amazonaws.com'}"
    assert asked(region, environ, monkeypatch) == (expected, expected, region)


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({"AWS_ENDPOINT_URL_STS": "https://vpce-1.sts.eu-central-1.vpce.amazonaws.com"}, None),
        ({"AWS_ENDPOINT_URL_STS": "https://one.example:8443/sts", "AWS_ENDPOINT_URL": "http://two"}, None),
        ({"AWS_ENDPOINT_URL": "http://two.example"}, "http://two.example"),
        ({"AWS_ENDPOINT_URL_STS": " ", "AWS_ENDPOINT_URL": "http://two.example/"}, "http://two.example"),
        (
            {"AWS_ENDPOINT_URL_STS": "http://one.example", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "https://sts.eu-central-1.amazonaws.com",
        ),
        (FIPS | {"AWS_ENDPOINT_URL_STS": "http://one.example"}, None),
    ],
)
def test_the_environment_may_name_another_endpoint_which_is_signed_for_the_same_region(
    environ: dict[str, str], address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = address or environ["AWS_ENDPOINT_URL_STS"]
    assert asked("eu-central-1", environ, monkeypatch) == (expected, expected, "eu-central-1")
    assert SecurityTokenService(region="eu-central-1", environ=environ).address == expected


def test_the_processs_own_environment_names_no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"):
        monkeypatch.setenv(name, "http://elsewhere.example")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    expected = "https://sts.eu-central-1.amazonaws.com"
    assert asked("eu-central-1", {}, monkeypatch) == (expected, expected, "eu-central-1")


def test_the_address_is_known_before_anybody_is_asked_and_holds_no_password() -> None:
    assert SecurityTokenService(region="cn-north-1", environ={}).address == "https://sts.cn-north-1.amazonaws.com.cn"
    sts = service("https://user:password@sts.example:8443/path/?query=1#part")
    assert sts.address == "https://sts.example:8443/path"


@pytest.mark.parametrize(
    ("region", "environ", "advice"),
    [
        ("eu central 1", {}, "Check AWS_REGION (eu central 1)"),
        ("eu-isoe-west-1", DUALSTACK, "whether this region has what AWS_USE_DUALSTACK_ENDPOINT asks for"),
        ("eu-central-1", {"AWS_ENDPOINT_URL_STS": "sts.example.com"}, "Write it with its scheme"),
        ("eu-central-1", {"AWS_ENDPOINT_URL_STS": "http://[broken"}, "AWS_ENDPOINT_URL_STS"),
        ("eu-central-1", {"AWS_ENDPOINT_URL_STS": "https://user:secret-word@host:port"}, "AWS_ENDPOINT_URL_STS"),
        ("eu-central-1", {"AWS_ENDPOINT_URL_STS": "ftp://sts.example.com"}, "AWS_ENDPOINT_URL_STS"),
        ("eu-central-1", {"AWS_ENDPOINT_URL_STS": "http:///nothing"}, "AWS_ENDPOINT_URL_STS"),
    ],
)
def test_what_cannot_be_asked_as_it_is_configured_is_told_with_what_to_correct(
    region: str, environ: dict[str, str], advice: str
) -> None:
    sts = SecurityTokenService(region=region, environ=environ)
    with pytest.raises(CredentialsUnavailableError) as caught:
        sts.assume_role(Fetch(timeout_seconds=1.0), BASE, ROLE)
    assert caught.value.is_conclusive
    assert advice in caught.value.attempts[0].advice
    assert "secret-word" not in str(caught.value)
    assert sts.address


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@host:1/a/?b#c", "https://host:1/a"),
        ("/relative?x", "/relative"),
        ("", "/"),
        ("http://[broken", "an address that cannot be understood"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert shown_address(url) == shown


def test_the_data_of_sts_is_what_botocore_has_for_it() -> None:
    whole, path = Loader().load_data_with_path("endpoints")
    part = endpoints_of("sts", Path(path).with_suffix(".json"))
    assert part is not None
    assert all(set(partition["services"]) <= {"sts"} for partition in part["partitions"])
    for region in ("eu-central-1", "us-gov-west-1", "cn-north-1", "us-iso-east-1", "aws-global"):
        for is_fips in (False, True):
            ours, theirs = (
                EndpointResolver(data).construct_endpoint("sts", region, use_fips_endpoint=is_fips)
                for data in (part, whole)
            )
            assert ours == theirs


@pytest.mark.parametrize(
    "text", ["", "[]", '{"partitions": {}}', '{"partitions": [', '{"a" 1}', "{", '{"partitions": [1]}']
)
def test_data_that_is_laid_out_in_another_way_is_left_to_botocore(tmp_path: Path, text: str) -> None:
    path = tmp_path / "endpoints.json"
    path.write_text(text)
    assert endpoints_of("sts", path) is None
    assert endpoints_of("sts", tmp_path / "not-there.json") is None


def test_botocore_reads_its_data_itself_where_ours_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aws_signing_proxy.credentials.sts.client.endpoints_of", lambda *_: None)
    assert StsClient(StsSettings.read("eu-central-1", {})).address == "https://sts.eu-central-1.amazonaws.com"


def test_a_path_in_the_endpoint_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with StsServer() as server:
        sts = service(f"{server.url}/some/path")
        sts.assume_role(Fetch(), BASE, ROLE)
        sts.close()
        assert server.requests[0].target == "/some/path"
