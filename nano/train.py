"""Trains nano from nothing: records true outputs, learns the tokenizer, trains, exports.

usage: python -m nano.train [--steps N] [--out FILE]
"""

import argparse
import math
import random
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from nano import tokenizer as tokens
from nano.dialogue import Dialogue, Writer, rename, render
from nano.export import export
from nano.model import Nano, Shape
from nano.paths import BUILD, PACKAGED
from nano.recording import record

DIALOGUES = 24_000
LENGTH = 192
BATCH = 40
RATE = 4e-3
WARM_UP = 100
IGNORED = -100

Recorded = list[tuple[Dialogue, list[str]]]


def main() -> None:
    """Does all of it and says what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2700)
    parser.add_argument("--dialogues", type=int, default=DIALOGUES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=PACKAGED)
    options = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    recorded = prepare(options.dialogues)
    tokenizer = learn_tokenizer(recorded)
    shape = Shape(vocab=tokenizer.get_vocab_size())
    model = train(Nano(shape), Stream(recorded, tokenizer), options.steps)
    torch.save(model.state_dict(), BUILD / "nano.pt")
    export(model, shape, tokenizer, options.out)
    print(f"wrote {options.out.name}; CPU minutes: {time.process_time() / 60:.1f}")


def prepare(count: int) -> Recorded:
    """Draws the dialogues and finds what their commands give."""
    started = time.time()
    writer = Writer(random.Random(1))
    dialogues = [writer.dialogue() for _ in range(count)]
    results: list[list[str]] = []
    for start in range(0, count, 2000):
        part = dialogues[start : start + 2000]
        results += record(part, str(BUILD / "jobs.jsonl"))
        print(f"recorded {start + len(part)} of {count} dialogues, {time.time() - started:.0f} s", flush=True)
    return list(zip(dialogues, results, strict=True))


def learn_tokenizer(recorded: Recorded) -> Tokenizer:
    """Learns the tokenizer on a part of the dialogues."""
    texts = ["".join(text for text, _ in render(d, r)) for d, r in recorded[:20_000]]
    return tokens.train(texts, BUILD / "tokenizer.json")


class Stream:
    """Endless batches; each pass words the requests anew."""

    def __init__(self, recorded: Recorded, tokenizer: Tokenizer) -> None:
        self._recorded = recorded
        self._tokenizer = tokenizer
        self._rng = random.Random(2)
        self._writer = Writer(random.Random(3))
        self._left: list[int] = []

    def batch(self) -> tuple[Tensor, Tensor]:
        """Returns tokens and, for each place, the token to learn there or `IGNORED`."""
        inputs = torch.zeros(BATCH, LENGTH, dtype=torch.long)
        targets = torch.full((BATCH, LENGTH), IGNORED)
        for row in range(BATCH):
            place = 0
            while place < LENGTH - 50:
                ids, learn = self._next()
                ids, learn = ids[: LENGTH + 1 - place], learn[: LENGTH + 1 - place]
                size = len(ids) - 1
                inputs[row, place : place + size] = torch.tensor(ids[:-1])
                wanted = [i if keep else IGNORED for i, keep in zip(ids[1:], learn[1:], strict=True)]
                targets[row, place : place + size] = torch.tensor(wanted)
                place += size
        return inputs, targets

    def _next(self) -> tuple[list[int], list[bool]]:
        if not self._left:
            self._left = list(range(len(self._recorded)))
            self._rng.shuffle(self._left)
        dialogue, results = self._recorded[self._left.pop()]
        pieces = render(self._writer.reword(dialogue), results)
        pieces = rename(dialogue, pieces, self._writer.names)
        ids: list[int] = []
        learn: list[bool] = []
        for encoded, (_, keep) in zip(
            self._tokenizer.encode_batch([text for text, _ in pieces], add_special_tokens=False),
            pieces,
            strict=True,
        ):
            ids += encoded.ids
            learn += [keep] * len(encoded.ids)
        return ids, learn


def train(model: Nano, stream: Stream, steps: int) -> Nano:
    """Trains for so many steps; Muon for the matrices, AdamW for the rest."""
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {steps} steps")
    matrices = [p for p in model.blk.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if all(p is not matrix for matrix in matrices)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    started = time.time()
    shown = 0.0
    for step in range(steps):
        rate = RATE * min(1, (step + 1) / WARM_UP) * _decay(step / steps)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = rate
        inputs, targets = stream.batch()
        learnt = targets != IGNORED
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(inputs, learnt)
        loss = functional.cross_entropy(logits.float(), targets[learnt])
        model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        shown = 0.98 * shown + 0.02 * loss.item() if step else loss.item()
        if step % 100 == 99:
            spent = time.time() - started
            left = spent / (step + 1) * (steps - step - 1)
            print(
                f"step {step + 1} loss {shown:.4f} rate {rate:.5f}, {spent:.0f} s, {left:.0f} s left",
                flush=True,
            )
        if step % 500 == 499:
            torch.save(model.state_dict(), BUILD / "nano.pt")
    return model


def _decay(done: float) -> float:
    """Flat for the first third, then falling to nothing."""
    return min(1.0, 0.5 * (1 + math.cos(math.pi * max(0.0, (done - 0.2) / 0.8))) + 0.01)


if __name__ == "__main__":
    main()
