"""The one client of STS: botocore's, with nothing of the environment, and without the data that STS does not need.

It imports botocore, and is imported where STS is asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.loaders import Loader
from botocore.session import Session

from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.http.failures import ExchangeError
from aws_signing_proxy.credentials.http.trusted_certificates import CertificateFileError
from aws_signing_proxy.credentials.http.web_address import shown_address
from aws_signing_proxy.credentials.sts.endpoint_data import endpoints_of
from aws_signing_proxy.credentials.sts.errors import (
    InvalidCallError,
    Operation,
    ServiceError,
    StsSetupError,
    UnreadableAnswerError,
)
from aws_signing_proxy.credentials.sts.settings import StsSettings
from aws_signing_proxy.credentials.sts.transport import StsTransport
from aws_signing_proxy.sigv4 import Identity

__all__ = ["StsClient"]

_SERVICE: Final = "sts"
# botocore wants some at every time; a call that is not signed does not use them.
_NOBODY: Final = Identity("unset", "unset")
_METHODS: Final = {
    Operation.ASSUME_ROLE: "assume_role",
    Operation.ASSUME_ROLE_WITH_WEB_IDENTITY: "assume_role_with_web_identity",
    Operation.GET_CALLER_IDENTITY: "get_caller_identity",
}
_REDIRECTS: Final = range(300, 400)


class StsClient:
    """botocore's client for one STS. Used by one thread at a time.

    One for all calls: making one costs 20 to 50 ms and leaves cyclic garbage. The credentials are put into it for the
    time of a call.

    Raises:
        StsSetupError: STS cannot be asked as it is configured.
    """

    def __init__(self, settings: StsSettings) -> None:
        self._settings = settings
        try:
            session = _session()
            session.set_credentials(_NOBODY.access_key_id, _NOBODY.secret_access_key)
            self._client = session.create_client(
                _SERVICE,
                region_name=settings.region,
                endpoint_url=settings.endpoint_url,
                config=_config(settings),
            )
            url = _checked(self._client.meta.endpoint_url)
            self._transport = StsTransport(settings)
        except (BotoCoreError, ValueError) as error:
            # ValueError also where an endpoint's URL is none; the texts may quote it, passwords and all.
            raise _setup_error(settings, error) from None
        self.address = shown_address(url)
        self._identity = session.get_credentials()
        self._fetch: Fetch | None = None
        self._client.meta.events.register(f"before-send.{_SERVICE}", self._send)

    @property
    def date(self) -> str | None:
        """The Date field of the last answer."""
        answer = self._transport.answer
        return answer.fields.get("date") if answer is not None else None

    def close(self) -> None:
        """Close the connections; the next call opens another."""
        self._transport.close()

    def call(
        self, operation: Operation, parameters: Mapping[str, Any], *, identity: Identity | None, fetch: Fetch
    ) -> Mapping[str, Any]:
        """Make a call, signed with `identity`; return what STS answered, parsed.

        Raises:
            ServiceError: STS answered with an error.
            ExchangeError: There was no whole answer in time.
            CertificateFileError: What is to be trusted cannot be read.
            UnreadableAnswerError: The answer is not STS's.
            InvalidCallError: The parameters cannot be sent.
            StsSetupError: There is no endpoint as it is configured.
        """
        self._fetch = fetch
        self._sign_with(identity or _NOBODY)
        try:
            answer = getattr(self._client, _METHODS[operation])(**parameters)
        except ClientError as error:
            raise self._service_error(error) from None
        except ParamValidationError as error:
            raise InvalidCallError(str(error)) from None
        except (ExchangeError, CertificateFileError):
            raise
        except Exception as error:
            if self._transport.answer is not None:
                # botocore's parsers let pass whatever an odd document makes them raise: KeyError, AttributeError, ...
                # Their texts may quote it.
                raise self._unreadable() from None
            if isinstance(error, BotoCoreError):
                raise _setup_error(self._settings, error) from None
            raise
        finally:
            self._fetch = None
            self._sign_with(_NOBODY)
        if not isinstance(answer, dict):
            raise self._unreadable()
        return answer

    def _send(self, request: Any, **_: Any) -> Any:
        """Stand in for botocore's own HTTP, as its `before-send` event allows."""
        if self._fetch is None:
            raise RuntimeError("a request to STS that no call has made")
        # botocore finds it anew for each call, by newer rules than those that the client was made with.
        self.address = shown_address(request.url)
        return self._transport.send(request, self._fetch)

    def _sign_with(self, identity: Identity) -> None:
        self._identity.access_key = identity.access_key_id
        self._identity.secret_key = identity.secret_access_key
        self._identity.token = identity.session_token

    def _service_error(self, error: ClientError) -> Exception:
        answer = self._transport.answer
        status = answer.status if answer is not None else 0
        if status in _REDIRECTS:
            return self._unreadable()
        document = error.response.get("Error")
        fields = document if isinstance(document, dict) else {}
        code, message = fields.get("Code"), fields.get("Message")
        # Where there is no document of AWS's, botocore takes the status for the code.
        code = code.strip() if isinstance(code, str) and code.strip() != str(status) else ""
        return ServiceError(status, code or None, message.strip() if isinstance(message, str) else "")

    def _unreadable(self) -> UnreadableAnswerError:
        answer = self._transport.answer
        status = answer.status if answer is not None else 0
        if answer is not None and status in _REDIRECTS:
            location = answer.fields.get("location")
            where = f" to {shown_address(location)}" if location else ""
            return UnreadableAnswerError(status, f"answered with a redirect ({status}){where}, which is not followed")
        return UnreadableAnswerError(status, f"answered with status {status} and something that STS never answers")


