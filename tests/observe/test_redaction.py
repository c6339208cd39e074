"""Secrets are taken out of whatever is about to be written."""

from __future__ import annotations

import base64
import html
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest

from aws_signing_proxy.observe.redaction import MASK, Redactor

SECRET = 'wJalr/XUtnFEMI+K7MD"ENG\\bPx='


@pytest.fixture(name="redactor")
def _redactor() -> Redactor:
    redactor = Redactor()
    redactor.register(SECRET)
    return redactor


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


class Telling:
    def __repr__(self) -> str:
        return f"<Telling {SECRET}>"


@pytest.mark.parametrize(
    "written",
    [SECRET, json.dumps(SECRET), repr(SECRET), quote(SECRET), quote(SECRET, safe=""), f"a{SECRET}b{SECRET}c"],
)
def test_a_registered_secret_is_masked_however_it_is_written(redactor: Redactor, written: str) -> None:
    masked = redactor.mask(f"before {written} after")
    assert "XUtnFEMI" not in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert MASK in masked


def test_a_forgotten_secret_is_no_longer_masked(redactor: Redactor) -> None:
    redactor.forget(SECRET)
    assert redactor.mask(SECRET) == SECRET


def test_a_secret_of_two_owners_is_masked_until_both_have_let_it_go(redactor: Redactor) -> None:
    redactor.register(SECRET)
    redactor.forget(SECRET)
    assert redactor.mask(SECRET) == MASK
    redactor.forget(SECRET)
    redactor.forget(SECRET)
    assert redactor.mask(SECRET) == SECRET
    redactor.register(SECRET)
    assert redactor.mask(SECRET) == MASK


def test_a_secret_that_stays_is_masked_after_a_replacement(redactor: Redactor) -> None:
    redactor.replace((SECRET,), (SECRET, "another-secret"))
    assert redactor.mask(f"{SECRET} another-secret") == f"{MASK} {MASK}"


def test_a_secret_that_contains_another_is_masked_whole() -> None:
    redactor = Redactor()
    redactor.register("abcdefgh")
    redactor.register("abcdefgh-and-more")
    assert redactor.mask("abcdefgh-and-more") == MASK


@pytest.mark.parametrize("short", ["", "a", "test", "testing"])
def test_a_stand_in_too_short_to_be_a_secret_does_not_mangle_words(short: str) -> None:
    redactor = Redactor()
    redactor.register(short)
    redactor.forget(short)
    redactor.register(short)
    assert redactor.mask("the latest testing of a proxy") == "the latest testing of a proxy"


@pytest.mark.parametrize("short", ["x", "s3", "abc", "test", "pl4nted", "p-4/n"])
@pytest.mark.parametrize(
    "quoting",
    ["secret={}&a=b", '{{"any":"{}"}}', '{{\\"any\\":\\"{}\\"}}', "any%3D{}%26", "any%3d{}", "&quot;{}&quot;", "any:{}",
     "any\\u003d{}\\u0026", "%22{}%22", "&#39;{}&#39;"],
)  # fmt: skip
def test_a_short_secret_is_masked_where_it_is_a_value(short: str, quoting: str) -> None:
    redactor = Redactor()
    redactor.register(short)
    assert redactor.mask_known(quoting.format(short)) == quoting.format(MASK)


def test_a_short_secret_that_is_no_word_is_masked_wherever_it_is_whole() -> None:
    redactor = Redactor()
    redactor.register("pl4nted")
    assert redactor.mask_known("it is pl4nted (pl4nted), expl4nted") == f"it is {MASK} ({MASK}), expl4nted"


def lower(text: str) -> str:
    """Write the percent escapes as .NET does."""
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text)


