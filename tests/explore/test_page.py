"""What stands between state and page: the session, the controls, the server, the command line."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given

from convsmith.cli.main import main
from convsmith.errors import ArgumentError
from convsmith.explore import controls, serve, walk
from convsmith.explore.examples import LAYERS
from convsmith.explore.session import Session
from convsmith.explore.stack import stack_of
from convsmith.explore.state import LayerState
from convsmith.text import read_shape
from tests.explore.states import states

mo = pytest.importorskip("marimo")


class Query(dict):
    def to_dict(self):
        return dict(self)

    def set(self, key, value):
        self[key] = value

    def remove(self, key):
        del self[key]


def test_a_session_is_its_address():
    session = Session(Query())
    assert session.to_query() == {} and session.layer == LayerState()
    session.layer, session.language = LAYERS["dilated depthwise"], "zh"
    session.view, session.stack = "stack", stack_of("3-3d2-3d5")
    session.model, session.shape, session.step = "timm:resnet18", "1,3,64,64", 7
    session.predict = True
    session.write()
    again = Session(Query(session.to_query()))
    for name in ("layer", "language", "view", "stack", "model", "shape", "step", "predict"):
        assert getattr(again, name) == getattr(session, name)
    assert not again.complaints


def test_a_session_writes_what_changed_and_takes_out_what_is_usual():
    query = Query(kernel="5", lang="zh", other="kept?")
    session = Session(query)
    session.layer = LayerState(stride=(2, 2))
    session.language = "en"
    session.write()
    assert query == {"stride": "2"}


def test_a_session_says_what_its_address_cannot_mean():
    session = Session(Query(stack="3-x", view="?", lang="fr", step="x", kernel="0"))
    assert len(session.complaints) == 2 and session.language == "en" and session.view == "layer"
    assert session.stack == stack_of("3d2-3d2-3d2") and session.step == 0


@given(states())
def test_controls_read_back_what_they_were_made_from(state):
    for language in ("en", "zh"):
        form = controls.form_of(mo, state, language).value
        fields = controls.fields_of(mo, state, form, language).value
        assert controls.kind_of(mo, state, language).value == state.kind
        assert controls.read_fields(state, form, fields) == state


def test_another_kind_of_layer_drops_what_it_has_no_control_for():
    state = LayerState(padding="same", padding_mode="reflect", dilation=(2, 2), groups=1)
    pool = controls.of_kind(state, "average")
    assert pool.padding == ((0, 0), (0, 0)) and pool.padding_mode == "zeros"
    assert pool.dilation == (1, 1)
    assert controls.of_kind(state, "conv") == state


def test_a_stack_is_read_back_from_its_rows():
    stack = stack_of("3d2-p2-t3s2-5s2")
    assert controls.read_stack(controls.stack_rows(mo, stack, "zh").value) == stack


def answered(headers, path="/", kind="http"):
    """What the guard answers, or 'passed on'."""
    sent = []

    async def inner(scope, receive, send):
        sent.append("passed on")

    async def send(message):
        sent.append(message.get("status") or message.get("code"))

    scope = {
        "type": kind,
        "path": path,
        "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }
    # In a thread of its own: a browser that another test has open keeps a loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, serve._Local(inner, None)(scope, None, send)).result()
    return sent[0]


def test_only_pages_of_this_machine_are_answered():
    ours = "127.0.0.1:2718"
    assert answered({"host": ours}) == "passed on"
    assert answered({"host": "localhost:2718"}) == "passed on"
    assert answered({"host": ours, "origin": f"http://{ours}"}, kind="websocket") == "passed on"
    assert answered({"host": "evil.example"}) == 403
    assert answered({"host": "127.0.0.1.evil.example:2718"}) == 403
    assert answered({}) == 403
    assert answered({"host": ours, "origin": "http://evil.example"}) == 403
    assert answered({"host": ours, "origin": "http://evil.example"}, kind="websocket") == 1008
    assert answered({"host": ours, "origin": "null"}, kind="websocket") == 1008


def test_a_port_that_is_taken_is_said(capsys):
    with socket.socket() as taken:
        taken.bind((serve.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ArgumentError, match=f"port {port} is in use"):
            serve.free_port(port)
        assert main(["explore", "--no-browser", "--port", str(port)]) == 2
        assert f"port {port} is in use" in capsys.readouterr().err
    for number in (10**6, 65_536, 0, -1):
        with pytest.raises(ArgumentError, match=f"port must be 1–65535, not {number}"):
            serve.free_port(number)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explore", "--kernel", "0"], "kernel=0"),
        (["explore", "--stack", "3-x"], "'x' is not a layer"),
        (["explore", "--input", "1,3,8,8"], "--input is for --model"),
        (["explore", "--model", "m.py:f", "--input", "1,x"], "is not a shape"),
        (["explore", "--language", "de"], "language must be"),
        (["lessons", "7"], "no lesson 7: choose 1 to 6"),
        (["lessons", "--language", "de"], "language must be"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(words, said, capsys):
    assert main([*words, "--no-browser"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_an_export_overwrites_nothing_unasked(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    for more in ([], ["--python"]):
        assert main(["lessons", "--export", str(tmp_path), *more]) == 2
        assert "is not empty" in capsys.readouterr().err
    assert main(["lessons", "--python"]) == 2 and "pass a folder" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.slow
def test_the_lessons_are_exported(tmp_path):
    assert main(["lessons", "--export", str(tmp_path / "site"), "--python"]) == 0
    for number in range(1, 5):
        folder = tmp_path / "site" / str(number)
        assert "../public/wheels/convsmith-" in (folder / "index.html").read_text("utf-8")
        assert list((folder / "public" / "wheels").glob("convsmith-*.whl"))
    assert not (tmp_path / "site" / "5").exists()
    listed = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert 'href="4/' in listed and 'href="5/' not in listed


def test_the_small_network_is_walked():
    found = walk.open_model(walk.SAMPLE, "1,3,32,32")
    assert len(found.layers) == 11
    operations = [layer.name for layer in found.layers]
    state = found.states["8"]
    assert (state.dilation, state.size, state.out_channels) == ((2, 2), (16, 16), 32)
    assert found.states["9"].kind == "transposed"
    for name, state in found.states.items():
        layer = next(each for each in found.layers if each.name == name)
        shape = (1, state.output_channels(), *state.layer().output_size(state.size))
        assert (shape, state.layer().params) == (layer.output, layer.params)
        for language in ("en", "zh"):
            html = walk.layer_panel(found, operations.index(name), language)
            assert f"{layer.params:,}" in html


def test_an_address_alone_runs_no_code(tmp_path):
    code = tmp_path / "evil.py"
    code.write_text("raise SystemExit('ran')")
    assert not walk.is_open(f"{code}:build")
    assert walk.is_open(walk.SAMPLE) and walk.is_open("torchvision:resnet18")
    with pytest.raises(ArgumentError, match="is not a shape"):
        read_shape("1,two")
    with pytest.raises(ArgumentError, match="at least 1"):
        read_shape("1,0")
