"""The benchmark of tiles: parts by name, tables of what was measured, goals that were missed."""

import pytest

from benchmarks import tile
from benchmarks.__main__ import main
from benchmarks.segmenter import photograph, stored_image
from benchmarks.tile_tables import tables


def large(how, side, seconds, peak):
    return {
        "how": how, "side": side, "pixels": side**2, "seconds": seconds, "call": seconds / 2,
        "peak": peak, "tile": (side, side),
    }  # fmt: skip


def test_an_unknown_part_is_an_error(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["tile", "--only", "colours"])
    assert raised.value.code == 2
    assert "invalid choice: 'colours'" in capsys.readouterr().err


def test_goals_of_large_images():
    good = [large("tiled", 2000, 1.0, 5e8), large("tiled", 20000, 100.0, 5.2e8)]
    assert not tile._missed_large(good)
    assert len(tile._missed_large([good[0], large("tiled", 20000, 100.0, 1.6e9)])) == 2
    bent = [*good, large("tiled", 40000, 1000.0, 5e8)]
    assert "a further pixel" in tile._missed_large(bent)[0]


def test_tiles_are_held_to_the_network_on_the_whole_image():
    rows = [large("tiled", 20000, 100.0, 5e8), large("whole", 8192, 40.0, 7e9)]
    assert not tile._across({"large": rows})
    rows[1] = large("whole", 8192, 20.0, 7e9)
    assert "0.60 of the rate" in tile._across({"large": rows})[0]


def test_tables_show_what_was_measured():
    assert not tables({})
    shown = tables({"large": [large("tiled", 2000, 1.0, 5e8)], "windows": None})
    assert [len(table.rows) for table in shown] == [1, 1]


def test_a_stored_image_is_the_photograph(tmp_path):
    zarr = pytest.importorskip("zarr")
    pytest.importorskip("skimage")
    path = stored_image(tmp_path, 700)
    assert stored_image(tmp_path, 700) == path
    assert (zarr.open(str(path), mode="r")[:] == photograph(700)).all()
