"""What is recorded has no secrets in it, and making it so takes no time worth speaking of."""

import time

import pytest

from lm_sandbox.audit.redaction import DEFAULTS, REDACTED, Redactor
from lm_sandbox.errors import Invalid

SECRET = "s3cr3tV4lue0123456789"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"


@pytest.mark.parametrize(
    "command",
    [
        f"curl https://me:{SECRET}@example.com/x",
        f"git clone https://oauth2:{SECRET}@gitlab.example/a.git",
        f"psql postgres://app:{SECRET}@db:5432/app",
        f"curl -H 'Authorization: Bearer {SECRET}' https://x",
        f"curl -H 'authorization: token {SECRET}'",
        f"curl -H 'X-Api-Key: {SECRET}' https://x",
        f"curl -u me:{SECRET} https://x",
        f"sshpass -p {SECRET} ssh host",
        f"export DB_PASSWORD={SECRET}; run",
        f"PGPASSWORD='{SECRET} more words' psql",
        f'export API_KEY="{SECRET}"',
        f"AWS_SECRET_ACCESS_KEY={SECRET} aws s3 ls",
        f"tool --password {SECRET} --verbose",
        f"tool --db-password={SECRET}",
        f"tool --auth-token {SECRET}",
        f'{{"client_secret": "{SECRET}", "name": "x"}}',
        f"https://x/y?a=1&access_token={SECRET}&b=2",
        f"tool --master-token-file-password {SECRET} x",
        f"TOKEN={'x' * 5000}{SECRET}",
        "echo AKIAIOSFODNN7EXAMPLE",
        "echo ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "echo github_pat_0123456789abcdefghij_ABCDEFG",
        "echo glpat-0123456789abcdefghij",
        "echo sk-proj-0123456789abcdefghij",
        "echo sk-ant-api03-0123456789abcdefghij",
        "echo hf_0123456789abcdefghijABCD",
        "echo xoxb-0123456789-abcdefghij",
        "echo AIzaSyA0123456789abcdefghijABCDEFGHIJ0",
        "echo lms_0123456789abcdefghijABCDEFGHIJ",
        f"echo {JWT}",
        f"cat <<X\n-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----\nX",
        f"echo '-----BEGIN PRIVATE KEY-----\n{SECRET}",
    ],
)
def test_a_secret_is_not_recorded(command: str) -> None:
    told = Redactor().text(command)
    assert REDACTED in told
    for secret in (SECRET, "AKIAIOS", "0123456789abcdefghij", "0123456789-abcdefghij", JWT.split(".")[1]):
        assert secret not in told, told


def test_what_stands_around_a_secret_is_kept() -> None:
    told = Redactor().text(f"curl -s https://me:{SECRET}@example.com/a && export TOKEN={SECRET}; ls -la")
    assert told == f"curl -s https://me:{REDACTED}@example.com/a && export TOKEN={REDACTED}; ls -la"


@pytest.mark.parametrize(
    "command",
    ["echo hello", "ls -la /workspace", "cat tokens.txt", "python -m secrets", "grep -rn password src | head",
     "curl https://example.com:8080/a@b", "make test", "git log --author me", "x == y", "pip install tokenizers"],
)  # fmt: skip
def test_what_is_no_secret_is_recorded_as_it_is(command: str) -> None:
    assert Redactor().text(command) == command


def test_a_list_is_looked_at_as_the_line_that_it_is() -> None:
    what = Redactor().all(
        {"text": ["tool", "--password", SECRET, "file"], "n": 3, "deep": {"a": [f"token={SECRET}"]}}
    )
    assert what == {
        "text": ["tool", "--password", REDACTED, "file"],
        "n": 3,
        "deep": {"a": [f"token={REDACTED}"]},
    }


def test_own_patterns_come_besides() -> None:
    redactor = Redactor((*DEFAULTS, r"(?P<keep>badge )\d+"))
    assert redactor.text("badge 1234") == f"badge {REDACTED}"
    with pytest.raises(Invalid, match="no regular expression"):
        Redactor(["("])


def test_a_long_text_is_cut_and_says_so() -> None:
    told = Redactor(max_chars=10).text("a" * 25)
    assert told == "a" * 10 + "[15 characters cut]"


@pytest.mark.parametrize(
    "piece",
    ["a", "A", "-", "--a", "a.", "://", "://a:", "token", "token=", "--token", "eyJ", "eyJaaaaaaaa.", "sk-", " -u a",
     "-----BEGIN PRIVATE KEY-----", "password ", "bearer ", "\n", '"', "a:", "gh", "AKIA", 'token" ', "-u  "],
)  # fmt: skip
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (128 * 1024 // len(piece))
    started = time.process_time()
    Redactor(max_chars=len(text)).text(text)
    taken = time.process_time() - started
    assert taken < 1.0, f"{piece!r}: {taken:.2f} s"
