import pytest

from lm_sandbox.models.passing_tokens import PassingTokens


@pytest.mark.parametrize(
    ("pieces", "tokens"),
    [
        ([b'{"usage": {"prompt_tokens": 3, "total_tok', b'ens": 12}}'], 12),
        ([b'data: {"x": 1}\n\n', b'data: {"usage": {"total_tokens":7}}\n\ndata: [DONE]\n\n'], 7),
        ([b'{"done":true,"prompt_eval_count":5,"eval_count":6}\n'], 11),
        # Without a word of the engine: a quarter of what was sent, and one for each event.
        ([b'data: {"a": 1}\n\ndata: {"b": 2}\n\ndata: [DONE]\n\n'], 10 + 2),
        ([b"x" * 80], 10 + 20),
        # What the model writes is escaped, so that it cannot tell a number of its own.
        (
            [
                b'{"content": "\\"total_tokens\\": 0", "usage": {"total_tokens": 9}, "x": "\\"total_tokens\\": 1"}'
            ],
            9,
        ),
    ],
)
def test_tokens_are_those_that_the_engine_tells_else_estimated(pieces: list[bytes], tokens: int) -> None:
    passing = PassingTokens(asked_bytes=40)
    for piece in pieces:
        passing.see(piece)
    assert passing.count() == tokens
