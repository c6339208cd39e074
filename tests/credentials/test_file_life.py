"""What the store makes of a credentials file that is rewritten, broken, deleted and replaced while the proxy runs."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import structlog

from aws_signing_proxy.credentials.static.awstoken import AwsTokenProvider
from tests.credentials.stores import store_of


def file_with(name: str) -> str:
    return f"[default]\naws_access_key_id = {name}\naws_secret_access_key = planted\n"


def test_valid_credentials_outlive_a_broken_or_deleted_file_and_a_good_file_is_picked_up(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    environ = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_CONFIG_FILE": str(tmp_path / "none")}
    log = io.StringIO()
    logger = structlog.wrap_logger(structlog.PrintLogger(log), processors=[structlog.processors.JSONRenderer()])

    async def run() -> None:
        store = store_of(AwsTokenProvider(environ), logger=logger, poll_interval_seconds=3600)

        async def key_id_after_a_check() -> str | None:
            await store.refresher._check(store)
            return None if store.current is None else store.current.access_key_id

        await store.start()
        assert await key_id_after_a_check() is None
        file.write_text(file_with("A"))
        assert await key_id_after_a_check() == "A"
        file.write_text("[default]\naws_access_key_id = HALF-WRITTEN\naws_secr")
        assert await key_id_after_a_check() == "A"
        file.write_text(file_with("WHOLE"))
        assert await key_id_after_a_check() == "WHOLE"
        file.unlink()
        assert await key_id_after_a_check() == "WHOLE"
        assert store.problem is None
        (tmp_path / "new").write_text(file_with("NEW"))
        (tmp_path / "new").replace(file)
        assert await key_id_after_a_check() == "NEW"
        await store.stop()

    asyncio.run(run())
    lines = log.getvalue().splitlines()
    assert ["loaded" in line or "reloaded" in line for line in lines] == [False, True, False, True, False, True]
    assert "planted" not in log.getvalue()
