"""A little of OpenSearch, in memory: index, get and search documents."""

from __future__ import annotations

import json
import re
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from aws_signing_proxy.demo.messages import Received, Reply

__all__ = ["DocumentStore"]

_MOST_DOCUMENTS: Final = 1000
_LARGEST_DOCUMENT_BYTES: Final = 1024 * 1024
_MOST_HITS: Final = 10
_WORD: Final = re.compile(r"\w+")


class DocumentStore:
    """Answers `/{index}/_doc/{id}` and `/{index}/_search`, and `/` with what it is."""

    def __init__(self) -> None:
        self._indices: dict[str, dict[str, dict[str, Any]]] = {}
        self._count = 0

    def answer(self, request: Received) -> Reply:
        """Answer a request whose signature is good."""
        # Divided before it is decoded: a `%2F` in an id is part of the id.
        segments = [unquote(segment) for segment in request.path.decode("latin-1").split("/")[1:]]
        match request.method, segments:
            case "GET", [""]:
                return _json(200, {"name": "stand-in", "tagline": "The demo of aws-signing-proxy"})
            case (("PUT" | "POST"), [index, "_doc", name]) if index and name:
                return self._index(index, name, request.body)
            case "GET", [index, "_doc", name]:
                return self._get(index, name)
            case (("GET" | "POST"), [index, "_search"]):
                return self._search(index, request)
            case _:
                return _error(
                    400,
                    "invalid_request",
                    f"the stand-in knows PUT and GET /INDEX/_doc/ID, and /INDEX/_search, not {request.method} "
                    f"{request.path.decode('latin-1')}",
                )

    def _index(self, index: str, name: str, body: bytes) -> Reply:
        if len(body) > _LARGEST_DOCUMENT_BYTES:
            return _error(413, "too_large", f"a document has at most {_LARGEST_DOCUMENT_BYTES} bytes here")
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            return _error(400, "mapper_parsing_exception", "failed to parse: the document is no JSON object")
        is_new = name not in self._indices.get(index, {})
        if is_new and self._count >= _MOST_DOCUMENTS:
            return _error(429, "too_many_documents", f"the stand-in keeps at most {_MOST_DOCUMENTS} documents")
        self._indices.setdefault(index, {})[name] = document
        self._count += is_new
        return _json(
            201 if is_new else 200, {"_index": index, "_id": name, "result": "created" if is_new else "updated"}
        )

    def _get(self, index: str, name: str) -> Reply:
        document = self._indices.get(index, {}).get(name)
        answer: dict[str, Any] = {"_index": index, "_id": name, "found": document is not None}
        if document is None:
            return _json(404, answer)
        return _json(200, answer | {"_source": document})

    def _search(self, index: str, request: Received) -> Reply:
        documents = self._indices.get(index)
        if documents is None:
            return _error(404, "index_not_found_exception", f"no such index [{index}]")
        try:
            words = _words_wanted(request)
        except ValueError:
            return _error(400, "parsing_exception", "the stand-in knows ?q=WORDS, and the queries match and match_all")
        hits = [
            {"_index": index, "_id": name, "_score": 1.0, "_source": document}
            for name, document in documents.items()
            if words <= _words(json.dumps(document, ensure_ascii=False))
        ]
        return _json(
            200,
            {"timed_out": False, "hits": {"total": {"value": len(hits), "relation": "eq"}, "hits": hits[:_MOST_HITS]}},
        )


def _words_wanted(request: Received) -> set[str]:
    """Return the words that a document must have. Raises ValueError for a query that is not understood."""
    q = parse_qs(request.query.decode("latin-1")).get("q")
    if q is not None:
        return _words(q[0])
    if not request.body:
        return set()
    match json.loads(request.body):
        case {"query": {"match_all": _}}:
            return set()
        case {"query": {"match": dict(wanted)}}:
            return _words(" ".join(str(text) for text in wanted.values()))
        case _:
            raise ValueError


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _error(status: int, kind: str, reason: str) -> Reply:
    return _json(status, {"error": {"type": kind, "reason": reason}, "status": status})


def _json(status: int, content: dict[str, Any]) -> Reply:
    return Reply(
        status,
        [("Content-Type", "application/json; charset=UTF-8")],
        json.dumps(content, ensure_ascii=False).encode() + b"\n",
    )
