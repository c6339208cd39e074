"""The target's URL: what is taken, what it becomes, and what is refused with which reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_signing_proxy.config.notation import UnexpectedValueError
from aws_signing_proxy.config.values import TargetUrl, is_host_name, normalised_ipv6


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("https://foo.eu-central-1.es.amazonaws.com", TargetUrl("https", "foo.eu-central-1.es.amazonaws.com", 443)),
        ("foo.eu-central-1.es.amazonaws.com", TargetUrl("https", "foo.eu-central-1.es.amazonaws.com", 443)),
        ("localhost:9200", TargetUrl("https", "localhost", 9200)),
        ("localhost:9200/a", TargetUrl("https", "localhost", 9200, "/a")),
        ("http://localhost", TargetUrl("http", "localhost", 80)),
        ("HTTP://LocalHost:0080/", TargetUrl("http", "localhost", 80)),
        ("https://host/", TargetUrl("https", "host", 443)),
        ("https://host//", TargetUrl("https", "host", 443)),
        ("https://host/a/b/", TargetUrl("https", "host", 443, "/a/b")),
        ("https://host/A%20b/@:+=", TargetUrl("https", "host", 443, "/A%20b/@:+=")),
        ("https://10.0.0.1:8443", TargetUrl("https", "10.0.0.1", 8443)),
        ("http://[::1]:9000/x", TargetUrl("http", "::1", 9000, "/x")),
        ("[2001:DB8:0:0::1]", TargetUrl("https", "2001:db8::1", 443)),
        ("http://my_service:1", TargetUrl("http", "my_service", 1)),
        ("https://xn--bcher-kva.example", TargetUrl("https", "xn--bcher-kva.example", 443)),
    ],
)
def test_a_target_is_read_into_its_parts(text: str, target: TargetUrl) -> None:
    assert TargetUrl.parse(text) == target


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://host", "scheme https or http"),
        ("unix:///socket", "scheme https or http"),
        ("https://user@host", "without user name"),
        ("https://user:password@host", "without user name"),
        ("https://host?", "without query"),
        ("https://host/?a=b", "without query"),
        ("https://host#", "without query (?) and fragment"),
        ("https://host/a#b", "fragment"),
        ("https://", "with a host"),
        ("https:///path", "with a host"),
        ("/path", "with a host"),
        (":80", "with a host"),
        ("https://host:", "port is a number"),
        ("https://host:0", "port is a number"),
        ("https://host:65536", "port is a number"),
        ("https://host:999999", "port is a number"),
        ("https://host:80a", "port is a number"),
        ("https://host:-1", "port is a number"),
        ("https://host:80:80", "port is a number"),
        ("mailto:someone", "port is a number"),
        ("https:/host", "port is a number"),
        ("https://::1", "port is a number|with a host"),
        ("https://[::1", "IPv6 address stands in brackets"),
        ("https://[::1]x", "IPv6 address stands in brackets"),
        ("https://x[::1]", "IPv6 address stands in brackets"),
        ("https://[]", "valid IPv6"),
        ("https://[::1%25eth0]", "valid IPv6"),
        ("https://[10.0.0.1]", "valid IPv6"),
        ("https://b\u00fccher.example", "in ASCII"),
        ("https://ho st", "valid host name"),
        ("https://host\r\nX: y", "valid host name|port is a number"),
        ("https://host.", "valid host name"),
        ("https://.host", "valid host name"),
        ("https://a..b", "valid host name"),
        ("https://-host", "valid host name"),
        ("https://host-", "valid host name"),
        (f"https://{'a' * 64}.b", "valid host name"),
        (f"https://{'a.' * 127}b", "valid host name"),
        ("https://256.1.1.1", "valid host name"),
        ("https://10.1", "valid host name"),
        ("https://host%20", "valid host name"),
        ("https://host/a b", "RFC 3986"),
        ("https://host/a\tb", "RFC 3986"),
        ("https://host/\x00", "RFC 3986"),
        ("https://host/\u00fc", "RFC 3986"),
        ("https://host/%", "RFC 3986"),
        ("https://host/%2", "RFC 3986"),
        ("https://host/%zz", "RFC 3986"),
        ('https://host/"', "RFC 3986"),
        ("https://host/a/../b", "no . or .. segment"),
        ("https://host/.", "no . or .. segment"),
    ],
)
def test_a_bad_target_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(UnexpectedValueError) as caught:
        TargetUrl.parse(text)
    assert any(part in str(caught.value.expected) for part in reason.split("|"))


def test_a_backslash_cannot_end_the_host() -> None:
    with pytest.raises(UnexpectedValueError):
        TargetUrl.parse("https://host\\@evil")


@pytest.mark.parametrize(
    ("text", "host_field_value"),
    [
        ("https://host", "host"),
        ("https://host:443", "host"),
        ("http://host:80", "host"),
        ("https://host:80", "host:80"),
        ("http://host:443", "host:443"),
        ("https://[::1]", "[::1]"),
        ("https://[::1]:8443", "[::1]:8443"),
    ],
)
def test_the_host_field_has_the_port_only_where_it_is_not_the_default(text: str, host_field_value: str) -> None:
    assert TargetUrl.parse(text).host_field_value == host_field_value


def test_only_https_is_tls() -> None:
    assert TargetUrl.parse("host").is_tls
    assert not TargetUrl.parse("http://host").is_tls


@given(
    st.builds(
        TargetUrl,
        st.sampled_from(["https", "http"]),
        st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{2,10}){0,3}", fullmatch=True) | st.just("::1"),
        st.integers(1, 65535),
        st.from_regex(r"(/[A-Za-z0-9_~-]{1,8}){0,3}", fullmatch=True),
    )
)
def test_a_target_comes_back_from_its_own_text(target: TargetUrl) -> None:
    assert TargetUrl.parse(str(target)) == target


@given(st.text(max_size=40))
def test_any_text_is_a_target_that_comes_back_or_is_refused(text: str) -> None:
    try:
        target = TargetUrl.parse(text)
    except UnexpectedValueError:
        return
    assert TargetUrl.parse(str(target)) == target
    assert str(target).isascii()
    assert str(target).isprintable()


def test_a_target_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        TargetUrl.parse("host").port = 1  # type: ignore[misc]  # it is frozen, which is the point


def test_an_ipv6_address_has_one_form() -> None:
    assert normalised_ipv6("0:0:0:0:0:0:0:1") == "::1"
    assert normalised_ipv6("::1\x00") is None
    assert normalised_ipv6("\u0661::") is None


def test_a_name_that_ends_in_a_number_is_an_address_or_nothing() -> None:
    assert is_host_name("10.0.0.1")
    assert not is_host_name("10.0.1")
    assert is_host_name("10.example")
