import subprocess

from lm_sandbox.storage.serving_process import is_running, this_server


def test_this_process_runs_and_others_of_its_number_do_not() -> None:
    own = this_server()
    pid, _, started = own.partition("-")
    assert is_running(own)
    assert not is_running(f"{pid}-{int(started) + 1}")
    assert not any(map(is_running, ("", "x-1", "-5", "999999999-1")))


def test_a_process_that_was_killed_runs_no_more_even_before_its_parent_knows() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        told = subprocess.run(["cat", f"/proc/{child.pid}/stat"], capture_output=True, check=True).stdout
        name = f"{child.pid}-{told.rsplit(b')', 1)[1].split()[19].decode()}"
        assert is_running(name)
        child.kill()
        while is_running(name):
            pass
