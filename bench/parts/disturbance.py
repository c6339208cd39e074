"""Whether requests are slower while credentials are refreshed, settings reloaded or metrics scraped than otherwise."""

from __future__ import annotations

import bisect
import http.client
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from bench.contestants import proxy
from bench.figures import Figure, figure, quantile, ratios
from bench.measuring import Bench
from bench.open_load import Offer, Sample, offered
from bench.programs import BenchError, Program
from bench.results import Chart, Part, Series, Table, new_part, ratio_cell, span
from bench.sts_process import sts
from tests.credentials.openid.authorization_servers import make_jwt

TITLE = "During a refresh, a reload and a scrape"
_TEXT = """\
An open loop of {rate:.0f} POSTs of 1 KB a second over TLS, far below saturation. A request counts as *during* when
it was under way in the time from 10 ms before the event to 10 ms after its end; all others of the same run are the
quiet ones, so that whatever else the machine does meets both. A refresh is an exchange with STS (`irsa`), a reload
is SIGHUP, whose end nobody sees: 50 ms."""
_RATE = 1000.0
_CONNECTIONS = 32
_EVERY_SECONDS = 0.25
_MARGIN_SECONDS = 0.010
_RELOAD_SECONDS = 0.050
_LEASE_SECONDS = 3600.0
_ROUNDS = 2

Windows = list[tuple[float, float]]
# Disturbs a proxy at these moments; returns when each event began and ended, on the clock of the samples.
Disturb = Callable[[Program, Iterable[float]], Windows]
_Run = Callable[[Bench, Offer], tuple[list[Sample], Windows]]


def measure(bench: Bench) -> Part:
    """Measure each kind of event in a run of its own."""
    offer = Offer(_RATE, bench.effort.disturbed_seconds, _CONNECTIONS)
    part = new_part(TITLE, _TEXT.format(rate=_RATE))
    columns = ["event", "requests during", "quiet", "p50 ms during", "quiet", "p99 ms during", "quiet"]
    table = Table(
        title="Latency during an event, and beside it",
        columns=[*columns, "p99, during : quiet", "longest ms during", "quiet"],
        rows=[],
    )
    slow = bench.effort.slow_sts_seconds
    kinds: dict[str, _Run] = {
        "refresh, STS answers at once": lambda bench, offer: _with_refreshes(bench, offer, 0.0),
        f"refresh, STS takes {slow:g} s": lambda bench, offer: _with_refreshes(bench, offer, slow),
        "reload (SIGHUP)": lambda bench, offer: _with_static_credentials(bench, offer, _reload),
        "scrape of the metrics": lambda bench, offer: _with_static_credentials(bench, offer, _scrape),
    }
    bars: dict[str, list[Figure | None]] = {"quiet": [], "during": []}
    for name, run in kinds.items():
        bench.say(f"disturbance: {name}")
        rounds = [divided(*run(bench, offer)) for _ in range(min(_ROUNDS, bench.effort.rounds))]
        table["rows"].append([name, *_cells(rounds)])
        for side, key in enumerate(("during", "quiet")):
            bars[key].append(figure(quantile(each[side], 0.99) for each in rounds))
        ratio = ratios(*([quantile(each[side], 0.99) for each in rounds] for side in (0, 1)))
        part["figures"][f"disturbance.{name}"] = ratio
    part["tables"].append(table)
    series = [Series(name=name, bars=each) for name, each in bars.items()]
    part["charts"].append(
        Chart(
            name="bench-disturbance",
            title="p99 beside an event and during it",
            unit="ms",
            labels=list(kinds),
            series=series,
        )
    )
    return part


def divided(samples: Sequence[Sample], windows: Windows) -> tuple[list[float], list[float]]:
    """Return the latencies (ms) of the requests under way in one of the windows, and of all others, both ascending.

    Raises BenchError where a request was not answered with 200: nothing of that is meant to fail one.
    """
    failed = sum(each.status != 200 for each in samples)
    if failed:
        raise BenchError(f"{failed} of {len(samples)} requests failed")
    starts = sorted(start for start, _ in windows)
    ends = sorted(end for _, end in windows)
    during: list[float] = []
    quiet: list[float] = []
    for each in samples:
        # More have begun until its answer than had ended when it was due: one was going on.
        begun = bisect.bisect_right(starts, each.answered)
        ended = bisect.bisect_left(ends, each.due)
        (during if begun > ended else quiet).append((each.answered - each.due) * 1000)
    if not during or not quiet:
        raise BenchError(
            f"of {len(samples)} requests {len(during)} met one of {len(windows)} events; nothing to compare"
        )
    return sorted(during), sorted(quiet)


def _cells(rounds: list[tuple[list[float], list[float]]]) -> list[str]:
    cells = [str(sum(len(each[side]) for each in rounds)) for side in (0, 1)]
    for share in (0.5, 0.99):
        cells += [span(figure(quantile(each[side], share) for each in rounds), 2) for side in (0, 1)]
    cells.append(ratio_cell(ratios(*([quantile(each[side], 0.99) for each in rounds] for side in (0, 1)))))
    return cells + [f"{max(each[side][-1] for each in rounds):.1f}" for side in (0, 1)]


# The events


def _reload(program: Program, moments: Iterable[float]) -> Windows:
    windows = []
    for began in moments:
        os.kill(program.pid, signal.SIGHUP)
        windows.append((began - _MARGIN_SECONDS, began + _RELOAD_SECONDS))
    return windows


def _scrape(program: Program, moments: Iterable[float]) -> Windows:
    windows = []
    for began in moments:
        connection = http.client.HTTPConnection("127.0.0.1", program.management_port, timeout=20)
        connection.request("GET", "/status/metrics")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status != http.client.OK:
            raise BenchError(f"the metrics were answered with {answer.status}")
        windows.append((began - _MARGIN_SECONDS, time.monotonic() + _MARGIN_SECONDS))
    return windows


def _moments(offer: Offer, every_seconds: float = _EVERY_SECONDS) -> Iterator[float]:
    """Yield when something is to happen next, until shortly before the load ends."""
    ends = time.monotonic() + offer.seconds - every_seconds
    while time.monotonic() < ends:
        time.sleep(every_seconds / 2)
        yield time.monotonic()
        time.sleep(every_seconds / 2)


# The runs


def _with_static_credentials(bench: Bench, offer: Offer, disturb: Disturb) -> tuple[list[Sample], Windows]:
    with proxy(bench.service, tls=True) as program, offered(program, offer) as samples:
        windows = disturb(program, _moments(offer))
    return samples, windows


def _with_refreshes(bench: Bench, offer: Offer, delay_seconds: float) -> tuple[list[Sample], Windows]:
    token = bench.folder / "token"
    token.write_text(make_jwt({"iss": "https://oidc.eks.example"}))
    with sts(_LEASE_SECONDS, delay_seconds) as (port, exchanges):
        settings = {
            "ASP_CREDENTIALS_PROVIDER": "irsa",
            "ASP_ROLE_ARN": "arn:aws:iam::123456789012:role/reader",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{port}",
        }
        with proxy(bench.service, tls=True, settings=settings) as program, offered(program, offer) as samples:
            # A refresh is ordered: leases so short that they give as many would be no leases.
            _reload(program, _moments(offer, max(_EVERY_SECONDS, 2 * delay_seconds)))
        windows = [(came - _MARGIN_SECONDS, answered + _MARGIN_SECONDS) for came, answered in exchanges()]
    return samples, windows
