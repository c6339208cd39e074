"""requests, through the proxy to a stand-in that verifies every signature."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator

import pytest
import requests

from tests.clients.processes import ProxyProcess
from tests.clients.verifying_service import VerifyingService, blob

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("target", "query"),
    [
        ("/test-*/_search?q=a b&size=1", {"q": ["a b"], "size": ["1"]}),
        ("/_cat/indices?v&pretty", {"v": [""], "pretty": [""]}),
        ("/x/_search?key=b&key=a&key=&KEY=c", {"key": ["b", "a", ""], "KEY": ["c"]}),
        ("/x?q=1%2B1%3D2&w=50%25%26&e=&=nameless", {"q": ["1+1=2"], "w": ["50%&"], "e": [""], "": ["nameless"]}),
        ("/x?filter_path=hits.hits._source,*.took", {"filter_path": ["hits.hits._source,*.took"]}),
        ("/x?q=%C3%A4%F0%9F%98%80", {"q": ["ä😀"]}),
        ("/x?a=b=c", {"a": ["b=c"]}),
    ],
)
def test_a_query_reaches_the_service_with_its_meaning(
    http: requests.Session, opensearch_proxy: ProxyProcess, service: VerifyingService, target: str, query: object
) -> None:
    assert http.get(opensearch_proxy.url + target, timeout=10).status_code == 200
    assert service.only_request.query == query


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
@pytest.mark.parametrize("body", [b"", b'{"query": {}}'], ids=["empty", "body"])
def test_every_method_arrives_with_and_without_a_body(
    http: requests.Session, opensearch_proxy: ProxyProcess, service: VerifyingService, method: str, body: bytes
) -> None:
    answer = http.request(method, f"{opensearch_proxy.url}/any/path", data=body, timeout=10)
    assert answer.status_code == 200
    assert (service.only_request.method, service.only_request.body) == (method, body)


def test_fields_of_the_request_arrive_and_those_of_the_hop_and_of_a_former_signature_do_not(
    http: requests.Session, opensearch_proxy: ProxyProcess, service: VerifyingService
) -> None:
    headers = {
        "X-Opaque-Id": "my id",
        "Content-Type": "application/json; charset=UTF-8",
        "X-Amz-Meta-Note": "two  spaces",
        "Cookie": "a=b; c=d",
        "Connection": "keep-alive, X-Only-Here",
        "X-Only-Here": "gone",
        "Authorization": "Basic d3Jvbmc6d3Jvbmc=",
        "X-Amz-Date": "20010101T000000Z",
        "X-Amz-Security-Token": "stale",
        "TE": "trailers",
    }
    assert http.put(f"{opensearch_proxy.url}/x", data=b"{}", headers=headers, timeout=10).status_code == 200
    request = service.only_request
    assert request.values("x-opaque-id") == ["my id"]
    assert request.values("cookie") == ["a=b; c=d"]
    assert request.values("x-only-here") == []
    assert request.values("user-agent") == [http.headers["User-Agent"]]
    assert [len(request.values(name)) for name in ("authorization", "x-amz-date", "x-amz-security-token")] == [1, 1, 1]
    assert {"content-type", "x-amz-meta-note"} <= set(request.signed_headers)
    assert {"user-agent", "cookie", "x-opaque-id"}.isdisjoint(request.signed_headers)


def test_one_connection_each_way_serves_many_requests(
    http: requests.Session, opensearch_proxy: ProxyProcess, service: VerifyingService
) -> None:
    downstream_before = opensearch_proxy.metric("aws_signing_proxy_downstream_connections_total")
    for number in range(20):
        answer = http.post(f"{opensearch_proxy.url}/{number}", data=str(number), timeout=10)
        assert answer.json()["path"] == [str(number)]
    assert len({request.connection for request in service.requests}) == 1
    assert opensearch_proxy.metric("aws_signing_proxy_downstream_connections_total") - downstream_before == 1


def test_a_compressed_answer_is_passed_on_as_it_is(
    http: requests.Session, opensearch_proxy: ProxyProcess, service: VerifyingService
) -> None:
    with http.get(opensearch_proxy.url, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=10) as answer:
        raw = answer.raw.read(decode_content=False)
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(raw)
    assert json.loads(gzip.decompress(raw))["length"] == 0


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_download_of_20_mib_arrives_whole(
    http: requests.Session, opensearch_proxy: ProxyProcess, service: VerifyingService, framing: str
) -> None:
    digest = hashlib.sha256()
    url = f"{opensearch_proxy.url}/_blob/{20 * MIB}?framing={framing}"
    with http.get(url, stream=True, timeout=30) as answer:
        for piece in answer.iter_content(64 * 1024):
            digest.update(piece)
    assert digest.digest() == hashlib.sha256(blob(20 * MIB)).digest()
    assert ("transfer-encoding" in answer.headers) == (framing == "chunked")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_of_20_mib_arrives_whole_and_with_its_length(
    http: requests.Session, opensearch_proxy: ProxyProcess, service: VerifyingService, framing: str
) -> None:
    data = blob(20 * MIB)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]

    body = data if framing == "length" else pieces()
    answer = http.put(f"{opensearch_proxy.url}/upload", data=body, timeout=30).json()
    assert (answer["length"], answer["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert service.only_request.values("content-length") == [str(len(data))]


def test_a_status_that_the_service_answers_is_not_changed(
    http: requests.Session, opensearch_proxy: ProxyProcess, service: VerifyingService
) -> None:
    answer = http.get(f"{opensearch_proxy.url}/index/_doc/none", timeout=10)
    assert (answer.status_code, answer.reason) == (404, "Whatever")
    assert answer.json()["found"] is False
