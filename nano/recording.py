"""Finds the true outputs: runs the commands of many dialogues in one isolated sandbox."""

import json
import subprocess
import sys
from collections.abc import Sequence

from nano.dialogue import Dialogue

# What the sandbox runs: it reads jobs, gives each its own folder, and writes what the tool loop would tell.
RUNNER = r"""
import json, os, resource, shutil, subprocess
os.environ.clear()
os.environ.update(PATH="/usr/bin:/bin", HOME="/home/sandbox", LANG="C.UTF-8", USER="sandbox")
os.makedirs("/home/sandbox", exist_ok=True)
for number, line in enumerate(open("/jobs")):
    job = json.loads(line)
    here = "/workspace/%d/w" % number
    os.makedirs(here)
    os.chdir(here)
    for path, content in job["files"].items():
        path = os.path.expanduser(path)
        try:
            if content is None:
                os.makedirs(path, exist_ok=True)
            else:
                os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
                open(path, "w").write(content)
        except OSError:
            pass
    told = []
    for command in job["commands"]:
        if command is None:
            told.append(None)
            continue
        try:
            done = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, timeout=5)
        except subprocess.TimeoutExpired:
            told.append("[timed out after 30 s]")
            continue
        text = (done.stdout + done.stderr).decode(errors="replace")[:4000].rstrip("\n")
        if done.returncode:
            text = "[exit code %d]" % done.returncode + ("\n" + text if text else "")
        told.append(text or "[no output]")
    print(json.dumps(told), flush=True)
    os.chdir("/workspace")
    shutil.rmtree("/workspace/%d" % number, ignore_errors=True)
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps(sum(use.ru_utime + use.ru_stime for use in used)), flush=True)
"""


def record(dialogues: Sequence[Dialogue], jobs_path: str) -> list[list[str]]:
    """Returns, for each dialogue, what each of its commands gives; see `record_timed`."""
    return record_timed(dialogues, jobs_path)[0]


def record_timed(dialogues: Sequence[Dialogue], jobs_path: str) -> tuple[list[list[str]], float]:
    """Returns, for each dialogue, what each of its commands gives; and the CPU seconds that took.

    The seconds are counted in the sandbox, as its processes are no children that this one waits for.

    Commands with a made-up result are not run; those that would wait are not either.

    Args:
        dialogues: What to run.
        jobs_path: A file to hand the jobs over in.

    Raises:
        RuntimeError: the sandbox did not answer for every dialogue.
    """
    with open(jobs_path, "w") as jobs:
        for dialogue in dialogues:
            commands = [
                step.command if step.told is None else None for turn in dialogue.turns for step in turn.steps
            ]
            jobs.write(json.dumps({"files": dialogue.files, "commands": commands}) + "\n")
    done = subprocess.run(_sandbox(jobs_path), capture_output=True, text=True, check=False)
    *rows, seconds = [json.loads(line) for line in done.stdout.splitlines()] or [0.0]
    if len(rows) != len(dialogues):
        raise RuntimeError(f"the sandbox answered {len(rows)} of {len(dialogues)}: {done.stderr[-500:]}")
    return [_merge(dialogue, row) for dialogue, row in zip(dialogues, rows, strict=True)], seconds


def _merge(dialogue: Dialogue, row: list[str | None]) -> list[str]:
    made_up = [step.told for turn in dialogue.turns for step in turn.steps]
    return [fixed if fixed is not None else ran or "" for fixed, ran in zip(made_up, row, strict=True)]


def _sandbox(jobs_path: str) -> list[str]:
    flags = "--unshare-all --die-with-parent --new-session --cap-drop ALL --uid 1000 --gid 1000 --hostname sandbox"
    binds = [
        *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib"),
        *("--symlink", "usr/lib64", "/lib64", "--ro-bind", "/etc/os-release", "/etc/os-release"),
        *("--ro-bind", "/etc/passwd", "/etc/passwd", "--ro-bind", "/etc/group", "/etc/group"),
        *("--ro-bind", "/etc/alternatives", "/etc/alternatives", "--ro-bind", "/etc/services", "/etc/services", "--ro-bind", "/etc/hosts", "/etc/hosts"),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/workspace", "--tmpfs", "/tmp", "--tmpfs", "/home"),
        *("--tmpfs", "/srv", "--tmpfs", "/data", "--tmpfs", "/opt", "--ro-bind", jobs_path, "/jobs"),
    ]  # fmt: skip
    python = "/usr/bin/python3" if sys.platform == "linux" else sys.executable
    return ["bwrap", *flags.split(), *binds, "--clearenv", python, "-I", "-c", RUNNER]
