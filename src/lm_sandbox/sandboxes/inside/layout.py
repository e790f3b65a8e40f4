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
