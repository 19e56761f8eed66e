"""What a folder says of its weights never stands beside other weights."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from small_policies import small_state_policy

from policytrim_gym.policies.checkpoint_facts import CheckpointFacts, load_facts
from policytrim_gym.policies.model_card import write_facts


def state_policy(seed):
    return small_state_policy(seed=seed)


def tiny_vla(seed):
    pytest.importorskip("transformers")
    from small_tiny_vla import small_tiny_vla

    return small_tiny_vla("gaussian", seed=seed)


@pytest.fixture(params=[state_policy, tiny_vla])
def make(request):
    return request.param


def test_new_weights_take_along_what_was_said_of_the_old_ones(make, tmp_path):
    make(1).save_pretrained(str(tmp_path))
    write_facts(tmp_path, CheckpointFacts(2, evidence={"finished": True}))
    assert (tmp_path / "README.md").is_file()
    make(2).save_pretrained(str(tmp_path))
    assert load_facts(tmp_path) is None and not (tmp_path / "README.md").exists()


def test_the_same_weights_keep_it(make, tmp_path):
    make(1).save_pretrained(str(tmp_path))
    facts = CheckpointFacts(2, evidence={"finished": True})
    write_facts(tmp_path, facts)
    make(1).save_pretrained(str(tmp_path))
    assert load_facts(tmp_path) == facts and (tmp_path / "README.md").is_file()


def test_facts_whose_weights_are_gone_are_not_those_of_new_ones(make, tmp_path):
    write_facts(tmp_path, CheckpointFacts(2))
    make(1).save_pretrained(str(tmp_path))
    assert load_facts(tmp_path) is None


def test_a_page_of_the_user_stays(make, tmp_path):
    make(1).save_pretrained(str(tmp_path))
    (tmp_path / "README.md").write_text("# My robot\n")
    make(2).save_pretrained(str(tmp_path))
    assert (tmp_path / "README.md").read_text() == "# My robot\n"
