"""Certificates that are renewed: read when they have changed and hold still, kept when the new ones are broken."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from aws_signing_proxy.tls.contexts import CertificateFileError, KeyPair, client_context, server_context
from aws_signing_proxy.tls.reloading import CertificateWatch, ReloadedContext
from tests.tls.certificates import Certificates


@pytest.fixture(name="certificates")
def _certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def reloaded(certificates: Certificates) -> ReloadedContext:
    pair = KeyPair(certificates.cert, certificates.key)
    return ReloadedContext("the certificate", pair.files, lambda: server_context(pair))


def test_a_renewed_certificate_is_read_when_it_has_not_changed_for_one_look_more(certificates: Certificates) -> None:
    context = reloaded(certificates)
    first = context.context
    context.check()
    assert context.context is first
    certificates.renew()
    context.check()
    assert context.context is first
    context.check()
    assert context.context is not first
    second = context.context
    context.check()
    assert context.context is second


def test_a_broken_file_is_logged_once_and_what_was_in_use_stays(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    context = reloaded(certificates)
    first = context.context
    certificates.breaks()
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            context.check()
        assert context.context is first
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert str(certificates.cert) in caplog.text
        certificates.renew()
        context.check()
        context.check()
    assert context.context is not first
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_a_file_that_is_gone_for_a_while_changes_nothing(certificates: Certificates) -> None:
    context = reloaded(certificates)
    first = context.context
    content = certificates.key.read_bytes()
    certificates.key.unlink()
    context.check()
    context.check()
    assert context.context is first
    certificates.key.write_bytes(content)
    context.check()
    context.check()
    assert context.context is not first


def test_files_are_read_again_at_once_where_it_is_asked_for(certificates: Certificates) -> None:
    context = reloaded(certificates)
    first = context.context
    context.check(is_forced=True)
    assert context.context is not first


def test_the_watch_looks_by_itself_and_at_once_when_it_is_told_to(certificates: Certificates) -> None:
    async def watch() -> None:
        context = reloaded(certificates)
        slow = CertificateWatch([context], poll_seconds=60.0)
        slow.start()
        first = context.context
        slow.reload()
        await _until_replaced(context, first)
        await slow.stop()

        quick = CertificateWatch([context], poll_seconds=0.01)
        quick.start()
        second = context.context
        certificates.renew()
        await _until_replaced(context, second)
        await quick.stop()

    asyncio.run(watch())


async def _until_replaced(context: ReloadedContext, before: object) -> None:
    async with asyncio.timeout(5):
        while context.context is before:  # noqa: ASYNC110 - a thread brings it about, which tells nobody
            await asyncio.sleep(0.005)


def test_a_watch_with_nothing_to_look_at_has_no_task() -> None:
    async def watch() -> int:
        nothing = CertificateWatch([])
        nothing.start()
        tasks = len(asyncio.all_tasks())
        await nothing.stop()
        return tasks

    assert asyncio.run(watch()) == 1


def test_what_is_wrong_with_a_file_is_said_with_its_name(certificates: Certificates, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    other.write_bytes(certificates.authority.issue_cert("x.test").private_key_pem.bytes())
    with pytest.raises(CertificateFileError, match="the key does not belong to the certificate"):
        server_context(KeyPair(certificates.cert, other))
    with pytest.raises(CertificateFileError, match="No such file"):
        server_context(KeyPair(certificates.cert, tmp_path / "missing"))
    with pytest.raises(CertificateFileError, match=r"other\.key: no certificates in PEM form"):
        server_context(KeyPair(certificates.cert, certificates.key), client_ca=other)
    with pytest.raises(CertificateFileError, match="no certificate and key in PEM form"):
        client_context(None, key_pair=KeyPair(other, None))


def test_a_process_that_is_a_copy_of_an_older_one_reads_what_has_changed_since_at_once(
    certificates: Certificates,
) -> None:
    context = reloaded(certificates)
    first = context.context
    CertificateWatch([context]).catch_up()
    assert context.context is first
    certificates.renew()
    CertificateWatch([context]).catch_up()
    assert context.context is not first


def test_a_copy_that_cannot_read_what_has_changed_says_that_others_may_be_ahead_of_it(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    context = reloaded(certificates)
    certificates.cert.write_text("no certificate")
    context.check(is_forced=True)
    said = "other workers may use a newer one"
    assert said not in caplog.text, "it is no copy"
    certificates.cert.write_text("no certificate either")
    context.catch_up()
    assert said in caplog.text
