"""Credentials: where they come from, when they are fetched, and the one object that requests take them from.

    store       what requests see: one attribute; those that wait for credentials
    refresher   the background task: when to fetch, behind which breaker, what is logged
    schedule, breaker, ledger    its parts that only calculate and count
    holder      what it tells, and whom
    fetcher     one fetch: in a thread, within its time, with its secrets kept out of the log
    fetch, provider, model       what a fetch is, what a source is, what credentials are
    watched_files                files that others write: whether they have changed, and since a failure

Each source is a `Provider`: `awstoken` (of `environment` and `shared_files`) here, the others in folders of their own.
A source that is configured but broken is an error, never a reason to look elsewhere: requests would be signed as
somebody whom the user did not mean. The configured provider is the only one used.
"""

from __future__ import annotations

from aws_signing_proxy.credentials.breaker import CircuitBreaker, CircuitState
from aws_signing_proxy.credentials.fetch import Fetch
from aws_signing_proxy.credentials.fetcher import Fetcher
from aws_signing_proxy.credentials.ledger import Ledger
from aws_signing_proxy.credentials.model import Credentials
from aws_signing_proxy.credentials.provider import Attempt, CredentialsUnavailableError, Provider
from aws_signing_proxy.credentials.refresher import Refresher
from aws_signing_proxy.credentials.store import CredentialStore

__all__ = [
    "Attempt",
    "CircuitBreaker",
    "CircuitState",
    "CredentialStore",
    "Credentials",
    "CredentialsUnavailableError",
    "Fetch",
    "Fetcher",
    "Ledger",
    "Provider",
    "Refresher",
]
