"""How many connections may be open at once, over all sandboxes together."""

import resource

# Each may need two descriptors, and the server has other uses for most of them.
SHARE = 6
LEAST = 64


class Budget:
    """Counts what is open.

    Args:
        most: How much may be.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    @classmethod
    def of_this_process(cls) -> "Budget":
        """A budget that leaves most descriptors of this process to its other work."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return cls(max(LEAST, soft // SHARE))

    def take(self) -> bool:
        """Takes one, and tells whether there was one left."""
        if self._left <= 0:
            return False
        self._left -= 1
        return True

    def give(self) -> None:
        """Gives one back."""
        self._left += 1
