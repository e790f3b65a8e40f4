"""Trains nano from nothing: records true outputs, learns the tokenizer, trains, exports.

usage: python -m nano.train [--steps N] [--out FILE]
"""

import argparse
import math
import os
import random
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, distributed, multiprocessing
from torch.nn import functional

from nano import tokenizer as tokens
from nano.dialogue import Dialogue, Writer, render
from nano.export import export
from nano.model import Nano, Shape
from nano.muon import Muon
from nano.paths import BUILD, PACKAGED
from nano.recording import record_timed
from nano.stream import IGNORED, Stream

DIALOGUES = 9_000
STEPS = 2200
WORKERS = 2  # each with one thread: two threads on one batch spend a third of their time waiting
BUDGET = 3072  # places in the batch of one worker
RATE = 3e-3
WARM_UP = 60
FLAT = 0.6

Recorded = list[tuple[Dialogue, list[str]]]


def main() -> None:
    """Does all of it and says what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--dialogues", type=int, default=DIALOGUES)
    parser.add_argument("--out", type=Path, default=PACKAGED)
    options = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    recorded, sandbox_s = prepare(options.dialogues)
    tokenizer = learn_tokenizer(recorded)
    shape = Shape(vocab=tokenizer.get_vocab_size())
    arguments = (shape, recorded, tokenizer, options.steps)
    others = [
        multiprocessing.get_context("fork").Process(target=work, args=(rank, *arguments))
        for rank in range(1, WORKERS)
    ]
    (BUILD / "meeting").unlink(missing_ok=True)
    for other in others:
        other.start()
    model = work(0, *arguments)
    for other in others:
        other.join()
    torch.save(model.state_dict(), BUILD / "nano.pt")
    export(model, shape, tokenizer, options.out)
    print(f"wrote {options.out.name}; CPU minutes: {(_spent() + sandbox_s) / 60:.1f}")


def prepare(count: int) -> tuple[Recorded, float]:
    """Draws the dialogues, with marks for names, and finds what their commands give, in so many CPU seconds."""
    started = time.time()
    writer = Writer(random.Random(1), marked=True)
    dialogues = [writer.dialogue() for _ in range(count)]
    results: list[list[str]] = []
    seconds = 0.0
    for start in range(0, count, 2000):
        part = dialogues[start : start + 2000]
        found, took = record_timed(part, str(BUILD / "jobs.jsonl"))
        results += found
        seconds += took
        print(f"recorded {start + len(part)} of {count} dialogues, {time.time() - started:.0f} s", flush=True)
    return list(zip(dialogues, results, strict=True)), seconds


def learn_tokenizer(recorded: Recorded) -> Tokenizer:
    """Learns the tokenizer on requests and answers with blanks for the names."""
    writer = Writer(random.Random(4))
    texts = []
    for dialogue, results in recorded[:20_000]:
        renewed, told = writer.renew(dialogue, results)
        blank = replace(renewed, fills=dict.fromkeys(renewed.fills, ""))
        texts.append("".join(text for text, learn in render(blank, told) if learn or "tool_resp" not in text))
    return tokens.train(texts, BUILD / "tokenizer.json")


def work(rank: int, shape: Shape, recorded: Recorded, tokenizer: Tokenizer, steps: int) -> Nano:
    """Trains on this worker's share; all workers end with the same weights."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    meeting = f"file://{BUILD / 'meeting'}"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=WORKERS)
    stream = Stream(recorded, tokenizer, budget=BUDGET, seed=10 + 2 * rank)
    model = Nano(shape)
    progress = Progress(steps, silent=rank > 0)
    progress.begin(model)
    for step, loss in enumerate(learn(model, stream, steps)):
        progress.show(step, loss)
        if rank == 0 and step % 500 == 499:
            torch.save(model.state_dict(), BUILD / "nano.pt")
    distributed.destroy_process_group()
    return model


def learn(model: Nano, stream: Stream, steps: int) -> Iterator[float]:
    """Takes so many steps and gives the loss of each; Muon for the matrices, AdamW for the rest."""
    matrices = [weight for weight in model.blk.parameters() if weight.dim() == 2]
    chosen = {id(weight) for weight in matrices}
    rest = [weight for weight in model.parameters() if id(weight) not in chosen]
    adam = torch.optim.AdamW(rest, lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
    muon = Muon(matrices, rank=distributed.get_rank(), workers=WORKERS)
    for step in range(steps):
        rate = RATE * min(1, (step + 1) / WARM_UP) * _decay(step / steps)
        adam.param_groups[0]["lr"] = rate
        inputs, targets = stream.batch()
        learnt = targets != IGNORED
        loss: Tensor = functional.cross_entropy(model(inputs, learnt), targets[learnt])
        model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        share(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        muon.step(rate)
        yield loss.item()


def share(model: Nano) -> None:
    """Gives every worker the mean of the gradients of all."""
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= WORKERS
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


class Progress:
    """Prints how far it is."""

    def __init__(self, steps: int, *, silent: bool) -> None:
        self._steps = steps
        self._silent = silent
        self._started = time.time()
        self._loss = 0.0

    def begin(self, model: Nano) -> None:
        size = sum(weight.numel() for weight in model.parameters()) / 1e6
        if not self._silent:
            print(f"{size:.2f} M parameters, {self._steps} steps", flush=True)

    def show(self, step: int, loss: float) -> None:
        self._loss = 0.98 * self._loss + 0.02 * loss if step else loss
        if self._silent or step % 100 != 99:
            return
        spent = time.time() - self._started
        left = spent / (step + 1) * (self._steps - step - 1)
        print(f"step {step + 1} loss {self._loss:.4f}, {spent:.0f} s, {left:.0f} s left", flush=True)


def _decay(done: float) -> float:
    """Flat until the last two fifths, then falling to nothing."""
    return min(1.0, 0.5 * (1 + math.cos(math.pi * max(0.0, (done - FLAT) / (1 - FLAT)))) + 0.005)


def _spent() -> float:
    """CPU seconds of this process and those it started."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


if __name__ == "__main__":
    main()
