"""The system call policy as a BPF program, for what is confined by the kernel directly."""

import os
import struct
import sys

import pyseccomp as libseccomp

from lm_sandbox.sandboxes.inside.syscalls import ESSENTIAL, Comparison, Condition, Refusal, refusals


def build_filter() -> bytes:
    """Returns the program, as `struct sock_filter` after `struct sock_filter`.

    Raises:
        OSError: libseccomp cannot make it.
    """
    program = libseccomp.SyscallFilter(libseccomp.ALLOW)
    for refusal in refusals():
        _add(program, refusal)
    return _export(program)


def _add(program: libseccomp.SyscallFilter, refusal: Refusal) -> None:
    action = libseccomp.ERRNO(refusal.error)
    try:
        program.add_rule(action, refusal.call, *map(_argument, refusal.conditions))
    except (ValueError, RuntimeError, OSError):
        # This architecture or this libseccomp does not know the call, so nobody can make it by name.
        if refusal.call in ESSENTIAL:
            raise


def _argument(condition: Condition) -> object:
    if condition.comparison is Comparison.MASKED_EQUAL:
        return libseccomp.Arg(condition.argument, libseccomp.MASKED_EQ, condition.mask, condition.value)
    operator = libseccomp.EQ if condition.comparison is Comparison.EQUAL else libseccomp.GT
    return libseccomp.Arg(condition.argument, operator, condition.value)


def _export(program: libseccomp.SyscallFilter) -> bytes:
    descriptor = os.memfd_create("seccomp")
    with os.fdopen(descriptor, "w+b") as file:
        program.export_bpf(file)
        file.seek(0)
        data = file.read()
    size = struct.calcsize("HBBI")
    if not data or len(data) % size or sys.byteorder != "little":
        raise OSError("libseccomp made no usable filter")
    return data
