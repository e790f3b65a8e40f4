"""One llama.cpp server in a process of its own, so that its crash is never ours.

Run as a file, not as a module: it imports nothing of lm-sandbox and starts in a few milliseconds.
Standard input brings the job as one line of JSON and, by its end, the order to stop; standard output
answers with one line, `{"address": ...}` or `{"error": ...}`.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any

Json = dict[str, Any]
Foreign = Any
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
LARGEST_BATCH = 8192
LONGEST_LOG = 1024 * 1024
LONGEST_REASON = 300


def main() -> None:
    """Loads the model and serves it until standard input ends."""
    _die_with_parent()
    job = json.loads(sys.stdin.buffer.readline())
    answers = os.fdopen(os.dup(1), "w")
    log = os.memfd_create("log")
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        server = _serve(job)
    except Exception:  # noqa: BLE001 - whatever llama.cpp raises, the parent has to hear of it
        print(json.dumps({"error": _reason(log, job)}), file=answers, flush=True)
        os._exit(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(log)
    print(json.dumps({"address": server.listening_address}), file=answers, flush=True)
    while sys.stdin.buffer.read(4096):
        continue
    # Leaving without unwinding: the memory goes with the process, and nothing here holds state.
    os._exit(0)


def _reason(log: int, job: Json) -> str:
    """Finds in the log what went wrong first, without where files are."""
    size = os.lseek(log, 0, os.SEEK_END)
    text = os.pread(log, LONGEST_LOG, max(0, size - LONGEST_LOG)).decode(errors="replace")
    for line in text.splitlines():
        if "error" in line.lower() or "fail" in line.lower() or "does not" in line:
            said = line.partition(": ")[2] or line
            for path in (job["path"], job["mmproj"], job["draft"], *job["lora"]):
                said = said.replace(path, "the file") if path else said
            return said.strip()[:LONGEST_REASON]
    return ""


def _die_with_parent() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _serve(job: Json) -> Foreign:
    import xllamacpp  # noqa: PLC0415 - after the process is set up

    params = xllamacpp.CommonParams()
    params.model.path = job["path"]
    params.model_alias = {job["alias"]}
    params.n_ctx = job["context"]
    params.n_parallel = job["parallel"]
    params.n_predict = job["answer_tokens"]
    # Spinning threads starve everything else on a host that is not idle.
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = job["threads"]
        threads.poll = 0
    params.cache_ram_mib = job["prompt_cache_mib"]
    params.cache_type_k = params.cache_type_v = _kv_type(xllamacpp, job["kv_type"])
    params.api_keys = [job["api_key"]]
    params.use_jinja = True
    params.ui = False
    _place(params, job)
    _furnish(xllamacpp, params, job)
    return xllamacpp.Server(params)


def _place(params: Foreign, job: Json) -> None:
    params.n_gpu_layers = job["gpu_layers"]
    # What has been planned is not to be fitted again.
    params.fit_params = job["gpus"] is None
    if job["tensor_split"]:
        split = job["tensor_split"]
        params.tensor_split = [float(n) for n in split] + [0.0] * (len(params.tensor_split) - len(split))


def _furnish(xllamacpp: Foreign, params: Foreign, job: Json) -> None:
    if job["purpose"] != "chat":
        params.embedding = True
        # An input is embedded in one batch, so a batch has to take a whole one.
        params.n_batch = params.n_ubatch = min(LARGEST_BATCH, job["context"] // job["parallel"])
    if job["purpose"] == "rerank":
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    elif job["purpose"] == "embedding" and not job["pooling"]:
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    if job["lora"]:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path) for path in job["lora"]]
    if job["mmproj"]:
        params.mmproj.path = job["mmproj"]
    if job["draft"]:
        params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
        params.speculative.draft.mparams.path = job["draft"]
        params.speculative.draft.n_gpu_layers = job["gpu_layers"]


def _kv_type(xllamacpp: Foreign, name: str) -> Foreign:
    return getattr(xllamacpp.ggml_type, f"GGML_TYPE_{name.upper()}")


if __name__ == "__main__":
    main()
