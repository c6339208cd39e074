"""The tour through real proxies, in one loop with the stand-in."""

from __future__ import annotations

import asyncio

import pytest

from aws_signing_proxy.demo.command import Demo
from aws_signing_proxy.demo.stand_in import HOST
from aws_signing_proxy.demo.tour import Row, Step, Tour, steps
from aws_signing_proxy.sigv4 import Identity


def take_tour() -> list[Row]:
    async def run() -> list[Row]:
        demo = Demo(port=0, mgmt_port=0)
        await demo.start()
        try:
            return [row async for row in demo.tour.rows()]
        finally:
            await demo.stop()

    return asyncio.run(run())


def past_the_proxies(step: Step) -> Row:
    """Take a step where the proxies should be but are not: the stand-in gets what the client sent."""

    async def run() -> Row:
        demo = Demo(port=0, mgmt_port=0)
        await demo.start()
        try:
            ports = demo.stand_in.ports
            tour = Tour(proxies=ports, stand_in=ports, identity=Identity("other", "identity"), region="eu-central-1")
            return await tour.take(step)
        finally:
            await demo.stop()

    return asyncio.run(run())


def test_every_request_of_the_tour_goes_as_it_should() -> None:
    rows = take_tour()
    assert [row.problem for row in rows] == [None] * len(steps())
    assert [row.verdict for row in rows] == ["refused" if row.is_straight else "verified" for row in rows]
    assert {row.status for row in rows if row.is_straight} == {403}
    assert all(row.seconds > 0 for row in rows)
    by_title = {row.title: row for row in rows}
    odd = by_title["put an object with an odd key"]
    assert odd.forwarded == "/archive/reports/2026%20Q3/%C3%A4%2Bb%20%28final%29%25.txt"
    assert odd.signed_headers == (
        "content-type",
        "host",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-meta-author",
        "x-amz-security-token",
    )
    assert by_title["index a document"].forwarded is None
    assert by_title["without a signature"].code == "MissingAuthenticationToken"
    assert by_title["signed for another key than it asks for"].code == "SignatureDoesNotMatch"


def test_the_tour_has_a_large_a_chunked_a_document_and_an_object_request() -> None:
    taken = steps()
    assert {step.service for step in taken} == {"es", "s3"}
    assert max(len(step.body) for step in taken) == 8 * 1024 * 1024
    assert [step.method for step in taken if step.chunk_bytes] == ["PUT"]


def test_a_request_that_nobody_signed_is_a_problem() -> None:
    row = past_the_proxies(Step(title="t", service="s3", method="GET", target=b"/b/k"))
    assert (row.status, row.verdict) == (403, "refused")
    assert row.problem is not None
    assert "expected to be verified" in row.problem


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (Step(title="t", service="es", method="GET", target=b"/", status=404), "status 404 was expected"),
        (Step(title="t", service="es", method="GET", target=b"/", check=lambda _: "not so"), "not so"),
        (Step(title="t", service="es", method="GET", target=b"/", check=lambda r: str(int(r.body))), "cannot be read"),
    ],
)
def test_an_answer_that_is_not_the_expected_one_is_a_problem(step: Step, problem: str) -> None:
    async def run() -> Row:
        demo = Demo(port=0, mgmt_port=0)
        await demo.start()
        try:
            return await demo.tour.take(step)
        finally:
            await demo.stop()

    row = asyncio.run(run())
    assert row.verdict == "verified"
    assert row.problem is not None
    assert problem in row.problem


def test_a_proxy_that_is_not_there_is_a_problem_and_not_an_exception() -> None:
    async def run() -> Row:
        listener = await asyncio.start_server(lambda _reader, writer: writer.close(), HOST, 0)
        port = listener.sockets[0].getsockname()[1]
        tour = Tour(proxies={"es": port}, stand_in={}, identity=Identity("a", "b"), region="r")
        try:
            return await tour.take(Step(title="t", service="es", method="GET", target=b"/"))
        finally:
            listener.close()

    row = asyncio.run(run())
    assert (row.status, row.verdict) == (None, "not reached")
    assert row.problem is not None
    assert row.problem.startswith("no response: ")
