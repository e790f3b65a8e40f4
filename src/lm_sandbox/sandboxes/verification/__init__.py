"""Tries to break out of a sandbox, on the machine and the kernel that it is run on."""
