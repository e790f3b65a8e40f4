"""A small Llama: RMS norm, rotary positions, SwiGLU, tied embeddings."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of the model.

    Attributes:
        vocab: Tokens.
        width: Of the residual stream.
        layers: Blocks.
        heads: Of the attention.
        hidden: Of the feed-forward part.
        context: Positions it is said to take.
    """

    vocab: int
    width: int = 160
    layers: int = 4
    heads: int = 4
    hidden: int = 448
    context: int = 4096


class Norm(nn.Module):
    """RMS norm with a learnt scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weight, 1e-5)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns neighbouring pairs, as llama.cpp does for the `llama` architecture."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention by plain matrix products: faster on a CPU at this size than the fused one."""
    length, size = q.shape[-2:]
    scores = (q * size**-0.5) @ k.transpose(-1, -2)
    future = torch.full((length, length), -torch.inf, dtype=scores.dtype).triu(1)
    weights = torch.softmax(scores + future, -1, dtype=scores.dtype)
    mixed: Tensor = weights @ v
    return mixed


class Block(nn.Module):
    """Attention and feed-forward, each on top of the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, hidden = shape.width, shape.hidden
        self.heads = shape.heads
        self.attn_norm, self.ffn_norm = Norm(width), Norm(width)
        self.attn_q, self.attn_k, self.attn_v, self.attn_output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        self.ffn_gate = nn.Linear(width, hidden, bias=False)
        self.ffn_up = nn.Linear(width, hidden, bias=False)
        self.ffn_down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, places: Tensor | None = None) -> Tensor:
        """Works on all places; what follows the attention only on some, as a flat list, where they are given."""
        batch, length, width = x.shape
        h = self.attn_norm(x)
        q, k, v = (
            part(h).view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in (self.attn_q, self.attn_k, self.attn_v)
        )
        mixed = attend(rotate(q, cos, sin), rotate(k, cos, sin), v)
        mixed = mixed.transpose(1, 2).reshape(batch, length, width)
        if places is not None:
            x, mixed = x[places], mixed[places]
        x = x + self.attn_output(mixed)
        h = self.ffn_norm(x)
        out: Tensor = x + self.ffn_down(functional.silu(self.ffn_gate(h)) * self.ffn_up(h))
        return out


class Nano(nn.Module):
    """The whole model; gives the logits of the next token at the places that are asked for."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.token_embd = nn.Embedding(shape.vocab, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = Norm(shape.width)
        for weight in self.parameters():
            if weight.dim() > 1:
                small = weight.shape[0] == shape.vocab
                nn.init.normal_(weight, 0, 0.02 if small else weight.shape[1] ** -0.5 * 0.7)
        size = shape.width // shape.heads
        rates = 1e4 ** (-torch.arange(0, size, 2) / size)
        angles = torch.outer(torch.arange(shape.context), rates)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens: Tensor, places: Tensor) -> Tensor:
        length = tokens.shape[1]
        x = self.token_embd(tokens)
        last = len(self.blk) - 1
        for number, block in enumerate(self.blk):
            x = block(x, self.cos[:length], self.sin[:length], places if number == last else None)
        return functional.linear(self.output_norm(x), self.token_embd.weight)
