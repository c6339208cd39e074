"""Several processes that serve one address: a supervisor that owns everything but the requests, and its workers.

    crew        in the supervisor: starts workers, replaces those that end, tells them what comes, knows their figures
    nursery     the process that workers are forked from, which never had an event loop, a thread or a secret
    worker      in a worker: serves requests as the supervisor says
    channel     what the two say to each other: JSON lines over a socket pair
    remote_refresher   in a worker: what stands for the one that fetches credentials
    shared_counters, turns   memory that both see: the figures, and who takes the next connection
    orphans     what process 1 of a container owes them
    cores, shares      how many workers, and what each gets of a limit

With one worker none of this runs. Why it is made like this: docs/decisions/0009-workers.md.
"""
