"""The way to the service: which connection takes a request, and how connections come and go.

`pool` decides and does no I/O; `connector` opens connections (names, addresses, TLS); `connection` is one
open connection; `tls` is TLS without a socket; `upstream` joins them and is what the proxy talks to.
"""