TRICKY = "ab/cd+EF==~x\"y'z&w éü\U0001f511\n\\\\-123%"
WRITERS: list[Callable[[str], str]] = [
    lambda text: lower(quote(text, safe="")),
    lambda text: lower(quote_plus(text)),
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    lambda text: json.dumps(text)[1:-1].replace("=", "\\u003D").replace("&", "\\u0026"),
    lambda text: html.escape(text, quote=True),
    lambda text: text.replace("&", "&amp;").replace("'", "&apos;").replace('"', "&#034;").replace("/", "&#X2F;"),
    lambda text: "".join(f"&#{ord(one)};" if not one.isalnum() else one for one in text),
    lambda text: json.dumps(json.dumps(json.dumps(text)))[1:-1],
    lambda text: quote(quote(text, safe=""), safe=""),
    lambda text: quote(json.dumps(text)[1:-1], safe=""),
    lambda text: json.dumps(html.escape(text))[1:-1].replace("&", "\\u0026"),
    lambda text: lower(quote(html.escape(text), safe="")),
    lambda text: repr(text.encode())[2:-1],
    lambda text: repr(text)[1:-1],
    lambda text: ascii(text)[1:-1],
    lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    lambda text: base64.urlsafe_b64encode(f"me:{text}".encode()).decode(),
    lambda text: lower(quote(base64.b64encode(text.encode()).decode(), safe="")),
]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("secret", [SECRET, TRICKY, "abcdefgh/ijkl+mnop==", "/+=&%\"'<>\\ ", "~ä~ö~ü~ß~"])
def test_a_secret_is_masked_in_whatever_encoding_a_server_quotes_it(write: Callable[[str], str], secret: str) -> None:
    redactor = Redactor()
    redactor.register(secret)
    masked = redactor.mask_known(f"<{write(secret)}>")
    assert len(masked) <= len(f"<12345678{MASK}1234>"), masked
    assert MASK in masked


def test_of_a_long_secret_that_was_cut_off_what_is_there_is_masked() -> None:
    redactor = Redactor()
    redactor.register("a/abcdefghijklmn+opq")
    assert redactor.mask("quoted: a/abcdefghijklmn...") == f"quoted: a/{MASK}..."


def test_a_text_of_escapes_alone_is_masked_in_no_time() -> None:
    redactor = Redactor()
    for secret in ('\\"' * 20, "\\" * 20 + "a", '"' * 20, "%25" * 20, "&amp;" * 20):
        redactor.register(secret)
    for text in ("\\" * 20_000, "%25" * 20_000, "&amp;" * 20_000, "%5C" * 20_000):
        began = time.process_time()
        redactor.mask(text)
        assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    "written",
    [
        '{{"identity":"c","secret":"{}"}}',
        '{{\\"identity\\":\\"c\\",\\"secret\\":\\"{}\\"}}',
        "client_secret%3D{} a",
        "&quot;client_secret&quot;:&quot;{}&quot;",
        "client_assertion={}&b",
        "secret_id={}",
    ],
)
def test_a_secret_that_a_server_quotes_with_its_name_is_masked_unregistered(written: str) -> None:
    assert Redactor().mask(written.format("unregistered")) == written.format(MASK)


def test_what_is_said_of_a_client_secret_stays_readable() -> None:
    said = "client secret: is not set (Set ASP_OPEN_ID_CLIENT_SECRET)"
    assert Redactor().mask(said) == said


@pytest.mark.parametrize(
    "name",
    ["authorization", "Authorization", "X-Amz-Security-Token", "aws_secret_access_key", "client_secret", "password",
     "cookie", "Set-Cookie", "session_token", "X-Amz-Signature", "apiKey", "private_key"],
)  # fmt: skip
def test_a_value_under_a_secret_name_is_masked_whatever_it_is(redactor: Redactor, name: str) -> None:
    assert redactor.clean_field(name, "unregistered") == MASK
    assert redactor.clean_field(name, ["unregistered"]) == MASK
    assert redactor.clean({"headers": {name: b"unregistered"}}) == {"headers": {name: MASK}}


@pytest.mark.parametrize(
    ("name", "value"),
    [("token_file", "/var/run/token"), ("token_expires_in", "300s"), ("token_count", 3), ("secret", None),
     ("password_set", True), ("source", "environment")],
)  # fmt: skip
def test_what_is_said_about_a_secret_is_shown(redactor: Redactor, name: str, value: object) -> None:
    assert redactor.clean_field(name, value) == value


