"""The way into sandboxes that Linux namespaces make: what every such driver shares.

`launcher.py` is a small process that forks, for each sandbox, a `zygote.py`: it enters the sandbox's
namespaces, gives up every privilege, and starts programs on request. `Entrance` is its server side.
"""
