"""The demo's little OpenSearch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aws_signing_proxy.demo import documents
from aws_signing_proxy.demo.documents import DocumentStore
from aws_signing_proxy.demo.messages import Received


def ask(store: DocumentStore, method: str, target: bytes, body: bytes = b"") -> tuple[int, Any]:
    reply = store.answer(Received(method, target, [], body))
    assert reply.field("content-type") == "application/json; charset=UTF-8"
    return reply.status, json.loads(reply.body)


@pytest.fixture
def store() -> DocumentStore:
    store = DocumentStore()
    assert ask(store, "PUT", b"/books/_doc/1", b'{"title": "The Art of Signing"}')[0] == 201
    assert ask(store, "PUT", b"/books/_doc/2", b'{"title": "Something else"}')[0] == 201
    return store


def test_a_document_comes_back_as_it_was_indexed(store: DocumentStore) -> None:
    assert ask(store, "GET", b"/books/_doc/1") == (
        200,
        {"_index": "books", "_id": "1", "found": True, "_source": {"title": "The Art of Signing"}},
    )


def test_an_id_that_is_there_already_is_updated(store: DocumentStore) -> None:
    assert ask(store, "PUT", b"/books/_doc/1", b"{}")[0] == 200
    assert ask(store, "GET", b"/books/_doc/1")[1]["_source"] == {}


def test_an_encoded_slash_is_part_of_the_id(store: DocumentStore) -> None:
    assert ask(store, "PUT", b"/books/_doc/a%2Fb", b"{}") == (
        201,
        {"_index": "books", "_id": "a/b", "result": "created"},
    )


def test_a_document_that_is_not_there_is_not_found(store: DocumentStore) -> None:
    assert ask(store, "GET", b"/books/_doc/3") == (404, {"_index": "books", "_id": "3", "found": False})


@pytest.mark.parametrize(
    ("target", "body", "ids"),
    [
        (b"/books/_search?q=signing", b"", ["1"]),
        (b"/books/_search?q=The+ART", b"", ["1"]),
        (b"/books/_search", b"", ["1", "2"]),
        (b"/books/_search", b'{"query": {"match_all": {}}}', ["1", "2"]),
        (b"/books/_search", b'{"query": {"match": {"title": "else"}}}', ["2"]),
        (b"/books/_search?q=nothing", b"", []),
    ],
)
def test_a_search_finds_the_documents_with_all_the_words(
    store: DocumentStore, target: bytes, body: bytes, ids: list[str]
) -> None:
    status, answer = ask(store, "POST", target, body)
    assert status == 200
    assert [hit["_id"] for hit in answer["hits"]["hits"]] == ids
    assert answer["hits"]["total"] == {"value": len(ids), "relation": "eq"}


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "kind"),
    [
        ("GET", b"/none/_search", b"", 404, "index_not_found_exception"),
        ("POST", b"/books/_search", b'{"query": {"range": {}}}', 400, "parsing_exception"),
        ("POST", b"/books/_search", b"{", 400, "parsing_exception"),
        ("PUT", b"/books/_doc/1", b"[]", 400, "mapper_parsing_exception"),
        ("PUT", b"/books/_doc/1", b"\xff", 400, "mapper_parsing_exception"),
        ("DELETE", b"/books", b"", 400, "invalid_request"),
    ],
)
def test_what_is_not_understood_is_said(
    store: DocumentStore, method: str, target: bytes, body: bytes, status: int, kind: str
) -> None:
    answered, answer = ask(store, method, target, body)
    assert (answered, answer["error"]["type"]) == (status, kind)


def test_it_says_what_it_is() -> None:
    assert ask(DocumentStore(), "GET", b"/")[1]["name"] == "stand-in"


def test_a_document_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch, store: DocumentStore) -> None:
    monkeypatch.setattr(documents, "_LARGEST_DOCUMENT_BYTES", 10)
    assert ask(store, "PUT", b"/books/_doc/3", b'{"a": "12345"}')[0] == 413


def test_one_document_too_many_is_refused(monkeypatch: pytest.MonkeyPatch, store: DocumentStore) -> None:
    monkeypatch.setattr(documents, "_MOST_DOCUMENTS", 2)
    assert ask(store, "PUT", b"/books/_doc/3", b"{}")[0] == 429
    assert ask(store, "PUT", b"/books/_doc/2", b"{}")[0] == 200
