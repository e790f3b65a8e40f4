"""The Docker driver: the engine makes the sandbox from any image.

Where the engine runs on this host and commands may enter its containers directly, they come from the
confined zygote (`sandboxes.inside`) as the embedded driver's do; elsewhere each is an exec of the engine.
"""
