"""No secret in what a program shows of its objects: `repr`, exceptions with all that led to them, frames of a bug."""

from __future__ import annotations

import contextlib
import gc
import http.client
import io
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from aws_signing_proxy.config.loading import Loaded, load_settings
from aws_signing_proxy.config.problems import SettingsError
from aws_signing_proxy.credential_sources import provider_for, secrets_of
from aws_signing_proxy.credentials import Credentials, CredentialsUnavailableError, Fetch, Provider
from aws_signing_proxy.observe.logs import configure_logs, remove_log_handlers
from aws_signing_proxy.observe.redaction import Redactor
from tests.credentials.sdk.stand_in import StandIn
from tests.outages.conftest import wait_until
from tests.outages.planted import STYLES, found_in
from tests.outages.planted_scenes import SCENES, Make, Scene
from tests.wire.running_proxy import ENVIRONMENT, RunningProxy

SETTINGS = {"ASP_TARGET_URL": "http://127.0.0.1:9", "ASP_LOG_LEVEL": "debug", "ASP_CREDENTIALS_WAIT_TIMEOUT": "0"}
URL_WITH_PASSWORD = "https://somebody:planted%2Fpassword@host.example/path"
each_scene = pytest.mark.parametrize("make", SCENES, ids=lambda make: make.__name__)


class UnforeseenError(Exception):
    """What no provider knows."""


@pytest.fixture(name="scene")
def _scene(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A scene whose settings are this process's environment: botocore reads that itself."""
    with contextlib.ExitStack() as stack:
        scene = make(tmp_path, stack)
        for name in list(os.environ):
            if name.startswith(("AWS_", "ASP_")) or name.lower().endswith("_proxy"):
                monkeypatch.delenv(name)
        for name, value in (ENVIRONMENT | SETTINGS | {"HOME": str(tmp_path)} | scene.environ).items():
            monkeypatch.setenv(name, value)
        yield scene


@each_scene
def test_no_object_and_no_exception_of_a_source_shows_a_secret(make: Make, scene: Scene) -> None:
    environ = dict(os.environ)
    loaded = load_settings({}, environ)
    provider = provider_for(loaded.settings, environ)
    redactor = Redactor()
    for secret in secrets_of(loaded.settings, environ):
        redactor.register(secret)
    shown: list[str] = []
    for style in (None, *(scene.styles_beside or STYLES)):
        if style is None:
            scene.mend()
        else:
            scene.fail(style)
        fetch = Fetch(is_forced=True, timeout_seconds=5, keep_secret=redactor.register, mask=redactor.mask)
        try:
            shown.append(repr(provider.retrieve(fetch)))
        except CredentialsUnavailableError as error:
            shown += told_by(error)
        shown += [repr(fetch.notes), repr(fetch.steps), repr(fetch)]
        shown += shown_by(provider, loaded)
    scene.mend()
    with contextlib.suppress(CredentialsUnavailableError):
        provider.close(Fetch(timeout_seconds=5))
    found = {secret: around for text in shown for secret, around in found_in(text, scene.secrets).items()}
    assert not found


def told_by(error: BaseException) -> Iterator[str]:
    """Yield what an exception tells, and each that led to it: also those that a traceback leaves out."""
    waiting: list[BaseException | None] = [error]
    seen = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield from (repr(one), str(one), *traceback.format_exception_only(one), *traceback.format_tb(one.__traceback__))
        if isinstance(one, CredentialsUnavailableError):
            yield one.explain()
        waiting += [one.__cause__, one.__context__]


def shown_by(provider: Provider, loaded: Loaded) -> Iterator[str]:
    """Yield the `repr` of every object of ours that can be reached, and of those of others that ours hold."""
    waiting: list[Any] = [provider, loaded, loaded.settings]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, str | bytes | int | float | type | ModuleType | None):
            continue
        seen.add(id(one))
        if isinstance(one, dict | list | tuple | set | frozenset) and type(one).__module__ == "builtins":
            waiting += [*one.values()] if isinstance(one, dict) else [*one]
            continue
        yield repr(one)
        if type(one).__module__.startswith("aws_signing_proxy"):
            waiting += gc.get_referents(one)


@each_scene
@pytest.mark.parametrize("place", ["Credentials", "Fetch"])
def test_an_exception_that_nothing_foresaw_is_told_by_its_type_and_place_alone(
    make: Make, scene: Scene, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is raised where the secrets are at hand, with all of them in its message and in that of its cause."""

    def fail(*arguments: object, **named: object) -> None:
        caller = sys._getframe(1)
        texts = [repr(frame.f_locals) for frame in (caller, caller.f_back) if frame is not None]
        # The first may be an object that is only being made.
        texts += [repr(arguments[1:]), repr(named), *scene.secrets]
        raise UnforeseenError(*texts) from ValueError(" ".join(texts))

    # botocore has exceptions of its own for whatever happens in the middle of it.
    is_used = place == "Credentials" or not any(isinstance(server, StandIn) for server in scene.servers)
    if place == "Credentials":
        monkeypatch.setattr(Credentials, "__init__", fail)
    else:
        monkeypatch.setattr(Fetch, "timeout_seconds", fail)
    log = io.StringIO()
    configure_logs(level="debug", stream=log)
    try:
        with RunningProxy(SETTINGS["ASP_TARGET_URL"], dict(os.environ)) as proxy:
            refresher = proxy.application.refresher
            wait_until(lambda: refresher.last_fetch is not None)
            pages = [got(proxy.management_port, path) for path in ("/status/credentials", "/status/ready")]
            answer = got(proxy.port, "/")
    finally:
        remove_log_handlers()
    told = "\n".join((log.getvalue(), answer, *pages))
    assert not found_in(told, scene.secrets)
    if is_used and (scene.servers or place == "Credentials") and not scene.never_succeeds:
        assert "the provider failed unexpectedly (UnforeseenError); this is a bug" in told
        assert '"frames": "' in told
        assert "in fail" in told


def got(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    response = connection.getresponse()
    text = f"{response.status} {response.getheaders()} {response.read().decode()}"
    connection.close()
    return text


@pytest.mark.parametrize(
    "name", ["ASP_TARGET_URL", "ASP_VAULT_URL", "ASP_OPEN_ID_AUTH_SERVER_URL", "ASP_OPEN_ID_ISSUER_URL"]
)
def test_a_url_of_the_settings_with_a_password_is_refused_without_showing_it(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({}, SETTINGS | {name: URL_WITH_PASSWORD})
    told = [*told_by(refused.value), repr(vars(refused.value))]
    assert name in str(refused.value)
    assert not found_in("\n".join(told), ["planted%2Fpassword", "planted/password"])
