"""The proxy path: a client's connection, its requests one after the other, and their answers.

The story of a request is told in `exchange`. `downstream` is the client's connection: it reads heads and
bodies and keeps the order. `body` receives request bodies; `rewrite` turns the client's head into the signed
one; `route` says where requests go and as whom; `server` owns the listeners, the limits and the clock.
"""
