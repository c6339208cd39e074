from __future__ import annotations

import json

import pytest

from aws_signing_proxy.errors import DownstreamError, ErrorCode, InternalError, ProxyError, answer_to
from aws_signing_proxy.http1.response import parse_response_head
from aws_signing_proxy.http1.writing import CONTINUE, render_problem


def render(
    error: ProxyError, *, is_head_request: bool = False, closes: bool = False, is_http10: bool = False
) -> tuple[list[bytes], bytes]:
    """The lines of the head, and the body."""
    data = render_problem(error, is_head_request=is_head_request, closes=closes, is_http10=is_http10)
    head, _, body = data.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_has_an_answer_that_is_problem_details_and_well_formed_http(code: ErrorCode) -> None:
    data = render_problem(ProxyError(code, "Why, “so”."), is_head_request=False, closes=False, is_http10=False)
    head, _, body = data.partition(b"\r\n\r\n")
    response = parse_response_head(head + b"\r\n\r\n", is_head_request=False)
    assert response.status == answer_to(code).status
    assert response.body_length == len(body)
    assert b"Content-Type: application/problem+json\r\n" in response.block
    assert json.loads(body) == {
        "type": f"urn:aws-signing-proxy:error:{code}",
        "title": answer_to(code).title,
        "status": answer_to(code).status,
        "detail": "Why, “so”.",
        "code": str(code),
    }


def test_head_is_answered_with_the_length_of_a_body_that_is_not_sent() -> None:
    error = DownstreamError(ErrorCode.BAD_HOST, "Why.")
    lines, body = render(error)
    lines_for_head, no_body = render(error, is_head_request=True)
    assert lines_for_head == lines
    assert (len(body) > 0, no_body) == (True, b"")


def test_an_answer_says_what_becomes_of_the_connection() -> None:
    error = DownstreamError(ErrorCode.BAD_HOST, "Why.")
    assert not [line for line in render(error)[0] if line.startswith(b"Connection")]
    assert b"Connection: close" in render(error, closes=True)[0]
    assert b"Connection: close" in render(error, closes=True, is_http10=True)[0]
    assert b"Connection: keep-alive" in render(error, is_http10=True)[0]


def test_an_answer_says_when_to_come_again_and_what_is_allowed() -> None:
    lines, _ = render(InternalError(ErrorCode.TOO_MANY_CONNECTIONS, "Why.", retry_after_seconds=7))
    assert b"Retry-After: 7" in lines
    lines, _ = render(DownstreamError(ErrorCode.METHOD_NOT_SUPPORTED, "Why."))
    assert b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" in lines
    assert not [line for line in lines if line.startswith(b"Retry-After")]


def test_100_continue_is_a_whole_interim_response_without_fields() -> None:
    assert CONTINUE == b"HTTP/1.1 100 Continue\r\n\r\n"
