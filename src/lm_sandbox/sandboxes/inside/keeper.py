"""The first process of a sandbox whose files may hold no program at all: a few machine instructions.

It has the kernel collect what lost its parent (SIGCHLD is ignored), writes `ready` to a descriptor, closes
all that it was given, and waits for ever. As process 1 it is deaf to every signal from inside.
"""

import platform
import struct

# The number stands in the instructions, too.
READY_FD = 103
BASE = 0x400000
HEADER_BYTES = 64 + 56
EXECUTABLE, READ_AND_EXECUTE = 2, 5
# ELF's number of the machine, then: rt_sigaction(17, act, 0, 8); write(103, message, 6);
# close_range(3, -1, 0); for ever pause(), or ppoll(0, 0, 0, 0, 0).
CODE = {
    "x86_64": (
        62,
        (
            "b80d000000bf11000000488d353f00000031d241ba080000000f05b801000000bf67000000488d3544000000"
            "ba060000000f05b8b4010000bf03000000beffffffff31d20f05b8220000000f05ebf790"
        ),
    ),
    "aarch64": (
        183,
        (
            "c81080d2200280d2c1020010020080d2030180d2010000d4080880d2e00c80d201030010c20080d2010000d4"
            "883680d2600080d201008012020080d2010000d4280980d2000080d2010080d2020080d2030080d2010000d4"
            "faffff171f2003d5"
        ),
    ),
}
# struct sigaction with SIG_IGN, and the message.
DATA = struct.pack("<4Q", 1, 0, 0, 0) + b"ready\n"


def keeper_program(machine: str | None = None) -> bytes | None:
    """Returns it as an ELF file; None for a machine whose instructions are not known."""
    known = CODE.get(machine or platform.machine())
    return known and _elf(known[0], bytes.fromhex(known[1]) + DATA)


def _elf(machine: int, content: bytes) -> bytes:
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack(
        "<HHIQQQIHHHHHH", EXECUTABLE, machine, 1, BASE + HEADER_BYTES, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    size = HEADER_BYTES + len(content)
    loaded = struct.pack("<IIQQQQQQ", 1, READ_AND_EXECUTE, 0, BASE, BASE, size, size, 0x1000)
    return ident + header + loaded + content
