"""Readers and a source that races: what a request reads is one set, whole and valid, at every moment."""

from __future__ import annotations

import asyncio
import time

from aws_signing_proxy.credentials.store import CredentialStore
from tests.credentials.fake_provider import FakeProvider, unavailable
from tests.credentials.stores import FakeWaiter, FetchingStore, store_of

READERS = 20
FEWEST_READINGS = 1000
FEWEST_SETS = 25


def number_of(text: str | None) -> int:
    assert text is not None
    return int(text.rpartition("-")[2])


def read(store: CredentialStore) -> int:
    """Read as a request does: one attribute, then each of its parts."""
    current = store.current
    assert current is not None
    assert not current.is_expired(time.time())
    numbers = {number_of(current.access_key_id), number_of(current.secret_access_key), number_of(current.session_token)}
    assert len(numbers) == 1, "a torn set"
    return numbers.pop()


async def read_often(store: CredentialStore) -> None:
    seen: set[int] = set()
    readings = last = 0
    async with asyncio.timeout(60):
        while readings < FEWEST_READINGS or len(seen) < FEWEST_SETS:
            number = read(store)
            assert number >= last
            last = number
            seen.add(number)
            readings += 1
            await asyncio.sleep(0)


def race(provider: FakeProvider) -> FetchingStore:
    """Let requests read while the source is asked again and again, until each has seen many sets."""

    async def run() -> FetchingStore:
        store = store_of(provider, failure_threshold=1_000_000, poll_interval_seconds=0.001)
        await store.start()
        waiter = FakeWaiter()
        store.wait(waiter)
        async with asyncio.timeout(10):
            while waiter.told is None:  # noqa: ASYNC110 - a waiter is no coroutine
                await asyncio.sleep(0.001)
        readers = [asyncio.create_task(read_often(store)) for _ in range(READERS)]
        while not all(reader.done() for reader in readers):
            store.reload()
            await asyncio.sleep(0)
        await store.stop()
        for reader in readers:
            await reader
        assert provider.most_at_once == 1
        return store

    return asyncio.run(run())


def test_a_set_is_never_torn_and_never_missing_however_fast_they_change() -> None:
    race(FakeProvider())


def test_nor_while_every_other_fetch_fails() -> None:
    provider = FakeProvider()

    def alternate(_: object) -> None:
        provider.failure = unavailable() if provider.fetches % 2 == 0 else None

    provider.on_retrieve = alternate
    store = race(provider)
    assert store.refresher.ledger.fetches["failed"] >= FEWEST_SETS - 1


def test_nor_with_leases_that_end_within_the_second() -> None:
    race(FakeProvider(lifetime_seconds=0.5))
