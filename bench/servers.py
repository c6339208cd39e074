"""The programs that a bench runs: nginx as the service, nginx as the unsigned pass-through, and the proxy."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

__all__ = ["CREDENTIALS", "Program", "Service", "nginx_pass_through", "nginx_service", "proxy", "require", "waits_for"]

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "ASIAEXAMPLEEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret-only-for-the-bench",
    "AWS_SESSION_TOKEN": "T" * 400,
}
ANSWER = '{"took":1,"result":"created","_shards":{"total":2,"successful":1,"failed":0}}'
_START_SECONDS = 15.0


@dataclass(frozen=True)
class Program:
    """A running program: the process that does the work, and where it listens."""

    pid: int
    port: int


@dataclass(frozen=True)
class Service:
    """The stand-in for the service: refuses what is not signed on the signed ports, takes anything on the open ones."""

    signed_port: int
    signed_tls_port: int
    open_port: int
    open_tls_port: int
    ca_file: Path


def require(name: str) -> str:
    """Return the path of a program. Exits with a sentence where it is missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        sys.exit(f"bench: {name} is not installed (Debian: apt-get install {name})")
    return found


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def waits_for(port: int, headers: dict[str, str] | None = None) -> None:
    """Wait until something answers a request with 200."""
    give_up = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/", headers=headers or {})
            if connection.getresponse().status == 200:
                connection.close()
                return
        time.sleep(0.002)
    sys.exit(f"bench: nothing answers on port {port}")


@contextlib.contextmanager
def nginx_service(folder: Path, large_bytes: int = 1 << 30) -> Iterator[Service]:
    """Run nginx as the service: a small JSON answer, a large file at /large, and PUT to /store/NAME."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    ca_file, pem = folder / "ca.pem", folder / "server.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    pem.write_bytes(certificate.private_key_pem.bytes() + b"".join(c.bytes() for c in certificate.cert_chain_pems))
    with (folder / "large").open("wb") as large:
        large.truncate(large_bytes)
    (folder / "store").mkdir(exist_ok=True)
    (folder / "store").chmod(0o777)  # the worker runs as another user
    service = Service(free_port(), free_port(), free_port(), free_port(), ca_file)
    location = f"""
      location = /large {{ root {folder}; }}
      location /store/ {{ root {folder}; dav_methods PUT DELETE; }}
      location / {{ default_type application/json; return 200 '{ANSWER}'; }}"""
    refuse = 'if ($http_authorization !~ "^AWS4-HMAC-SHA256 Credential=") { return 403; }'
    tls = f"ssl_certificate {pem}; ssl_certificate_key {pem};"
    config = f"""
      server {{ listen 127.0.0.1:{service.signed_port}; listen 127.0.0.1:{service.signed_tls_port} ssl;
        {tls} {refuse} {location} }}
      server {{ listen 127.0.0.1:{service.open_port}; listen 127.0.0.1:{service.open_tls_port} ssl;
        {tls} {location} }}"""
    with _nginx(folder, "service", config):
        waits_for(service.open_port)
        yield service


@contextlib.contextmanager
def nginx_pass_through(folder: Path, service: Service, *, tls: bool, buffered: bool = True) -> Iterator[Program]:
    """Run nginx as an unsigned reverse proxy with a keep-alive pool: the floor that a user could hope for."""
    port = free_port()
    upstream = service.open_tls_port if tls else service.open_port
    buffering = "" if buffered else "proxy_request_buffering off; proxy_buffering off;"
    config = f"""
      upstream service {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 10000000; }}
      server {{ listen 127.0.0.1:{port}; location / {{
        proxy_pass {"https" if tls else "http"}://service; proxy_http_version 1.1; {buffering}
        proxy_set_header Connection ""; proxy_ssl_session_reuse on; }} }}"""
    with _nginx(folder, f"proxy-{port}", config) as pid:
        waits_for(port)
        yield Program(pid, port)


@contextlib.contextmanager
def proxy(service: Service, *, tls: bool, settings: dict[str, str] | None = None) -> Iterator[Program]:
    """Run this project's proxy as users do, with its default settings."""
    port = free_port()
    target = f"https://localhost:{service.signed_tls_port}" if tls else f"http://127.0.0.1:{service.signed_port}"
    environment = {
        **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
        **CREDENTIALS,
        "ASP_TARGET_URL": target,
        "ASP_PORT": str(port),
        "ASP_MGMT_PORT": str(free_port()),
        "ASP_CA_BUNDLE": str(service.ca_file),
        "ASP_LOG_LEVEL": "error",
        **(settings or {}),
    }
    process = subprocess.Popen([sys.executable, "-m", "aws_signing_proxy"], env=environment)
    try:
        waits_for(port)
        yield Program(process.pid, port)
    finally:
        process.terminate()
        process.wait(timeout=40)


@contextlib.contextmanager
def _nginx(folder: Path, name: str, servers: str) -> Iterator[int]:
    home = folder / name
    home.mkdir()
    temporary = " ".join(
        f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (home / "nginx.conf").write_text(
        f"worker_processes 1; daemon off; pid {home}/pid; error_log {home}/error.log;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; {temporary} keepalive_requests 10000000; client_max_body_size 0;"
        f" client_body_buffer_size 2m; {servers} }}\n"
    )
    folder.chmod(0o755)  # the worker runs as another user
    process = subprocess.Popen(
        [require("nginx"), "-c", str(home / "nginx.conf"), "-e", str(home / "error.log"), "-p", str(home)]
    )
    try:
        yield _worker_of(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _worker_of(master: int) -> int:
    give_up = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up:
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.01)
    sys.exit("bench: nginx did not start; see its error log")
