"""Endless batches of dialogues, each time with other words and other names."""

import random
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from nano.dialogue import Dialogue, Writer, render

IGNORED = -100
LONGEST = 512
DRAWN_AT_ONCE = 512
# How often only the first command is learnt, the harder part of it, which makes a row half as long.
CALL_ALONE = 0.5

Recorded = Sequence[tuple[Dialogue, list[str]]]
Tokens = tuple[list[int], list[bool]]


class Stream:
    """Draws batches of dialogues of about the same length, each in a row of its own.

    Args:
        recorded: Dialogues with what their commands gave.
        tokenizer: Cuts them.
        budget: Places in one batch.
        seed: Of everything that is drawn.
    """

    def __init__(self, recorded: Recorded, tokenizer: Tokenizer, *, budget: int, seed: int) -> None:
        self._recorded = recorded
        self._tokenizer = tokenizer
        self._budget = budget
        self._rng = random.Random(seed)
        self._writer = Writer(random.Random(seed + 1))
        self._left: list[int] = []
        self._ready: list[list[Tokens]] = []

    def batch(self) -> tuple[Tensor, Tensor]:
        """Returns tokens and, for each place, the token to learn there or `IGNORED`."""
        while not self._ready:
            self._ready = self._draw()
        rows = self._ready.pop()
        longest = max(len(ids) for ids, _ in rows) - 1
        inputs = torch.zeros(len(rows), longest, dtype=torch.long)
        targets = torch.full((len(rows), longest), IGNORED)
        for row, (ids, learn) in enumerate(rows):
            wanted = [token if keep else IGNORED for token, keep in zip(ids[1:], learn[1:], strict=True)]
            inputs[row, : len(wanted)] = torch.tensor(ids[:-1])
            targets[row, : len(wanted)] = torch.tensor(wanted)
        return inputs, targets

    def _draw(self) -> list[list[Tokens]]:
        """Draws many dialogues and sorts them into batches, which come in any order."""
        rows = sorted((self._next() for _ in range(DRAWN_AT_ONCE)), key=lambda row: len(row[0]))
        batches: list[list[Tokens]] = [[]]
        for row in rows:
            if (len(batches[-1]) + 1) * len(row[0]) > self._budget:
                batches.append([])
            batches[-1].append(row)
        self._rng.shuffle(batches)
        return [batch for batch in batches if batch]

    def _next(self) -> Tokens:
        if not self._left:
            self._left = list(range(len(self._recorded)))
            self._rng.shuffle(self._left)
        dialogue, results = self._recorded[self._left.pop()]
        pieces = render(*self._writer.renew(dialogue, results))
        if self._rng.random() < CALL_ALONE:
            pieces = _up_to_call(pieces)
        ids: list[int] = []
        learn: list[bool] = []
        texts = [text for text, _ in pieces]
        cut = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        for encoded, (_, keep) in zip(cut, pieces, strict=True):
            ids += encoded.ids
            learn += [keep] * len(encoded.ids)
        return ids[:LONGEST], learn[:LONGEST]


def _up_to_call(pieces: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Cuts a conversation after its first command, if there is one."""
    for number, (text, learn) in enumerate(pieces):
        if learn and text.startswith("<tool_call>"):
            return pieces[: number + 1]
    return pieces
