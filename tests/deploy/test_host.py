"""The playbook sets up a Debian with systemd, over SSH, and the server runs there as its hardened service."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.stack import DOCKER, ROOT, build_images, docker, environment

ANSIBLE = ROOT / "deploy/ansible"
UNIT = ROOT / "deploy/systemd/lm-sandbox.service"
NAME = "lmtest_host"
# systemd in a container wants these; sandboxes in it, an unmasked /proc.
FLAGS = (
    "--network=none", "--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN", "--security-opt=seccomp=unconfined",
    "--security-opt=systempaths=unconfined", "--cgroupns=host", "--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup:ro",
)  # fmt: skip
V1_SYSTEMD = Path("/sys/fs/cgroup/systemd")
# Building the image and two runs of the playbook.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def host(docker_engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """An engine with a container that is a host, and an inventory that has it."""
    build_images(docker_engine)
    folder = tmp_path_factory.mktemp("host")
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True, timeout=60
    )
    built = subprocess.run(
        [DOCKER, "build", "--network=host", "--tag", "lm-host:test", "-"],
        input=(ROOT / "tests/deploy/host/Dockerfile").read_text(), env=environment(docker_engine) | {"DOCKER_BUILDKIT": "1"},
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-4000:]
    mounts = [f"--volume={V1_SYSTEMD}:{V1_SYSTEMD}"] if V1_SYSTEMD.exists() else []
    docker(docker_engine, "run", "--detach", "--name", NAME, *FLAGS, *mounts, "lm-host:test")
    try:
        let_in(docker_engine, (folder / "key.pub").read_text())
        inventory = folder / "inventory.yml"
        inventory.write_text(yaml.safe_dump(inventory_of(docker_engine, folder / "key")))
        yield docker_engine, inventory
    finally:
        docker(docker_engine, "rm", "--force", NAME)


def let_in(engine: Path, key: str) -> None:
    script = "mkdir -p /run/sshd; cat >/root/.ssh/authorized_keys; systemctl is-system-running --wait || true"
    subprocess.run(
        [DOCKER, "exec", "--interactive", NAME, "sh", "-c", script],
        input=key, env=environment(engine), text=True, check=True, timeout=120,
    )  # fmt: skip


def inventory_of(engine: Path, key: Path) -> dict[str, object]:
    """The container has no network: sshd talks over its standard input."""
    way = f"{DOCKER} --host unix://{engine} exec -i {NAME} /usr/sbin/sshd -i"
    connection = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
        f'-o ProxyCommand="{way}"',
    }
    settings = {"lm_sandbox_install": False, "lm_sandbox_docker": False, "lm_sandbox_allowed_networks": ["192.0.2.0/24"],
                "lm_sandbox_settings": {"LM_SANDBOX_SANDBOX__REQUIRE_CGROUPS": "false"}}  # fmt: skip
    return {"lm_sandbox": {"hosts": {"made-here": connection}, "vars": settings}}


def play(inventory: Path) -> dict[str, int]:
    done = subprocess.run(
        [ROOT / ".venv/bin/ansible-playbook", "--inventory", inventory, "playbook.yml"],
        cwd=ANSIBLE, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", done.stdout.splitlines()[-2])}


def test_the_playbook_makes_a_host_that_serves_and_its_second_run_changes_nothing(
    host: tuple[Path, Path],
) -> None:
    engine, inventory = host
    first = play(inventory)
    assert first["failed"] == first["unreachable"] == 0
    assert first["changed"] > 10
    assert play(inventory)["changed"] == 0
    assert serves(engine)
    exposure = docker(
        engine, "exec", NAME, "systemd-analyze", "security", "--no-pager", "lm-sandbox"
    ).splitlines()[-1]
    assert float(exposure.split("lm-sandbox.service: ")[1].split()[0]) < 4.5, exposure
    status = docker(
        engine, "exec", NAME, "sh", "-c", "cat /proc/$(systemctl show -P MainPID lm-sandbox)/status"
    )
    assert "NoNewPrivs:\t1" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "\t0\t" not in next(line for line in status.splitlines() if line.startswith("Uid:"))
    rules = docker(engine, "exec", NAME, "nft", "list", "table", "inet", "lm_sandbox")
    assert "ip saddr 192.0.2.0/24 tcp dport 8000 accept" in rules
    assert rules.index("accept\n\t\ttcp dport 8000 drop") > 0
    journal = docker(engine, "exec", NAME, "journalctl", "--no-pager", "--unit", "lm-sandbox")
    assert "lms_" not in journal, "the key is not in the log"
    told = docker(
        engine,
        "exec",
        NAME,
        "stat",
        "-c",
        "%U %a",
        "/var/lib/lm-sandbox",
        "/etc/lm-sandbox",
        "/srv/lm-sandbox/models",
    )
    assert told.splitlines() == ["lm-sandbox 700", "root 750", "lm-sandbox 755"]


def serves(engine: Path) -> bool:
    """Waits for the server, which was restarted just now."""
    for _ in range(120):
        done = subprocess.run(
            [DOCKER, "exec", NAME, "curl", "-fsS", "http://127.0.0.1:8000/readyz"],
            env=environment(engine), capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        if done.returncode == 0:
            return True
        time.sleep(0.5)
    return False


def test_the_unit_lets_a_crashed_servers_sandboxes_live_and_delegates_their_groups() -> None:
    unit = UNIT.read_text().splitlines()
    assert "KillMode=process" in unit
    assert "Delegate=cpu cpuset io memory pids" in unit
    assert "NoNewPrivileges=yes" in unit
    # Each of these would keep bubblewrap from making a sandbox.
    for broken in (
        "ProtectKernelTunables",
        "ProtectControlGroups",
        "ProtectProc",
        "RestrictNamespaces",
        "PrivateUsers",
    ):
        assert not any(line.startswith(broken) for line in unit)
