"""Which proxy is on the way, by the variables of the environment that is given."""

from __future__ import annotations

import pytest

from aws_signing_proxy.config.connection_rules import proxy_on_the_way
from aws_signing_proxy.config.loading import load_settings
from aws_signing_proxy.credentials.http.failures import ExchangeError, Kind
from aws_signing_proxy.credentials.http.proxies import proxy_for

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HTTP_PROXY": PROXY}, PROXY),
        ({"http_proxy": PROXY, "HTTP_PROXY": "http://other"}, PROXY),
        ({"http_proxy": "", "HTTP_PROXY": PROXY}, None),
        ({"HTTPS_PROXY": PROXY}, None),
        ({"all_proxy": PROXY}, PROXY),
        ({"ALL_PROXY": "http://other", "HTTP_PROXY": PROXY}, PROXY),
        ({"HTTP_PROXY": "proxy.example:3128"}, PROXY),
        ({"HTTP_PROXY": "//proxy.example:3128"}, PROXY),
        ({"HTTP_PROXY": "  "}, None),
        ({}, None),
    ],
)
def test_the_variable_of_the_scheme_comes_before_the_general_one_and_lower_case_before_upper(
    environ: dict[str, str], expected: str | None
) -> None:
    proxy = proxy_for("http://server.example/x", environ)
    assert (proxy and proxy.url) == expected


@pytest.mark.parametrize(
    "exempt",
    ["*", "server.example", "a, SERVER.example:80", ".example", "example", "server.example.", " x ,server.example"],
)
def test_what_no_proxy_names_is_asked_directly(exempt: str) -> None:
    if exempt.endswith("."):
        assert proxy_for("http://server.example.:80/", {"HTTP_PROXY": PROXY, "NO_PROXY": "server.example"}) is None
        return
    assert proxy_for("http://server.example:80/", {"HTTP_PROXY": PROXY, "NO_PROXY": exempt}) is None


@pytest.mark.parametrize("exempt", ["", "example.com", "erver.example", "10.0.0.0/8", "no/network", ",", "server"])
def test_what_no_proxy_does_not_name_is_asked_through_the_proxy(exempt: str) -> None:
    assert proxy_for("http://server.example:80/", {"HTTP_PROXY": PROXY, "NO_PROXY": exempt}) is not None


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_direct"),
    [
        ("*.corp.example", "https://vault.corp.example:8200", True),
        ("a.example vault.corp.example", "https://vault.corp.example:8200", True),
        ("a.example\tvault.corp.example", "https://vault.corp.example", True),
        ("vault.corp.example:443", "https://vault.corp.example/x", True),
        ("vault.corp.example:8200", "https://vault.corp.example/x", False),
        ("[2001:db8::1]", "https://[2001:db8::1]:8200", True),
        ("2001:db8::1", "https://[2001:db8:0::1]:8200", True),
        ("10.0.0.0/8:8200", "https://10.1.2.3:8200", True),
        (".corp.example", "https://corp.example", False),
        ("corp.example.", "https://vault.corp.example", True),
        ("", "https://foo.localhost:8200", True),
    ],
)
def test_no_proxy_means_what_it_means_for_the_target(no_proxy: str, url: str, is_direct: bool) -> None:
    environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}
    assert (proxy_for(url, environ) is None) is is_direct
    settings = load_settings({}, {"ASP_TARGET_URL": url, **environ}).settings
    assert (proxy_on_the_way(settings, settings.target_url) is None) is is_direct


def test_a_network_in_no_proxy_holds_addresses() -> None:
    environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8,fd00::/8"}
    assert proxy_for("https://10.1.2.3/", environ) is None
    assert proxy_for("https://[fd00::1]:8200/", environ) is None
    assert proxy_for("https://11.1.2.3/", environ) is not None


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://localhost/", "http://[::1]/", "http://127.9.9.9/"])
def test_this_machine_is_never_asked_through_a_proxy(url: str) -> None:
    assert proxy_for(url, {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}) is None


def test_user_and_password_become_a_field_and_secrets_and_are_shown_nowhere() -> None:
    proxy = proxy_for("http://server.example/", {"HTTP_PROXY": "http://me:pa%73s%20word@proxy.example:3128"})
    assert proxy is not None
    assert proxy.url == PROXY
    assert proxy.authorization == "Basic bWU6cGFzcyB3b3Jk"
    assert proxy.secrets == ("pa%73s%20word", "pass word", "bWU6cGFzcyB3b3Jk")
    assert "pass" not in repr(proxy)


def test_a_password_reaches_to_the_last_at_sign_whatever_is_in_it() -> None:
    proxy = proxy_for("http://server.example/", {"HTTP_PROXY": "http://me:12/pla@nt#ed@proxy.example:3128/"})
    assert proxy is not None
    assert proxy.url == PROXY
    assert "12/pla@nt#ed" in proxy.secrets


@pytest.mark.parametrize(
    "value",
    ["socks5://u:planted@h:1", "http://[planted", "http://u:planted@:port", "http://u:1/planted@h:0", "http://"],
)
def test_what_is_no_url_of_a_proxy_is_told_with_its_variable_and_without_its_password(value: str) -> None:
    with pytest.raises(ExchangeError, match=r"cannot be asked: all_proxy \(") as caught:
        proxy_for("https://server.example/", {"all_proxy": value})
    assert caught.value.failure.kind is Kind.BAD_PROXY
    assert caught.value.failure.is_conclusive
    assert "planted" not in str(caught.value)
