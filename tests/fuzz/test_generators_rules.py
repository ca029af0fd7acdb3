"""Generator `near`: every rule has two sides, and the verifier sees the border where the rule says it is."""

import random

import pytest

from bpf.verified import Rejected
from emu.fuzz.generators import make
from emu.fuzz.generators.draw import Draw
from emu.fuzz.generators.near import assembled
from emu.fuzz.generators.rules import MAKERS, Recipe
from verifier import verify

_DRAWN = 4
# A struct bpf_map may be read, as the kernel has it.
_LEAKY = {"pointer-kind"}


def _recipes(name: str, inside: bool) -> list[Recipe]:
    maker = dict(MAKERS)[name]
    made = (maker(Draw(random.Random(f"{name} {inside} {number}")), inside) for number in range(_DRAWN))
    return list(dict.fromkeys(made))


def _accepted(recipe: Recipe) -> bool:
    return not isinstance(verify(assembled(recipe), log_level=0, insn_limit=20_000), Rejected)


def test_there_are_many_rules_and_each_has_its_name() -> None:
    names = [name for name, _ in MAKERS]
    assert len(set(names)) == len(names) >= 100


@pytest.mark.parametrize("name", [name for name, _ in MAKERS])
def test_both_sides(name: str) -> None:
    for recipe in _recipes(name, True):
        assert _accepted(recipe), recipe.main
    outside = [_accepted(recipe) for recipe in _recipes(name, False)]
    assert not any(outside) if name not in _LEAKY else not all(outside)


def test_what_is_put_in_front_does_not_change_the_side() -> None:
    wrong = 0
    for number in range(150):
        sample = make("near", 4, number)
        (tag,) = sample.tags
        verdict = verify(sample.request.program, log_level=0, insn_limit=20_000)
        wrong += isinstance(verdict, Rejected) == tag.endswith("/inside")
    assert wrong <= 3


def test_a_program_for_tail_calls_brings_its_target() -> None:
    samples = (make("near", 4, number) for number in range(2000))
    found = next(sample for sample in samples if sample.others)
    assert set(found.others) == {"target"}
    assert [name for spec in found.request.program.maps for _, name in spec.progs] == ["target"]


def test_the_map_begins_with_what_a_recipe_asks_for() -> None:
    made = (make("near", 4, number) for number in range(400))
    sample = next(one for one in made if one.tags == ("rule:value-index-below/outside",))
    words = {(low & (1 << 64) - 1).to_bytes(8, "little") for low in (*range(-17, 0), 0, 3, 7, 31)}
    assert sample.request.program.maps[0].elems[0][1][:8] in words
