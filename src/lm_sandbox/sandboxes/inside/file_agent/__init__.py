"""A process that works on a sandbox's files from within: every path is resolved by the kernel inside.

Forked by the launcher as a zygote is, with the same confinement, but outside the sandbox's pid
namespace with all that it forks. Imported by the launcher before the first fork; standard library
only, and nothing is imported once it is inside.
"""
