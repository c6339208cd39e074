"""opensearch-py, synchronous and asynchronous, through the proxy to a stand-in that verifies every signature."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opensearchpy import AsyncOpenSearch, NotFoundError, OpenSearch, helpers

from tests.clients.processes import ProxyProcess
from tests.clients.verifying_service import VerifyingService

ODD_IDS = ["a/b%2Fc*!+ é", "..", ".", "//", "?x=1&y#z", "a:b,c;d'e(f)@g", "😀", "%", "+", " ", '~^`{}|\\<>"[]']
SOURCE = {"title": "Über *alles* & mehr", "price": 1.5, "tags": ["a", "b"]}


@pytest.fixture(params=[False, True], ids=["plain", "gzip"])
def opensearch(request: pytest.FixtureRequest, opensearch_proxy: ProxyProcess) -> Iterator[OpenSearch]:
    client = OpenSearch(hosts=[opensearch_proxy.url], http_compress=request.param, max_retries=0, timeout=30)
    yield client
    client.close()


@pytest.mark.parametrize("document_id", ODD_IDS)
def test_a_document_is_indexed_found_and_read_under_exactly_its_id(
    opensearch: OpenSearch, service: VerifyingService, document_id: str
) -> None:
    assert opensearch.index(index="test-1", id=document_id, body=SOURCE)["result"] == "created"
    assert opensearch.exists(index="test-1", id=document_id)
    found = opensearch.get(index="test-1", id=document_id)
    assert (found["_id"], found["_source"]) == (document_id, SOURCE)
    assert [request.method for request in service.requests] == ["PUT", "HEAD", "GET"]


def test_a_document_that_is_not_there_is_not_found(opensearch: OpenSearch, service: VerifyingService) -> None:
    assert not opensearch.exists(index="test-1", id="never/stored")
    with pytest.raises(NotFoundError) as caught:
        opensearch.get(index="test-1", id="never/stored")
    assert caught.value.info == {"_index": "test-1", "_id": "never/stored", "found": False}


def test_a_search_over_a_pattern_of_indices_reaches_the_service_as_it_was_meant(
    opensearch: OpenSearch, service: VerifyingService
) -> None:
    opensearch.index(index="test-1", id="1", body=SOURCE)
    opensearch.index(index="other-1", id="2", body=SOURCE)
    answer = opensearch.search(index="test-*", q="title:a b+c&d", size=1, pretty=True)
    assert [hit["_index"] for hit in answer["hits"]["hits"]] == ["test-1"]
    assert service.requests[-1].path == ["test-*", "_search"]
    assert service.requests[-1].query == {"pretty": ["true"], "q": ["title:a b+c&d"], "size": ["1"]}


def test_a_bulk_request_and_a_scroll_over_all_of_it_lose_nothing(
    opensearch: OpenSearch, service: VerifyingService
) -> None:
    actions = [{"_index": "test-bulk", "_id": f"{number}/é", "_source": SOURCE} for number in range(57)]
    assert helpers.bulk(opensearch, actions, chunk_size=20) == (57, [])
    scanned = helpers.scan(opensearch, index="test-bulk", size=10, query={"query": {"match_all": {}}})
    assert sorted(hit["_id"] for hit in scanned) == sorted(str(action["_id"]) for action in actions)
    assert service.requests[0].values("content-type") == ["application/json"]


def test_a_bulk_request_of_3_mib_arrives_whole(opensearch: OpenSearch, service: VerifyingService) -> None:
    text = "ä" * 30_000
    lines: list[dict[str, Any]] = []
    for number in range(60):
        lines += [{"index": {"_index": "test-large", "_id": str(number)}}, {"text": text}]
    answer = opensearch.bulk(body=lines)
    assert not answer["errors"]
    assert len(service.only_request.text.encode()) > 3 * 1024 * 1024
    assert opensearch.get(index="test-large", id="59")["_source"] == {"text": text}


def test_a_compressed_request_body_arrives_compressed(
    opensearch_proxy: ProxyProcess, service: VerifyingService
) -> None:
    with OpenSearch(hosts=[opensearch_proxy.url], http_compress=True, max_retries=0) as opensearch:
        opensearch.index(index="test-1", id="1", body=SOURCE)
    assert service.only_request.values("content-encoding") == ["gzip"]
    assert service.only_request.body[:2] == b"\x1f\x8b"


def test_the_asynchronous_client_finds_documents_under_odd_ids(
    opensearch_proxy: ProxyProcess, service: VerifyingService
) -> None:
    """Its URLs go through yarl, which writes some escapes in another way than they were given."""

    async def index_and_read() -> list[Any]:
        async with AsyncOpenSearch(hosts=[opensearch_proxy.url], max_retries=0) as opensearch:
            for document_id in ODD_IDS:
                await opensearch.index(index="test-1", id=document_id, body={"id": document_id})
            return [(await opensearch.get(index="test-1", id=one))["_source"]["id"] for one in ODD_IDS]

    assert asyncio.run(index_and_read()) == ODD_IDS
