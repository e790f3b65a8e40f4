"""Muon: steps for matrices along the nearest orthogonal one to their momentum, the work shared by all workers.

After Jordan and others, "Muon: an optimizer for hidden layers" (2024). PyTorch has it too, but works in
bfloat16, which is fifty times slower on a processor that has no instructions for it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, distributed

MOMENTUM = 0.95
DECAY = 0.05
ROUNDS = 5


class Muon:
    """Updates matrices; every worker works out its share of them and all get the sum.

    Args:
        weights: The matrices.
        rank: Of this worker.
        workers: How many there are.
    """

    def __init__(self, weights: Sequence[Tensor], *, rank: int, workers: int) -> None:
        self._weights = weights
        self._mine = [number % workers == rank for number in range(len(weights))]
        self._momenta = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Takes one step with the gradients that stand at the matrices."""
        changes = [
            self._change(weight, momentum) if mine else torch.zeros_like(weight)
            for weight, momentum, mine in zip(self._weights, self._momenta, self._mine, strict=True)
        ]
        flat = torch.cat([change.flatten() for change in changes])
        distributed.all_reduce(flat)
        start = 0
        for weight in self._weights:
            change = flat[start : start + weight.numel()].view_as(weight)
            weight.mul_(1 - rate * DECAY).sub_(change, alpha=rate)
            start += weight.numel()

    def _change(self, weight: Tensor, momentum: Tensor) -> Tensor:
        gradient = weight.grad
        if gradient is None:
            return torch.zeros_like(weight)
        momentum.lerp_(gradient, 1 - MOMENTUM)
        ahead = gradient.lerp(momentum, MOMENTUM)
        # As large a step as AdamW would take, so that one rate serves both.
        return orthogonal(ahead) * (0.2 * max(weight.shape) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Returns nearly the orthogonal matrix nearest to a matrix, by Newton-Schulz rounds."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if tall else x
