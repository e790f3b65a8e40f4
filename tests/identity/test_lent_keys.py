import pytest

from lm_sandbox.errors import Forbidden
from lm_sandbox.identity.lent_keys import LentKeys
from lm_sandbox.identity.principals import Principal, Scope

MODELS = frozenset({Scope.MODELS})


def test_a_lent_key_acts_for_its_owner_until_it_is_taken_back() -> None:
    keys = LentKeys()
    token = keys.lend(Principal("root", "Root", frozenset({Scope.ADMIN})), "anna", "sandbox sb_1", MODELS)
    assert keys.find(token) == Principal("anna", "sandbox sb_1", MODELS)
    assert keys.find(token + "x") is None
    keys.take_back(token)
    keys.take_back(token)
    assert keys.find(token) is None


def test_nobody_lends_what_they_do_not_have() -> None:
    with pytest.raises(Forbidden):
        LentKeys().lend(Principal("anna", "Anna", frozenset({Scope.SANDBOXES})), "anna", "x", MODELS)
