"""The embedded driver: bubblewrap makes the sandbox, a confined zygote starts its commands.

`launcher.py` is a small single-threaded process that the server starts once. For each sandbox it
starts `bwrap`, whose init holds the namespaces, and forks a *zygote* that enters them, gives up
every privilege and then starts programs on request. So a command costs one message and one
`posix_spawn`, and carries the same confinement as the first process.
"""
