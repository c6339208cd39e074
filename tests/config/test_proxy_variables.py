"""HTTP_PROXY, HTTPS_PROXY and NO_PROXY: what they may hold, and when they count."""

from __future__ import annotations

import base64

import pytest

from aws_signing_proxy.config.connection_rules import proxy_on_the_way
from aws_signing_proxy.config.loading import load_settings
from aws_signing_proxy.config.problems import SettingsError
from aws_signing_proxy.config.proxy_variables import ProxyUrl
from aws_signing_proxy.no_proxy import NoProxy


def way(target: str = "https://service.test", **environ: str) -> str | None:
    """Return the proxy that requests to `target` go through."""
    settings = load_settings({}, {"ASP_TARGET_URL": target} | environ).settings
    proxy = proxy_on_the_way(settings, settings.target_url)
    return None if proxy is None else repr(proxy)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("proxy.test", "http://proxy.test:80"),
        ("proxy.test:3128", "http://proxy.test:3128"),
        ("http://PROXY.test:3128/", "http://proxy.test:3128"),
        ("https://proxy.test", "https://proxy.test:443"),
        ("HTTP://[::1]:3128", "http://[::1]:3128"),
        ("http://user:pass@10.0.0.1:3128", "http://***@10.0.0.1:3128"),
    ],
)
def test_a_proxy_is_named_by_a_url_or_by_host_and_port(text: str, shown: str) -> None:
    assert repr(ProxyUrl.parse(text)) == shown


@pytest.mark.parametrize(
    ("userinfo", "user", "password"),
    [
        ("user:pass", b"user", b"pass"),
        ("user", b"user", b""),
        ("us%40er:p%3Aa%2F%25s", b"us@er", b"p:a/%s"),
        ("user:p@ss:w", b"user", b"p@ss:w"),
        ("d%C3%BC:%F0%9F%94%91", "dü".encode(), "🔑".encode()),
        (":pass", b"", b"pass"),
    ],
)
def test_user_and_password_are_decoded_and_never_shown(userinfo: str, user: bytes, password: bytes) -> None:
    proxy = ProxyUrl.parse(f"http://{userinfo}@proxy.test:3128")
    assert (proxy.user, proxy.password, proxy.host) == (user, password, "proxy.test")
    assert repr(proxy) == str(proxy) == "http://***@proxy.test:3128"


def test_the_secrets_of_a_proxy_are_its_password_and_what_is_sent_of_it() -> None:
    assert ProxyUrl.parse("http://proxy.test").secrets == ()
    assert ProxyUrl.parse("http://u:p%40ss@proxy.test").secrets == ("p@ss", base64.b64encode(b"u:p@ss").decode())