@pytest.mark.parametrize(
    ("written", "masked"),
    [
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"),
        ("{'X-Amz-Security-Token': 'FwoGZXIv'}", "{'X-Amz-Security-Token': '***'}"),
        ("b'X-Vault-Token': b'hvs.abc'", "b'X-Vault-Token': b'***'"),
        ("/?X-Amz-Security-Token=abc&X-Amz-Signature=def&a=b", "/?X-Amz-Security-Token=***&X-Amz-Signature=***&a=b"),
        ("Credential=AKID/2026, Signature=0123abcd", "Credential=AKID/2026, Signature=***"),
        ('{"idToken":"eyJh","expires_in":3}', '{"idToken":"***","expires_in":3}'),
        ("aws_secret_access_key = abc", "aws_secret_access_key = ***"),
        ("client_secret=abc&grant_type=x", "client_secret=***&grant_type=x"),
    ],
)
def test_a_secret_written_out_with_its_name_is_masked_unregistered(written: str, masked: str) -> None:
    assert Redactor().mask(written) == masked


def test_every_string_within_a_value_is_masked(redactor: Redactor) -> None:
    cleaned = redactor.clean(
        {
            "list": [SECRET, {"tuple": (SECRET,)}],
            "object": Telling(),
            "bytes": SECRET.encode(),
            SECRET: 1,
            "set": {SECRET},
        }
    )
    assert "XUtnFEMI" not in json.dumps(cleaned)


@pytest.mark.parametrize("value", [None, True, 3, 1.5, "text", [1, "a"], {"a": None}])
def test_plain_values_stay_as_they_are(redactor: Redactor, value: object) -> None:
    assert redactor.clean(value) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Unprintable(), {Unprintable(): Unprintable()}, object()])
def test_anything_becomes_what_strict_json_can_write(redactor: Redactor, value: object) -> None:
    json.dumps(redactor.clean(value), allow_nan=False)


def test_an_endless_structure_is_cut(redactor: Redactor) -> None:
    endless: list[object] = []
    endless.append(endless)
    assert len(json.dumps(redactor.clean(endless))) < 100
    assert len(str(redactor.clean(list(range(100_000))))) < 2_000


@pytest.fixture(name="_hasty")
def _hasty() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(*works: Callable[[], None]) -> None:
    """Run all at once; raise what any of them raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(works))

    def guarded(work: Callable[[], None]) -> None:
        try:
            start.wait(10)
            work()
        except BaseException as error:  # noqa: BLE001 - a thread's failure would be seen by nobody
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []


@pytest.mark.usefixtures("_hasty")
def test_threads_that_register_and_forget_at_once_lose_no_count() -> None:
    redactor = Redactor()

    def hold_shared() -> None:
        for _ in range(300):
            redactor.register("shared-by-all")
            assert redactor.mask_known("shared-by-all") == MASK
            redactor.forget("shared-by-all")

    def hold_own(number: int) -> None:
        secret = f"of-thread-{number}"
        for _ in range(300):
            redactor.register(secret)
            assert redactor.mask_known(f"a {secret} b") == f"a {MASK} b"
            redactor.forget(secret)
            assert redactor.mask_known(secret) == secret

    in_threads(*[hold_shared] * 4, *[lambda number=number: hold_own(number) for number in range(4)])
    assert not redactor._holders
    assert redactor._forms == ()


@pytest.mark.usefixtures("_hasty")
def test_a_secret_that_stays_is_masked_at_every_moment_while_others_come_and_go(redactor: Redactor) -> None:
    is_over = threading.Event()

    def replace() -> None:
        try:
            for number in range(500):
                new = (SECRET, f"another-{number:04}")
                redactor.replace((), new)
                redactor.replace(new, ())
        finally:
            is_over.set()

    def read() -> None:
        while not is_over.is_set():
            assert redactor.mask(f"before {SECRET} after") == f"before {MASK} after"

    in_threads(replace, read, read)
    assert redactor._holders == {SECRET: 1}
