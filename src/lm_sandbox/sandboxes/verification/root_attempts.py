"""What hostile code tries from inside as the root of a sandbox with an image."""

from dataclasses import replace

from lm_sandbox.sandboxes.verification.attempts import ATTEMPTS, PRELUDE, PYTHON, THROUGH, Attempt

# Files are this root's own, and so are users, of which it has some.
OWN_GROUPS = frozenset({"files"})
OWN = frozenset({"become root", "set the user id", "a set-uid copy of bash", "capabilities"})
# The bits of CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID and SETFCAP.
CAPABILITIES = "00000000800000fb"


def _python(code: str) -> str:
    return f"{PYTHON} - <<'EOF'\n{PRELUDE}{code}\nEOF"


def _through(command: str) -> str:
    return f"({command}) >/dev/null 2>&1 && echo {THROUGH}"


SCRIPTS = {
    "more capabilities than its own": f"grep -E '^Cap(Prm|Eff|Bnd)' /proc/self/status | grep -qv {CAPABILITIES} && echo {THROUGH}",
    "capabilities to inherit": f"grep -E '^Cap(Inh|Amb)' /proc/self/status | grep -qv 0000000000000000 && echo {THROUGH}",
    "it is root of the host": f"while read -r inside outside count; do [ $outside = 0 ] && echo {THROUGH}; done < /proc/self/uid_map; true",
    "mount a tmpfs": _through("mount -t tmpfs none /mnt"),
    "mount an overlay": _through("mount -t overlay none -o lowerdir=/usr:/etc /mnt"),
    "mount proc anew": _through("mount -t proc proc /mnt"),
    "bind the root": _through("mount --bind / /mnt"),
    "make the settings of the kernel writable": _through("mount -o remount,rw /proc/sys"),
    "make the devices writable": _through("mount -o remount,rw,dev /dev"),
    "let devices work": _through("mount -o remount,dev,suid /"),
    "uncover what is masked": _through("umount /proc/kallsyms"),
    "uncover the system": _through("umount -l /usr"),
    "chroot": _through("chroot / /bin/true"),
    "nsenter the init": _through("nsenter -t 1 -m -p true"),
    "unshare mounts": _through("unshare -m true"),
    "unshare users": _through("unshare -Ur true"),
    "more user namespaces": _through("echo 100 > /proc/sys/user/max_user_namespaces"),
    "a block device": _through("mknod /root/sda b 8 0"),
    "a character device": _through("mknod /root/mem c 1 1"),
    "a device on the workspace": _through("mknod /workspace/kmsg c 1 11"),
    "a whiteout": _through("mknod /usr/bin/gone c 0 0"),
    "read disks": _through("cat /dev/sda || cat /dev/vda || cat /dev/mem"),
    "forward packets": _through("echo 1 > /proc/sys/net/ipv4/ip_forward"),
    "open low ports": _through("echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start"),
    "a low port": _python("socket.create_server(('127.0.0.1', 80)); print('THROUGH')"),
    "a raw socket": _python("socket.socket(2, 3, 1); print('THROUGH')"),
    "an address of its own": _through("ip address add 10.9.9.9/32 dev lo"),
    "a route": _through("ip route add default dev lo"),
    "core patterns": _through("echo '|/tmp/x' > /proc/sys/kernel/core_pattern"),
    "module loader": _through("echo /tmp/x > /proc/sys/kernel/modprobe"),
    "binary formats": _through("echo ':x:M::x::/tmp/x:' > /proc/sys/fs/binfmt_misc/register"),
    "message queues": _through("echo 99 > /proc/sys/fs/mqueue/queues_max"),
    "shared memory": _through("echo 1 > /proc/sys/kernel/shmmax"),
    "the host's name": _through("hostname evil"),
    "sysrq": _through("echo t > /proc/sysrq-trigger"),
    "interrupts": _through("echo 1 > /proc/irq/default_smp_affinity"),
    "its own map of users": _through("echo '0 0 1' > /proc/self/uid_map"),
    "the init's memory": _python("open('/proc/1/mem', 'rb').read(1); print('THROUGH')"),
    "the init's root": _through("ls /proc/1/root/"),
    "the init's descriptors": _through("readlink /proc/1/fd/0"),
    "trace the init": _python("through(libc.ptrace(16, 1, 0, 0))"),
    "trace the init as its user": _python("os.setgid(1000); os.setuid(1000); through(libc.ptrace(16, 1, 0, 0))"),
    "the init's memory as its user": _python("os.setuid(1000); open('/proc/1/mem', 'rb').read(1); print('THROUGH')"),
    "end the init": f"kill -9 1; sleep 0.1; [ -e /proc/1 ] || echo {THROUGH}",
    "an attribute of overlays": _python("os.setxattr('/usr/share', 'trusted.overlay.opaque', b'y'); print('THROUGH')"),
    "a redirect": _python("os.mkdir('/opt/d'); os.setxattr('/opt/d', 'trusted.overlay.redirect', b'/../..'); print('THROUGH')"),
    "an attribute of security": _python("os.setxattr('/etc/hosts', 'security.selinux', b'x'); os.setxattr('/etc/hosts', 'security.ima', b'x'); print('THROUGH')"),
    "append-only files": _through("chattr +a /etc/hosts"),
    "files by their handles": _python("print('THROUGH' if syscall(303, -100, b'/', ctypes.create_string_buffer(b'\\x80' + bytes(200)), ctypes.byref(ctypes.c_int()), 0) >= 0 else '')"),
    "a set-uid program gains more": f"cp /bin/bash /usr/local/bin/b; chmod 6755 /usr/local/bin/b; setpriv --reuid 1000 --regid 1000 --clear-groups /usr/local/bin/b -p -c 'id -u' | grep -qx 0 && echo {THROUGH}",
    "a program with capabilities gains more": f"cp /usr/bin/python3 /usr/local/bin/p; setcap cap_sys_admin,cap_setuid+ep /usr/local/bin/p; setpriv --reuid 1000 --regid 1000 --clear-groups /usr/local/bin/p -c 'import os; os.setuid(0)' 2>/dev/null && echo {THROUGH}",
    "passwords of the host": f"grep -q '^root:[$!*]' /etc/shadow 2>/dev/null && echo {THROUGH}",
    "people of the host": f"awk -F: '$3 >= 1000 && $3 < 65534 && $1 != \"sandbox\"' /etc/passwd | grep -q . && echo {THROUGH}",
    "the server's files": f"cat $SERVER_FILE 2>/dev/null | grep -q . && echo {THROUGH}",
    "the host's keys": f"cat /etc/ssh/ssh_host_* /root/.ssh/* /etc/ssl/private/* /var/lib/dpkg/../../../root/.bashrc 2>/dev/null | grep -q . && echo {THROUGH}",
    "where layers are": f"find / -xdev -path '*/mnt/*' -o -xdev -name upperdir -o -xdev -name work 2>/dev/null | grep -q . && echo {THROUGH}",
    "control groups": _through("mkdir /sys/fs/cgroup/x || mount -t cgroup2 none /mnt"),
    "a higher priority": _through('[ "$(nice -n -5 nice)" -lt 0 ]'),
    "more processes for everybody": _through("prlimit --nofile=9999999:9999999 true"),
    "a lower score for memory": _through("echo -900 > /proc/self/oom_score_adj"),
    "set the clock": _through("date -s 2001-01-01"),
    "load a module": _through("insmod /tmp/x.ko || modprobe loop"),
    "swap": _through("head -c 1M /dev/zero > /swap && mkswap /swap && swapon /swap"),
    "read the kernel's log": _through("dmesg"),
    "a filter for the kernel": _python("through(syscall(321, 0, ctypes.create_string_buffer(128), 72))"),
    "debug file system": _through("mount -t debugfs none /mnt || ls /sys/kernel/debug"),
    "reboot": _through("reboot -f"),
}  # fmt: skip
ROOT_ATTEMPTS = [
    *(
        replace(one, group=f"root: {one.group}")
        for one in ATTEMPTS
        if one.group not in OWN_GROUPS and one.name not in OWN
    ),
    *(Attempt("root", name, script) for name, script in SCRIPTS.items()),
]