@pytest.mark.parametrize(
    "text",
    [
        "socks5://proxy.test:1080",
        "ftp://proxy.test",
        "http://proxy.test/path",
        "http://proxy.test?x",
        "http://proxy.test:0",
        "http://proxy.test:99999",
        "http://",
        "http://user:s3cr3t@",
        "http://us%3Aer:s3cr3t@proxy.test",
        "http://user:s3cr3t%0d%0a@proxy.test",
        "http://user:s3cr3t@pro xy.test",
        "http://pröxy.test",
    ],
)
def test_what_is_no_http_proxy_is_refused_and_no_secret_is_shown(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        way(HTTPS_PROXY=text)
    assert "HTTPS_PROXY" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_the_targets_scheme_tells_which_variable_counts() -> None:
    both = {"HTTP_PROXY": "http.test", "HTTPS_PROXY": "https.test"}
    assert way("https://service.test", **both) == "http://https.test:80"
    assert way("http://service.test", **both) == "http://http.test:80"
    assert way("http://service.test", HTTPS_PROXY="https.test") is None


@pytest.mark.parametrize("target", ["https://service.test", "http://service.test"])
def test_the_lower_case_name_counts_before_the_upper_case_one(target: str) -> None:
    environ = {"http_proxy": "a.test", "HTTP_PROXY": "b.test", "https_proxy": "a.test", "HTTPS_PROXY": "b.test"}
    assert way(target, **environ) == "http://a.test:80"
    assert way(target, **{name: value for name, value in environ.items() if name.isupper()}) == "http://b.test:80"


@pytest.mark.parametrize(
    "target", ["https://localhost:9200", "https://127.0.0.1", "https://[::1]", "https://a.localhost"]
)
def test_a_target_on_this_machine_is_reached_directly(target: str) -> None:
    assert way(target, HTTPS_PROXY="proxy.test") is None


def test_where_the_connection_goes_decides_not_what_the_target_is_called() -> None:
    proxy = {"HTTPS_PROXY": "proxy.test"}
    assert way(ASP_CONNECT_TO="localhost:9200", **proxy) is None
    assert way("https://localhost", ASP_CONNECT_TO="service.test", **proxy) == "http://proxy.test:80"
    assert way(ASP_CONNECT_TO="other.test", NO_PROXY="other.test", **proxy) is None
    assert way(ASP_CONNECT_TO="other.test", NO_PROXY="service.test", **proxy) == "http://proxy.test:80"
    assert way(ASP_CONNECT_TO="other.test:8443", NO_PROXY="other.test:443", **proxy) == "http://proxy.test:80"


COVERED = [
    ("*", "service.test", 443),
    ("x, *", "10.0.0.1", 80),
    ("service.test", "service.test", 443),
    ("SERVICE.Test.", "service.test", 443),
    ("service.test", "a.b.service.test", 443),
    (".service.test", "a.service.test", 443),
    ("*.service.test", "a.service.test", 443),
    ("test", "service.test", 443),
    ("a.test,,b.test", "b.test", 443),
    ("a.test b.test", "b.test", 443),
    ("service.test:443", "service.test", 443),
    (".service.test:8443", "a.service.test", 8443),
    ("10.0.0.1", "10.0.0.1", 443),
    ("10.0.0.0/8", "10.255.0.1", 443),
    ("10.1.2.3/8", "10.255.0.1", 443),
    ("10.0.0.1:443", "10.0.0.1", 443),
    ("fd00::/8", "fd12::1", 443),
    ("::1", "::1", 443),
    ("[fd00::1]", "fd00::1", 443),
    ("[fd00::1]:443", "fd00::1", 443),
]
NOT_COVERED = [
    ("", "service.test", 443),
    ("service.test", "otherservice.test", 443),
    ("service.test", "service.test.evil.test", 443),
    (".service.test", "service.test", 443),
    ("*.service.test", "service.test", 443),
    ("service.test:443", "service.test", 8443),
    ("10.0.0.0/8", "11.0.0.1", 443),
    ("10.0.0.0/8", "10.0.0.1.test", 443),
    ("10.0.0.1:80", "10.0.0.1", 443),
    ("fd00::/8", "10.0.0.1", 443),
    ("10.0.0.1", "service.test", 443),
]


@pytest.mark.parametrize(("entries", "host", "port"), COVERED)
def test_no_proxy_covers_a_host(entries: str, host: str, port: int) -> None:
    assert NoProxy.parse(entries).covers(host, port)


@pytest.mark.parametrize(("entries", "host", "port"), NOT_COVERED)
def test_no_proxy_does_not_cover_another_host(entries: str, host: str, port: int) -> None:
    assert not NoProxy.parse(entries).covers(host, port)


@pytest.mark.parametrize(
    "word", ["http://host.test", "host.test:0", "host.test:99999", "a/b", "host.test:x", "*x*", ":80", "<local>"]
)
def test_a_word_that_covers_nothing_is_told_and_the_others_count(word: str) -> None:
    """The variable is shared with programs that understand other words."""
    no_proxy = NoProxy.parse(f"good.test,{word}")
    assert no_proxy.unknown == (word,)
    assert no_proxy.covers("good.test", 443)
    (warning,) = load_settings({}, {"ASP_TARGET_URL": "https://host", "NO_PROXY": f"good.test,{word}"}).warnings
    assert warning == f'NO_PROXY: "{word}" covers nothing; names, addresses and networks do.'
