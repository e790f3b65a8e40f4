"""The embedded driver: bubblewrap makes the sandbox, and its init holds the namespaces.

Commands come from a confined zygote (`sandboxes.inside`), so one costs a message and a
`posix_spawn`, and carries the same confinement as the first process.
"""
