"""Files that are watched from a fetch that failed to the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from aws_signing_proxy.credentials.watched_files import FailureWatch, mark


def fail(watch: FailureWatch) -> None:
    with pytest.raises(LookupError), watch:
        raise LookupError


def test_before_the_first_fetch_and_after_one_that_succeeded_nothing_is_watched(tmp_path: Path) -> None:
    watch = FailureWatch(tmp_path / "file")
    assert not watch.has_changed()
    with watch:
        pass
    (tmp_path / "file").write_text("x")
    assert not watch.has_changed()


def test_after_a_failure_every_change_of_any_file_is_seen_until_the_next_fetch(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    watch = FailureWatch(first, None, second)
    fail(watch)
    assert not watch.has_changed()
    for change in (lambda: first.write_text("x"), lambda: second.write_text("x"), second.unlink):
        change()
        assert watch.has_changed()
        fail(watch)
        assert not watch.has_changed()


def test_a_change_while_the_fetch_runs_is_not_missed(tmp_path: Path) -> None:
    watch = FailureWatch(tmp_path / "file")

    def fetch() -> None:
        with watch:
            (tmp_path / "file").write_text("x")
            raise LookupError

    with pytest.raises(LookupError):
        fetch()
    assert watch.has_changed()


def test_a_fetch_that_does_without_the_files_ends_the_watch(tmp_path: Path) -> None:
    watch = FailureWatch(tmp_path / "file")
    fail(watch)
    watch.forget()
    (tmp_path / "file").write_text("x")
    assert not watch.has_changed()


def test_a_link_counts_as_what_it_leads_to_and_a_path_that_cannot_be_as_no_file(tmp_path: Path) -> None:
    """The kubelet renews a projected volume by turning a link to another folder."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text("x")
    link, file = tmp_path / "data", tmp_path / "data" / "token"
    link.symlink_to("old")
    before = mark(file)
    link.unlink()
    link.symlink_to("new")
    assert mark(file) != before
    assert (mark(Path("\0")), mark(None), mark(tmp_path / "none")) == (None, None, None)
