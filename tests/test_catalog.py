"""The catalog: every entry is there, and a wrong name is answered with the right one."""

from __future__ import annotations

import inspect

import pytest

from mri_recon import catalog
from mri_recon.catalog import LEARNED_METHODS, MASKS, METHODS, known_setting, look_up, ready_methods
from mri_recon.errors import MriReconError, SettingsError, WeightsError, suggestion

TABLES = {
    name: table
    for name, table in vars(catalog).items()
    if isinstance(table, dict) and table and all(isinstance(e, catalog.Entry) for e in table.values())
}


@pytest.mark.parametrize(
    ("table", "name"), [(table, name) for table, entries in TABLES.items() for name in entries]
)
def test_every_entry_is_a_class_of_its_own_with_a_summary(table, name):
    entry = TABLES[table][name]
    thing = entry.load()
    assert inspect.isclass(thing)
    assert not inspect.isabstract(thing)
    assert look_up("thing", TABLES[table], name) is thing
    assert entry.summary
    assert "\n" not in entry.summary


def test_masks_know_their_own_names():
    assert {name: entry.load().name for name, entry in MASKS.items()} == {name: name for name in MASKS}


def test_learned_methods_say_so():
    assert {name for name, entry in METHODS.items() if entry.load().learned} == LEARNED_METHODS


def test_a_wrong_name_is_an_error_with_the_right_one():
    with pytest.raises(SettingsError, match=r"There is no mask 'randm'\. Did you mean 'random'\?"):
        look_up("mask", MASKS, "randm")
    with pytest.raises(MriReconError, match=r"There is no method 'xyz'\. Known: .*cs.*zero-filled"):
        look_up("method", METHODS, "xyz")


def test_suggestions():
    assert suggestion("tv_wieght", ["rho", "tv_weight"]) == "Did you mean 'tv_weight'?"
    assert suggestion("x", (name for name in ("b", "a"))) == "Known: a, b."


@pytest.mark.parametrize(
    ("key", "known", "words"),
    [
        ("tv_wieght", ["rho", "tv_weight"], "Did you mean 'tv_weight'?"),
        ("tv_weight", ["weights"], "It is a setting of cs. Known: weights."),
        ("combination", ["rho"], "It is a setting of unet and varnet. Known: rho."),
        ("trust", ["weights"], "`mri-recon train --set network.KEY=VALUE` makes others. Known: weights."),
        ("network", ["weights"], "`mri-recon train --set network.KEY=VALUE` makes others. Known: weights."),
        ("nonsense", ["b", "a"], "Known: a, b."),
    ],
)
def test_a_setting_that_is_another_s_is_said_to_be(key, known, words):
    assert known_setting(key, known).endswith(words)


def test_ready_methods_have_what_they_need():
    """What the demo runs without being asked: everything classical, and networks whose weights are there."""
    from mri_recon.checkpoint import shipped_weights

    ready = ready_methods()
    assert set(METHODS) - LEARNED_METHODS <= set(ready)
    for name in LEARNED_METHODS & set(ready):
        assert shipped_weights(name).is_file()
    for name in LEARNED_METHODS - set(ready):
        with pytest.raises(WeightsError, match=name):
            shipped_weights(name)
