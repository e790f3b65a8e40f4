"""What is wrong with a request itself."""


class Refused(Exception):
    """The request makes no sense; the text says why, for people.

    Attributes:
        field: What is wrong.
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field
