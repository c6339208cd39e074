"""The demo's little S3."""

from __future__ import annotations

import pytest

from aws_signing_proxy.demo import objects
from aws_signing_proxy.demo.messages import Received, Reply
from aws_signing_proxy.demo.objects import ObjectStore


def ask(store: ObjectStore, method: str, target: bytes, body: bytes = b"", *fields: tuple[bytes, bytes]) -> Reply:
    return store.answer(Received(method, target, list(fields), body))


def test_an_object_comes_back_with_its_type_and_metadata() -> None:
    store = ObjectStore()
    put = ask(
        store, "PUT", b"/b/k", b"abc", (b"Content-Type", b"text/csv"), (b"X-Amz-Meta-Author", b"me"), (b"Accept", b"*")
    )
    got = ask(store, "GET", b"/b/k")
    assert (put.status, put.field("etag")) == (200, '"900150983cd24fb0d6963f7d28e17f72"')
    assert (got.status, got.body) == (200, b"abc")
    assert got.fields == [
        ("Content-Type", "text/csv"),
        ("X-Amz-Meta-Author", "me"),
        ("ETag", '"900150983cd24fb0d6963f7d28e17f72"'),
    ]


def test_a_key_is_decoded_and_a_plus_is_a_plus() -> None:
    store = ObjectStore()
    ask(store, "PUT", b"/b/x%20y+%C3%A4%2F1", b"abc")
    assert ask(store, "GET", b"/b/x%20y%2B%c3%a4/1").body == b"abc"


def test_the_keys_of_a_bucket_are_listed_by_prefix() -> None:
    store = ObjectStore()
    for key in (b"a/2", b"a/1&", b"b"):
        ask(store, "PUT", b"/b/" + key.replace(b"&", b"%26"), b"1")
    ask(store, "PUT", b"/other/a/3", b"1")
    listed = ask(store, "GET", b"/b?list-type=2&prefix=a%2F").body.decode()
    assert "<KeyCount>2</KeyCount>" in listed
    assert listed.index("<Key>a/1&amp;</Key>") < listed.index("<Key>a/2</Key>")


def test_a_deleted_object_is_gone() -> None:
    store = ObjectStore()
    ask(store, "PUT", b"/b/k", b"abc")
    assert ask(store, "DELETE", b"/b/k").status == 204
    assert b"<Code>NoSuchKey</Code>" in ask(store, "GET", b"/b/k").body


def test_aws_chunked_is_refused_instead_of_stored_with_its_framing() -> None:
    streaming = (b"X-Amz-Content-Sha256", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    assert ask(ObjectStore(), "PUT", b"/b/k", b"3\r\nabc\r\n0\r\n\r\n", streaming).status == 501


@pytest.mark.parametrize(("method", "target"), [("POST", b"/b/k"), ("PUT", b"/b"), ("GET", b"/"), ("PUT", b"/b/")])
def test_what_is_not_understood_is_said(method: str, target: bytes) -> None:
    reply = ask(ObjectStore(), method, target)
    assert reply.status == 405
    assert b"<Code>MethodNotAllowed</Code>" in reply.body


def test_what_all_objects_together_hold_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_MOST_BYTES", 10)
    store = ObjectStore()
    assert ask(store, "PUT", b"/b/1", b"123456").status == 200
    assert ask(store, "PUT", b"/b/2", b"12345").status == 400
    assert ask(store, "PUT", b"/b/1", b"1234567890").status == 200
    assert ask(store, "DELETE", b"/b/1").status == 204
    assert ask(store, "PUT", b"/b/2", b"1234567890").status == 200


def test_the_number_of_objects_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_MOST_OBJECTS", 1)
    store = ObjectStore()
    assert ask(store, "PUT", b"/b/1", b"1").status == 200
    assert ask(store, "PUT", b"/b/2", b"1").status == 400
    assert ask(store, "PUT", b"/b/1", b"2").status == 200
