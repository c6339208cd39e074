"""The management port: how the proxy is doing, for probes, for Prometheus, for people.

`application` answers (health, live, ready, credentials, metrics) and is given everything it tells as callables;
`credentials` says what is told about the credentials; `server` listens, in
the proxy's own event loop, within bounds that keep the port from harming the proxy.
"""
