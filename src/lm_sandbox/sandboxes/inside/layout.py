"""What a sandbox looks like from inside, whatever made it."""

SANDBOX_UID = 1000
HOME = "/home/sandbox"
WORKSPACE = "/workspace"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": HOME,
    "USER": "sandbox",
    "LOGNAME": "sandbox",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}
MASKED_PROC = ("kallsyms", "kcore", "keys", "key-users", "kmsg", "latency_stats", "modules", "sched_debug",
               "slabinfo", "sysrq-trigger", "timer_list", "vmallocinfo")  # fmt: skip
# tmpfs is sized in bytes and in files, so that empty files meet the disk limit too.
BYTES_PER_FILE = 8192
FEWEST_FILES = 1024
# Less than this free at the end of a command means that it met the disk limit.
FULL_BYTES = 64 * 1024
FULL_FILES = 4
# What a sandbox's own root may do, where it has one: with files and processes of the sandbox's own users.
# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETFCAP. Ports below 1024 stay the server's.
ROOT_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 31)
ROOT_ENVIRONMENT = {"HOME": "/root", "USER": "root", "LOGNAME": "root"}
