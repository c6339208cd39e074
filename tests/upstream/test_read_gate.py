"""Reading that is paused for two reasons, flow control and fairness, and goes on when neither holds."""

from __future__ import annotations

import asyncio

from aws_signing_proxy.upstream.read_gate import ReadGate
from tests.upstream.fake_transport import FakeTransport


def _gate() -> tuple[ReadGate, FakeTransport]:
    gate, transport = ReadGate(), FakeTransport(asyncio.Protocol())
    gate.use(transport)
    return gate, transport


def test_pausing_and_resuming_twice_is_once() -> None:
    gate, transport = _gate()
    assert [gate.pause(), gate.pause(), transport.reads] == [True, False, False]
    assert [gate.resume(), gate.resume(), transport.reads] == [True, False, True]


def test_after_a_rest_reading_goes_on_in_the_next_round() -> None:
    async def run() -> None:
        gate, transport = _gate()
        gate.rest()
        gate.rest()
        assert [transport.reads, gate.is_paused] == [False, False]
        await asyncio.sleep(0)
        assert [transport.reads] == [True]

    asyncio.run(run())


def test_a_rest_does_not_end_a_pause_and_a_pause_that_ends_does_not_end_a_rest() -> None:
    async def run() -> None:
        gate, transport = _gate()
        gate.rest()
        gate.pause()
        await asyncio.sleep(0)
        assert [transport.reads] == [False]
        gate.rest()
        gate.resume()
        assert [transport.reads] == [False]
        await asyncio.sleep(0)
        assert [transport.reads] == [True]

    asyncio.run(run())


def test_a_transport_that_is_closing_or_gone_is_left_alone() -> None:
    async def run() -> None:
        gate, transport = _gate()
        gate.rest()
        transport.close()
        await asyncio.sleep(0)
        assert not transport.reads
        gate.use(None)
        assert not gate.pause()
        gate.rest()
        await asyncio.sleep(0)

    asyncio.run(run())
