"""The Dockerfile's properties, read from it: there may be no container engine where the tests run."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aws_signing_proxy.management.application import application
from aws_signing_proxy.management.server import ManagementServer

ROOT = Path(__file__).resolve().parent.parent


def instructions() -> list[tuple[str, str]]:
    """Return (instruction, its words), comments left out, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(name, words.strip()) for name, _, words in (line.partition(" ") for line in lines if line.strip())]


def words_of(name: str) -> str:
    """Return the words of the last instruction called `name`."""
    return [words for instruction, words in instructions() if instruction == name][-1]


def health_check() -> list[str]:
    command: list[str] = json.loads(words_of("HEALTHCHECK").partition("CMD ")[2])
    return command


def test_the_image_runs_as_a_numeric_user_that_is_not_root() -> None:
    user, _, group = words_of("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_the_last_stage_holds_what_the_first_one_built_and_copies_no_source() -> None:
    names = [name for name, _ in instructions()]
    assert names.count("FROM") == 2
    last_stage = instructions()[len(names) - names[::-1].index("FROM") :]
    assert [words for name, words in last_stage if name == "COPY"] == [
        "--from=build /opt/aws-signing-proxy /opt/aws-signing-proxy"
    ]
    assert "RUN" not in dict(last_stage)


def test_nothing_is_added_from_the_network() -> None:
    assert "ADD" not in dict(instructions())
    assert not any("http://" in words or "https://" in words for name, words in instructions() if name != "HEALTHCHECK")


def test_it_listens_on_all_addresses_of_the_container() -> None:
    environment = words_of("ENV").split()
    assert {"ASP_BIND_ADDRESS=0.0.0.0", "ASP_MGMT_BIND_ADDRESS=0.0.0.0"} <= set(environment)
    assert words_of("EXPOSE") == "8080 8081"


def test_the_program_is_the_entry_point_so_that_signals_reach_it() -> None:
    assert json.loads(words_of("ENTRYPOINT")) == ["aws-signing-proxy"]


def test_nothing_is_written_outside_of_tmp() -> None:
    assert "PYTHONDONTWRITEBYTECODE=1" in words_of("ENV").split()
    assert words_of("WORKDIR") == "/tmp"


def test_only_what_the_wheel_is_built_from_is_sent_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if line and not line.startswith("#")) == "*"
    copied = {
        word for name, words in instructions() if name == "COPY" and "--from" not in words for word in words.split()
    }
    assert {line[1:] for line in lines if line.startswith("!")} == copied - {"./"}


@pytest.mark.parametrize(("is_up", "status"), [(True, 0), (False, 1)])
def test_the_health_check_asks_the_management_port(*, is_up: bool, status: int) -> None:
    async def check() -> int:
        server = ManagementServer(
            application(reasons_not_ready=lambda: ["none"], credentials=dict, exposition=lambda: (b"", "text/plain"))
        )
        await server.start("127.0.0.1", 0)
        port = server.port
        if not is_up:
            await server.stop()
        # A proxy that is configured for the service must not be asked for the health.
        environ = os.environ | {
            "ASP_MGMT_PORT": str(port),
            "HTTP_PROXY": "http://127.0.0.1:9",
            "http_proxy": "http://127.0.0.1:9",
        }
        _, *arguments = health_check()
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=environ, stderr=subprocess.DEVNULL
        )
        try:
            return await process.wait()
        finally:
            await server.stop()

    assert asyncio.run(check()) == status
