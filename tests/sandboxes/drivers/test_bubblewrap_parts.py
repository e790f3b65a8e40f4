import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm_sandbox.errors import NoCapacity
from lm_sandbox.sandboxes.drivers.bubblewrap import uids
from lm_sandbox.sandboxes.drivers.bubblewrap.arguments import OWN_ETC, HostView, sandbox_arguments
from lm_sandbox.sandboxes.inside import cgroups
from lm_sandbox.sandboxes.inside.seccomp import build_filter
from lm_sandbox.sandboxes.inside.tree import Row, belonging
from lm_sandbox.sandboxes.limits import MIB, Limits

V1 = "\n".join(
    f"cgroup /sys/fs/cgroup/{name} cgroup rw,nosuid,{name} 0 0"
    for name in ("cpu", "memory", "pids", "freezer")
)
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0"
HOST = HostView(existing=frozenset({"/etc/ssl/certs", "/proc/kcore"}), links=frozenset({"bin", "lib"}))


def test_version_1_is_used_below_the_servers_own_groups() -> None:
    found = cgroups.find_hierarchy("4:memory:/a/b\n1:cpu:/\n8:pids:/\n6:freezer:/\n", V1, top=True)
    assert found is not None
    assert found.version == 1
    assert found.parents["memory"] == Path("/sys/fs/cgroup/memory/a/b")


def test_version_2_is_used_at_the_top_by_root_and_below_the_own_group_by_others() -> None:
    own = "0::/user.slice/app.scope\n"
    as_root = cgroups.find_hierarchy(own, V2, top=True)
    as_user = cgroups.find_hierarchy(own, V2, top=False)
    assert as_root is not None
    assert as_user is not None
    assert as_root.parents["pids"] == Path("/sys/fs/cgroup")
    assert as_user.parents["pids"] == Path("/sys/fs/cgroup/user.slice/app.scope")


def test_a_host_without_controllers_has_no_hierarchy() -> None:
    assert cgroups.find_hierarchy("0::/\n", "proc /proc proc rw 0 0", top=True) is None


def test_the_writable_tmpfs_is_added_to_the_memory_limit() -> None:
    limits = Limits(memory_bytes=100 * MIB, disk_bytes=50 * MIB, cpus=0.5, pids=7)
    assert cgroups.values(1, limits)["memory/memory.limit_in_bytes"] == str(150 * MIB)
    assert cgroups.values(2, limits)["cpu/cpu.max"] == "50000 100000"
    assert cgroups.values(2, limits)["pids/pids.max"] == "7"


def test_a_command_owns_its_session_its_descendants_and_what_carries_its_cookie() -> None:
    rows = [
        Row(pid=10, parent=1, session=10, cookie=True),
        Row(pid=11, parent=10, session=10, cookie=False),
        Row(pid=12, parent=11, session=12, cookie=False),
        Row(pid=13, parent=2, session=13, cookie=True),
        Row(pid=20, parent=2, session=20, cookie=False),
    ]
    assert belonging(rows, root=10) == {10, 11, 12, 13}


@given(st.lists(st.tuples(st.integers(2, 60), st.integers(1, 60)), unique_by=lambda row: row[0]))
def test_a_command_never_owns_the_init_of_the_sandbox(pairs: list[tuple[int, int]]) -> None:
    rows = [Row(1, 0, 1, cookie=False)] + [Row(pid, parent, pid, cookie=False) for pid, parent in pairs]
    assert 1 not in belonging(rows, root=2)


def test_two_pools_never_lease_the_same_id() -> None:
    class Fixed:
        def randrange(self, most: int) -> int:
            return most - 1

    one, two = uids.UidPool(Fixed()), uids.UidPool(Fixed())  # type: ignore[arg-type]
    uid = one.lease()
    try:
        with pytest.raises(NoCapacity):
            two.lease()
    finally:
        one.close()
    assert two.lease() == uid
    two.close()


def test_the_filter_is_a_program_that_the_kernel_takes() -> None:
    program = build_filter()
    instructions = list(struct.iter_unpack("<HBBI", program))
    assert 50 < len(instructions) < 4096
    assert len(program) % 8 == 0


def test_the_sandbox_sees_nothing_of_the_host_but_usr_and_named_files() -> None:
    arguments = sandbox_arguments(HOST, storage="/mnt", disk_bytes=MIB, first_fd=100)
    sources = [arguments[i + 1] for i, word in enumerate(arguments) if word in {"--ro-bind", "--bind"}]
    assert set(sources) == {
        "/usr", "/etc/ssl/certs", "/dev/null", "/mnt/workspace", "/mnt/home", "/mnt/tmp", "/mnt/vartmp", "/mnt/shm",
    }  # fmt: skip
    assert "--unshare-net" in arguments
    assert arguments[arguments.index("--cap-drop") + 1] == "ALL"


def test_every_own_file_of_etc_has_a_descriptor_of_its_own() -> None:
    arguments = sandbox_arguments(HOST, storage=None, disk_bytes=MIB, first_fd=100)
    numbers = [arguments[i + 1] for i, word in enumerate(arguments) if word == "--ro-bind-data"]
    assert numbers == [str(102 + i) for i in range(len(OWN_ETC))]
    assert os.sep not in "".join(OWN_ETC)
