"""The system call policy in the form that the engine takes. Source: Docker's seccomp profile format."""

import json

from lm_sandbox.sandboxes.inside.syscalls import Comparison, Condition, refusals


def seccomp_profile() -> str:
    """Returns the profile as JSON; a runtime ignores names that its kernel does not know."""
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {
                    "names": [refusal.call],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": refusal.error,
                    "args": [_argument(condition) for condition in refusal.conditions],
                }
                for refusal in refusals()
            ],
        }
    )


def _argument(condition: Condition) -> dict[str, int | str]:
    masked = condition.comparison is Comparison.MASKED_EQUAL
    return {
        "index": condition.argument,
        "op": condition.comparison.value,
        "value": condition.mask if masked else condition.value,
        "valueTwo": condition.value if masked else 0,
    }