def _session() -> Session:
    """Return a session that reads neither environment variables nor files of the user's.

    Otherwise AWS_PROFILE could name a profile that is not there, or a file be broken, and calls that need nothing of
    them would fail; and values of theirs (retries, credentials) would find their way into the calls.
    """
    variables = {
        name: (None, None, default, convert) for name, (_, _, default, convert) in Session.SESSION_VARIABLES.items()
    }
    for name in ("config_file", "credentials_file"):
        variables[name] = (None, None, os.devnull, None)
    # Not the global one in us-east-1, whatever the version's default.
    variables["sts_regional_endpoints"] = (None, None, "regional", None)
    session = Session(session_vars=variables)
    session.register_component("data_loader", _StsData())
    return session


def _config(settings: StsSettings) -> Config:
    return Config(
        # Ours decides how often: a call in a fetch has as much time as that has.
        retries={"total_max_attempts": 1, "mode": "standard"},
        use_fips_endpoint=settings.use_fips,
        use_dualstack_endpoint=settings.use_dualstack,
        ignore_configured_endpoint_urls=True,
        proxies={},
        user_agent_extra="aws-signing-proxy",
    )


def _checked(url: str) -> str:
    """Return the URL if it can be asked; else raise ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError("no URL of a host")
    return url


class _StsData(Loader):  # type: ignore[misc] # botocore ships no types
    """botocore's data for STS alone, from botocore's own folder.

    The endpoints of all services would take 7 MiB; to look which services there are, 400 folders are listed.
    """

    def __init__(self) -> None:
        super().__init__(extra_search_paths=[self.BUILTIN_DATA_PATH], include_default_search_paths=False)

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's signature
        return [_SERVICE]

    def load_data_with_path(self, name: str) -> Any:
        if name == "endpoints":
            path = Path(self.BUILTIN_DATA_PATH, name)
            if (data := endpoints_of(_SERVICE, path.with_suffix(".json"))) is not None:
                return data, str(path)
        return super().load_data_with_path(name)


def _setup_error(settings: StsSettings, error: Exception) -> StsSetupError:
    if settings.endpoint_url is not None and "://" not in settings.endpoint_url:
        return StsSetupError(
            "AWS_ENDPOINT_URL_STS (or AWS_ENDPOINT_URL) is no URL", "Write it with its scheme, https://..."
        )
    variants = [
        name
        for name, is_used in (
            ("AWS_USE_FIPS_ENDPOINT", settings.use_fips),
            ("AWS_USE_DUALSTACK_ENDPOINT", settings.use_dualstack),
        )
        if is_used
    ]
    advice = f"Check AWS_REGION ({settings.region}) and AWS_ENDPOINT_URL_STS"
    if variants:
        advice += f"; and whether this region has what {' and '.join(variants)} asks for"
    return StsSetupError(f"cannot be asked as it is configured ({type(error).__name__})", advice)
