"""aiohttp, through the proxy to a stand-in that verifies every signature."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import aiohttp
import yarl

from tests.clients.processes import ProxyProcess
from tests.clients.verifying_service import VerifyingService, blob

TIMEOUT = aiohttp.ClientTimeout(total=30)


def test_200_requests_in_parallel_each_get_their_own_answer(
    opensearch_proxy: ProxyProcess, service: VerifyingService
) -> None:
    async def send(session: aiohttp.ClientSession, number: int) -> None:
        body = blob(number * 500)
        async with session.post(f"{opensearch_proxy.url}/n/{number}?n={number}", data=body) as answer:
            assert answer.status == 200
            content = await answer.json()
        assert content["path"] == ["n", str(number)]
        assert content["sha256"] == hashlib.sha256(body).hexdigest()

    async def send_all() -> None:
        connector = aiohttp.TCPConnector(limit=50)
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
            await asyncio.gather(*(send(session, number) for number in range(200)))

    asyncio.run(send_all())
    assert sorted(int(request.query["n"][0]) for request in service.requests) == list(range(200))
    assert len({request.connection for request in service.requests}) <= 50


def test_targets_as_aiohttp_writes_them_and_as_they_were_given_mean_the_same(
    opensearch_proxy: ProxyProcess, service: VerifyingService
) -> None:
    target = "/a%2Fb/%21%2A%27%28%29/%C3%A9?q=%2B%20%26%3D%21&r=a+b"

    async def get() -> None:
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            for url in (opensearch_proxy.url + target, yarl.URL(opensearch_proxy.url + target, encoded=True)):
                async with session.get(url) as answer:
                    assert answer.status == 200

    asyncio.run(get())
    rewritten, given = service.requests
    assert rewritten.path == given.path == ["a/b", "!*'()", "é"]
    assert rewritten.query == given.query == {"q": ["+ &=!"], "r": ["a b"]}


def test_an_upload_whose_length_nobody_knows_arrives_whole(
    opensearch_proxy: ProxyProcess, service: VerifyingService
) -> None:
    data = blob(3 * 1024 * 1024 + 1)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 70_000):
            yield data[start : start + 70_000]
            await asyncio.sleep(0)

    async def put() -> str:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            session.put(f"{opensearch_proxy.url}/upload", data=pieces(), expect100=True) as answer,
        ):
            digest: str = (await answer.json())["sha256"]
            return digest

    assert asyncio.run(put()) == hashlib.sha256(data).hexdigest()


def test_a_client_that_goes_away_in_the_middle_does_not_disturb_the_next_one(
    opensearch_proxy: ProxyProcess, service: VerifyingService
) -> None:
    async def leave_then_come_back() -> bytes:
        url = f"{opensearch_proxy.url}/_blob/{5 * 1024 * 1024}"
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            for _ in range(5):
                async with session.get(url) as answer:
                    await answer.content.readexactly(1000)
            async with session.get(f"{opensearch_proxy.url}/_blob/1000") as answer:
                return await answer.read()

    assert asyncio.run(leave_then_come_back()) == blob(1000)
