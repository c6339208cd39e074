"""TLS without sockets, for both sides of the proxy: one connection's engine, contexts, certificates that change.

`engine` is one connection's TLS in memory; `contexts` makes contexts for clients and servers; `reloading` follows
the files of certificates.
"""
