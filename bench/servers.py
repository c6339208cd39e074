"""What stands around the proxy: nginx as the service, and nginx and haproxy as proxies that do not sign."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from bench.processes import program_cores
from bench.programs import Program, free_port, path_of, running

__all__ = ["Service", "haproxy_pass_through", "nginx_pass_through", "nginx_service"]

ANSWER = '{"took":1,"result":"created","_shards":{"total":2,"successful":1,"failed":0}}'


@dataclass(frozen=True)
class Service:
    """The stand-in for the service: refuses what is not signed on the signed ports, takes anything on the open ones."""

    folder: Path
    signed_port: int
    signed_tls_port: int
    open_port: int
    open_tls_port: int
    ca_file: Path


@contextlib.contextmanager
def nginx_service(folder: Path, *, large_bytes: int) -> Iterator[Service]:
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
    service = Service(folder, free_port(), free_port(), free_port(), free_port(), ca_file)
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
    with _nginx(folder, "service", config, service.open_port):
        yield service


@contextlib.contextmanager
def nginx_pass_through(service: Service, *, tls: bool, is_buffered: bool = True) -> Iterator[Program]:
    """Run nginx as an unsigned reverse proxy with a keep-alive pool: the floor that a user could hope for."""
    port = free_port()
    upstream = service.open_tls_port if tls else service.open_port
    buffering = "" if is_buffered else "proxy_request_buffering off; proxy_buffering off;"
    config = f"""
      upstream service {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 10000000; }}
      server {{ listen 127.0.0.1:{port}; location / {{
        proxy_pass {"https" if tls else "http"}://service; proxy_http_version 1.1; {buffering}
        proxy_set_header Connection ""; proxy_ssl_session_reuse on; }} }}"""
    with _nginx(service.folder, f"proxy-{port}", config, port, program_cores()) as pid:
        yield Program(pid, port)


@contextlib.contextmanager
def haproxy_pass_through(service: Service, *, tls: bool) -> Iterator[Program]:
    """Run haproxy as an unsigned reverse proxy on one thread, with a keep-alive pool."""
    port = free_port()
    upstream = service.open_tls_port if tls else service.open_port
    towards = "ssl verify none sni str(localhost)" if tls else ""
    config = service.folder / f"haproxy-{port}.cfg"
    config.write_text(
        f"""
global
  nbthread 1
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout connect 10s
  timeout client 300s
  timeout server 300s
  http-reuse always
frontend clients
  bind 127.0.0.1:{port}
  default_backend service
backend service
  server service 127.0.0.1:{upstream} {towards} pool-max-conn 1024
"""
    )
    command = [path_of("haproxy"), "-db", "-f", str(config)]
    with running(command, port=port, log=service.folder / "haproxy.log", cores=program_cores()) as pid:
        yield Program(pid, port)


@contextlib.contextmanager
def _nginx(folder: Path, name: str, servers: str, port: int, cores: set[int] | None = None) -> Iterator[int]:
    home = folder / name
    home.mkdir()
    temporary = " ".join(
        f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (home / "nginx.conf").write_text(
        f"worker_processes 1; daemon off; pid {home}/pid; error_log {home}/error.log;\n"
        # Two descriptors for each connection of a client, with thousands of them.
        "worker_rlimit_nofile 20000; events { worker_connections 16384; }\n"
        f"http {{ access_log off; {temporary} keepalive_requests 10000000; keepalive_timeout 300s;"
        f" client_max_body_size 0; client_body_buffer_size 2m; {servers} }}\n"
    )
    folder.chmod(0o755)  # the worker runs as another user
    command = [path_of("nginx"), "-c", str(home / "nginx.conf"), "-e", str(home / "error.log"), "-p", str(home)]
    with running(command, port=port, log=home / "error.log", cores=cores) as pid:
        yield pid
