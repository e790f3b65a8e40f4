"""One llama.cpp server in a process of its own, so that its crash is never ours.

Run as a file, not as a module: it imports nothing of lm-sandbox and starts in a few milliseconds.
Standard input brings the job as one line of JSON and, by its end, the order to stop; standard output
answers with one line, `{"address": ...}` or `{"error": ...}`; the log goes to standard error.
"""

import ctypes
import json
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4


def main() -> None:
    """Loads the model and serves it until standard input ends."""
    _die_with_parent()
    job = json.loads(sys.stdin.buffer.readline())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        server = _serve(job)
    except Exception as error:  # noqa: BLE001 - whatever llama.cpp raises, the parent has to hear of it
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
        os._exit(1)
    print(json.dumps({"address": server.listening_address}), file=answers, flush=True)
    while sys.stdin.buffer.read(4096):
        continue
    # Leaving without unwinding: the memory goes with the process, and nothing here holds state.
    os._exit(0)


def _die_with_parent() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _serve(job: dict[str, object]):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a foreign type
    import xllamacpp  # noqa: PLC0415 - after the process is set up

    params = xllamacpp.CommonParams()
    params.model.path = job["path"]
    params.model_alias = {job["alias"]}
    params.n_ctx = job["context"]
    params.n_parallel = job["parallel"]
    params.n_gpu_layers = job["gpu_layers"]
    params.cpuparams.n_threads = job["threads"]
    params.cpuparams_batch.n_threads = job["threads"]
    # Spinning threads starve everything else on a host that is not idle.
    params.cpuparams.poll = 0
    params.cpuparams_batch.poll = 0
    params.api_keys = [job["api_key"]]
    params.use_jinja = True
    params.ui = False
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
