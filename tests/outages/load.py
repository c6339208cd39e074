"""Clients that send requests through the proxy without pause, and remember what each was answered and when."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import Any, NamedTuple, Self

__all__ = ["Answer", "Load", "ask"]


class Answer(NamedTuple):
    """What a request was answered. `at` is monotonic, when it was sent."""

    at: float
    seconds: float
    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The problem description that the proxy answered."""
        document: dict[str, Any] = json.loads(self.body)
        return document


def ask(port: int, connection: http.client.HTTPConnection | None = None) -> Answer:
    """Send one request and return its answer."""
    used = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    began = time.monotonic()
    used.request("GET", "/")
    response = used.getresponse()
    body = response.read()
    fields = {name.lower(): value for name, value in response.getheaders()}
    if connection is None:
        used.close()
    return Answer(began, time.monotonic() - began, response.status, fields, body)


class Load:
    """A few clients, each with a connection of its own, while the `with` statement runs."""

    def __init__(self, port: int, *, clients: int = 4, pause_seconds: float = 0.005) -> None:
        self._port = port
        self._pause = pause_seconds
        self._is_over = threading.Event()
        self._answers: list[list[Answer]] = [[] for _ in range(clients)]
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(answers,)) for answers in self._answers]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(40)
        assert not self._failures, self._failures

    @property
    def answers(self) -> list[Answer]:
        """All answers so far, in the order in which their requests were sent."""
        return sorted((answer for answers in self._answers for answer in list(answers)), key=lambda answer: answer.at)

    def _run(self, answers: list[Answer]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            while not self._is_over.is_set():
                answers.append(ask(self._port, connection))
                self._is_over.wait(self._pause)
        except BaseException as error:  # noqa: BLE001 - it is raised where the load ends
            self._failures.append(error)
        finally:
            connection.close()
