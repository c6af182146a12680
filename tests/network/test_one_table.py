"""What an operation is stands in one table; no other file of the product lists kinds again."""

from __future__ import annotations

import ast
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import torch

import convsmith
from convsmith.network.families import FAMILIES, FAMILY_OF, Family, Trait
from convsmith.network.families import __path__ as FOLDER
from convsmith.rewrite.dilation.rule import RULES

ROOT = Path(convsmith.__file__).parent
TABLES = ("network/families/", "runtime/lowering/", "rewrite/dilation/", "tiling/crops/")
REQUIRED = [each.name for each in fields(Family) if each.default is each.default_factory is MISSING]
ENOUGH = 3

kinds = pytest.mark.parametrize("kind", FAMILIES)


def rules_of(family):
    return {name: getattr(family, name) for name in ("cost", "reads", "axes", "carry", "step")}


def test_a_family_has_to_answer_every_question():
    assert {"kind", "about", "names", "traits", "cost", "reads", "axes", "carry", "step"} == {
        *REQUIRED
    }
    answers = {name: getattr(FAMILIES["activation"], name) for name in REQUIRED}
    for name in REQUIRED:
        with pytest.raises(TypeError, match=name):
            Family(**{key: value for key, value in answers.items() if key != name})


@kinds
def test_every_answer_is_a_rule_or_left_out_by_intent(kind):
    family = FAMILIES[kind]
    assert family.kind == kind and family.about and isinstance(family.traits, Trait)
    for one in (family, *family.exceptions.values()):
        left_out = {name for name, rule in rules_of(one).items() if rule is None}
        allowed = {"unknown": {"cost", "reads"}, "index": {"reads"}, "recurrent": {"reads"}}
        assert left_out <= allowed.get(kind, set()), f"{kind} leaves out {left_out}"
        assert all(callable(rule) for rule in rules_of(one).values() if rule is not None)


@kinds
def test_exceptions_are_of_the_family_and_differ_from_it(kind):
    family = FAMILIES[kind]
    for name, one in family.exceptions.items():
        names = [each.partition(".")[0] for each in family.names.split()]
        assert name in names, f"{name} is not one of {kind}"
        same = rules_of(one) == rules_of(family) and one.traits == family.traits
        assert not same or one.title != family.title, f"{name} is no exception"


def test_no_name_and_no_kind_stands_twice():
    names = [name for family in FAMILIES.values() for name in family.names.split()]
    assert len(names) == len(set(names)) == len(FAMILY_OF)
    modules = [path.stem for path in Path(FOLDER[0]).glob("*.py")]
    of_files = [
        family.kind
        for stem in modules
        for family in getattr(
            __import__(f"convsmith.network.families.{stem}", fromlist=["x"]), "FAMILIES", ()
        )
        if stem != "__init__"
    ]
    assert sorted(of_files) == sorted(FAMILIES), "a file of families is not in the table"


def test_every_name_is_one_of_torch():
    bases = {name.split("::")[1].split(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    overloads = {name.split("::")[1] for name in torch._C._dispatch_get_all_op_names()}
    # `getitem` is Python's own: it picks one of several results.
    assert {name for name in FAMILY_OF if name not in bases | overloads} == {"getitem"}


@pytest.mark.parametrize("trait", Trait, ids=lambda trait: trait.name)
def test_every_trait_tells_families_apart_and_is_asked_for(trait):
    every = [one for f in FAMILIES.values() for one in (f, *f.exceptions.values())]
    assert 0 < sum(one.has(trait) for one in every) < len(every)
    asked = [
        path
        for path in ROOT.rglob("*.py")
        if "families" not in path.relative_to(ROOT).parts
        and f"Trait.{trait.name}" in path.read_text("utf-8")
    ]
    assert asked, f"nobody asks for {trait.name}"


def test_dilation_has_a_rule_for_every_kind():
    # Inputs, and results picked from several, are grids that are there already.
    assert set(RULES) == set(FAMILIES) - {"input", "select"}


def listed(tree):
    """Each literal of constants in a module, and each string that is split into words."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Set, ast.Tuple, ast.List)):
            yield node, node.elts
        elif isinstance(node, ast.Dict):
            yield node, [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Compare):
            yield node, [node.left, *node.comparators]


def second_lists(source):
    found = []
    for node, parts in listed(ast.parse(source)):
        words = {part.value for part in parts if isinstance(part, ast.Constant)}
        if len(words & FAMILIES.keys()) >= ENOUGH:
            found.append((node.lineno, sorted(words & FAMILIES.keys())))
    return found


def test_the_search_finds_second_lists():
    assert second_lists('_THROUGH = {"activation", "batch norm", "pad"}')
    assert second_lists('RULES = {"activation": 1, "batch norm": 2, "pad": 3}')
    assert second_lists('if kind in ("concat", "pool", "pad"): pass')
    assert not second_lists('if kind in ("concat", "pool"): pass')


def test_no_other_file_lists_kinds():
    found = {
        f"{path.relative_to(ROOT)}:{line}": words
        for path in ROOT.rglob("*.py")
        if not path.relative_to(ROOT).as_posix().startswith(TABLES)
        for line, words in second_lists(path.read_text("utf-8"))
    }
    assert not found, "ask for a trait, or add one to network/families/family.py"
