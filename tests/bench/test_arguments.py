"""The command line of the bench: what it takes, and what it says of what it does not."""

from __future__ import annotations

import pytest

from bench import tools
from bench.contestants import Peer, everybody
from bench.measuring import FULL, QUICK, SMOKE
from bench.programs import BenchError
from bench.run import PARTS, parse


def test_without_arguments_everything_is_measured() -> None:
    given = parse([])
    assert (given.effort, given.only, given.peers) == (FULL, tuple(PARTS), [])
    assert not given.write
    assert not given.pin


def test_quick_is_less_of_the_same() -> None:
    assert parse(["--quick"]).effort is QUICK
    assert parse(["--effort", "smoke"]).effort is SMOKE


def test_parts_are_measured_in_the_order_of_the_page() -> None:
    assert parse(["--only", "bulk, cost"]).only == ("cost", "bulk")


def test_a_peer_is_a_name_and_a_command_with_its_words() -> None:
    given = parse(["--peer", "original=/bin/proxy --flag 'two words'", "--peer", "other=x=y"])
    assert given.peers == [Peer("original", ("/bin/proxy", "--flag", "two words")), Peer("other", ("x=y",))]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "cost,speed"], "speed is no part; there are cost, latency,"),
        (["--only", ","], "nothing is no part"),
        (["--peer", "original"], "'original' is not NAME=COMMAND"),
        (["--peer", "original="], "is not NAME=COMMAND"),
        (["--peer", "=command"], "is not NAME=COMMAND"),
        (["--peer", "a='x"], "No closing quotation"),
        (["--peer", "nginx=x"], "the name of somebody who is measured anyway"),
        (["--peer", "a=x", "--peer", "a=y"], "each needs a name of its own"),
        (["--quick", "--effort", "full"], "not allowed with"),
        (["--effort", "huge"], "invalid choice"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_only_peers_may_fail() -> None:
    contestants = everybody((Peer("original", ("x",)),))
    assert [(each.name, each.may_fail) for each in contestants] == [
        *(("nginx", False), ("haproxy", False), ("proxy", False)),
        ("original", True),
    ]


def test_missing_tools_are_named_with_their_packages_where_they_cannot_be_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.tools.shutil.which", lambda *_, **__: None)
    with pytest.raises(BenchError, match=r"needs wrk, nginx.*apt-get install wrk nginx-light"):
        tools.ensure_tools(print, ["wrk", "nginx"])


def test_with_everything_here_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.tools.subprocess.run", lambda *_, **__: pytest.fail("something was run"))
    tools.ensure_tools(print, [])
