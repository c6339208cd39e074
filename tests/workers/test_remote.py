"""What a worker says to the supervisor about credentials, how seldom, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import Any

import pytest

from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.outlook import Outlook
from aws_signing_proxy.credentials.store import CredentialStore
from aws_signing_proxy.errors import InternalError
from aws_signing_proxy.workers.channel import (
    Channel,
    Message,
    credentials_from,
    credentials_to,
    outlook_from,
    outlook_to,
)
from aws_signing_proxy.workers.remote_refresher import RemoteRefresher
from tests.credentials.stores import FakeWaiter

OUTLOOK = Outlook("vault", is_local=False, is_eager=True, poll_interval_seconds=1.0, patience_seconds=10.0)


class Side:
    """A worker's store, and what it has said."""

    def __init__(self, outlook: Outlook = OUTLOOK) -> None:
        self.said: list[Message] = []
        self.refresher = RemoteRefresher(self.said.append, outlook)
        self.store = CredentialStore(self.refresher, on_secrets_changed=lambda _forgotten, _new: None)

    def wait(self) -> FakeWaiter:
        waiter = FakeWaiter()
        self.store.wait(waiter)
        return waiter

    def hold(self, generation: int) -> Credentials:
        credentials = Credentials(f"AKIA{generation}", "secret", "token", source="test")
        self.refresher.on_fetched(generation)
        self.store.accept(credentials)
        return credentials


def test_however_many_wait_the_supervisor_is_told_once_until_it_says_something_new() -> None:
    side = Side()
    waiters = [side.wait() for _ in range(50)]
    assert side.said == [{"is": "wanted"}]
    side.refresher.on_news(OUTLOOK._replace(is_fetching=True))
    side.wait()
    assert len(side.said) == 2
    side.hold(1)
    assert all(waiter.told is True for waiter in waiters)


def test_a_fetch_that_failed_lets_them_wait_on_and_says_so_again_where_the_next_may_be_in_time() -> None:
    side = Side()
    waiter = side.wait()
    side.refresher.on_news(OUTLOOK)
    side.store.on_failed(is_hopeless=False)
    assert waiter.told is None
    assert side.said == [{"is": "wanted"}] * 2


def test_a_hopeless_failure_is_told_with_the_reason_that_the_supervisor_gave() -> None:
    side = Side()
    waiter = side.wait()
    retry_at = time.monotonic() + 30
    side.refresher.on_news(
        OUTLOOK._replace(reason="its server said 403", retry_at=retry_at, is_lasting=True, was_fetched=True)
    )
    side.store.on_failed(is_hopeless=True)
    assert isinstance(waiter.told, InternalError)
    assert "its server said 403" in waiter.told.detail
    assert waiter.told.retry_after_seconds in {29, 30}
    with pytest.raises(InternalError, match="403"):
        side.store.check_worth_waiting(time.time())


def test_an_open_circuit_breaker_is_told_of_with_the_time_of_all_processes() -> None:
    side = Side(OUTLOOK._replace(reason="no answer", retry_at=0.0, open_until=time.monotonic() + 40, was_fetched=True))
    detail = side.store.unavailable(time.time()).detail
    assert "circuit breaker before vault is open" in detail
    assert "in 40 s" in detail


def test_a_refusal_of_those_in_use_is_said_once_and_they_count_as_being_renewed_until_the_answer() -> None:
    side = Side()
    held = side.hold(7)
    for _ in range(20):
        side.store.reject(held)
    assert side.said == [{"is": "rejected", "generation": 7}]
    assert side.store.is_renewing
    side.refresher.on_answer(7, is_renewing=True)
    assert side.store.is_renewing
    waiter = side.wait()
    side.hold(8)
    assert (waiter.told, side.store.is_renewing) == (True, False)


def test_a_refusal_of_others_than_those_in_use_is_nobodys_business() -> None:
    side = Side()
    former = side.hold(1)
    side.hold(2)
    side.store.reject(former)
    assert side.said == []
    assert not side.store.is_renewing


def test_where_none_are_on_their_way_those_who_waited_for_others_go_on_at_once() -> None:
    side = Side()
    held = side.hold(7)
    side.store.reject(held)
    waiter = side.wait()
    side.refresher.on_answer(7, is_renewing=False)
    assert not side.store.is_renewing
    side.store.go_on()
    assert waiter.told is True


def test_an_answer_about_former_credentials_does_not_answer_for_those_in_use() -> None:
    side = Side()
    first = side.hold(1)
    side.store.reject(first)
    second = side.hold(2)
    side.store.reject(second)
    side.refresher.on_answer(1, is_renewing=False)
    assert side.store.is_renewing


def test_credentials_and_outlook_arrive_as_they_were_sent() -> None:
    sent = Credentials("AKIAONE", 's/e+c"ret\u2028', "to\\ken", expires_at=1_700_000_000.123456, source="profile ö")
    sent.fresh_since = 1_699_999_999.5
    got = credentials_from(json.loads(json.dumps(credentials_to(sent))))
    assert (got.access_key_id, got.secret_access_key, got.session_token) == (
        sent.access_key_id,
        sent.secret_access_key,
        sent.session_token,
    )
    assert (got.expires_at, got.source, got.fresh_since) == (sent.expires_at, sent.source, sent.fresh_since)
    outlook = OUTLOOK._replace(reason="why", retry_at=12.3456789, open_until=None, is_lasting=True)
    assert outlook_from(json.loads(json.dumps(outlook_to(outlook)))) == outlook


def test_no_repr_of_the_channel_or_the_refresher_holds_a_secret() -> None:
    side = Side()
    side.hold(3)
    shown = repr(side.refresher) + repr(Channel(lambda _message: None, lambda: None)) + repr(vars(side.refresher))
    assert "secret" not in shown
    assert "token" not in shown


def test_messages_arrive_whole_and_in_order_however_they_are_cut_and_the_end_is_told_once() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        heard: list[dict[str, Any]] = []
        ends: list[str] = []
        channel = Channel(heard.append, lambda: ends.append("end"))
        await channel.open(ours)
        stream = b"".join(json.dumps({"n": n, "text": "x" * n}).encode() + b"\n" for n in range(60))
        for start in range(0, len(stream), 7):
            theirs.sendall(stream[start : start + 7])
            await asyncio.sleep(0)
        theirs.close()
        async with asyncio.timeout(5):
            while not ends:  # noqa: ASYNC110 - what is heard tells nobody
                await asyncio.sleep(0.001)
        assert [each["n"] for each in heard] == list(range(60))
        assert ends == ["end"]
        channel.send({"is": "dropped"})

    asyncio.run(run())


def test_who_has_stopped_to_read_is_noticed() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        channel = Channel(lambda _message: None, lambda: None)
        await channel.open(ours)
        sent = 0
        while not channel.is_stuck:
            channel.send({"text": "x" * 100_000})
            sent += 1
            assert sent < 1000
        channel.close()
        await asyncio.sleep(0)
        theirs.close()

    asyncio.run(run())
