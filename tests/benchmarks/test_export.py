"""The benchmark of what leaves Python: goals, tables, and reasons in the place of figures."""

from __future__ import annotations

import pytest

pytest.importorskip("halide")

from benchmarks import export, web
from benchmarks.emulated import PEERS
from benchmarks.markdown import markdown
from convsmith.errors import ConvsmithError

TIME = {"low_ms": 1.0, "high_ms": 3.0, "runs": 5}
RESULT = {
    "rows": [
        {"what": "import torch", "median_ms": 900.0, "beyond": None, "beyond_ms": None, **TIME},
        {"what": ".cvs", "median_ms": 1200.0, "beyond": "import torch", "beyond_ms": 300.0, **TIME},
    ],
    "beside": [
        {"network": "A", "library_ms": 9.0, "compile_ms": 10.0, "times": 0.9, "error": 1e-6,
         "code": 90_000, "arena": 4096},
        {"network": "B", "library_ms": 11.0, "compile_ms": 10.0, "times": 1.1, "error": 1e-6,
         "code": 90_000, "arena": 4096},
        {"network": "C", "reason": "only torch computes x"},
    ],
    "emulated": [
        {"network": "A", "machine": "aarch64-linux", "eager": 1e-6, "error": 3e-6, "ms": 20.0},
        {"network": "A", "machine": "wasm32", "eager": 1e-6, "error": 1e-6, "ms": 20.0,
         "peer_ms": 40.0},
        {"network": "B", "machine": "wasm32", "eager": 1e-6, "reason": "node is not installed"},
        {"network": "C", "machine": "wasm32", "eager": 1e-6, "error": 1e-6, "ms": 9.0,
         "peer_reason": "it failed"},
    ],
    "sizes": [
        {"what": "C library, wasm32", "bytes": 2**20 + 1},
        {"what": "executorch's library", "reason": "not installed"},
    ],
}  # fmt: skip


def test_goals_and_reasons():
    assert list(export._missed(RESULT)) == [
        ".cvs: 300 ms beyond import torch, not 250",
        "B: 1.100 times compile, not 1.03",
        "C: only torch computes x",
        "A on aarch64-linux: 3.0e-06 from float64, eager 1.0e-06",
        "B on wasm32: node is not installed",
        "C library, wasm32: 1,048,577 bytes, not 1,048,576",
    ]
    started, beside, neon, node, sizes = map(markdown, export.tables(RESULT))
    assert "| .cvs | 1,200 ms | 1.00 ms | 3.00 ms | 300 ms | import torch |" in started
    assert "| C | – | – | – | – | – | – | only torch computes x |" in beside
    assert PEERS["aarch64-linux"][1] in neon and "| A | 3.0e-06 | 1.0e-06 | 20.0 ms |" in neon
    assert "| A | 1.0e-06 | 1.0e-06 | 20.0 ms | 40.0 ms | 0.50 | – |" in node
    assert "onnxruntime-web: it failed." in node and PEERS["wasm32"][1] not in node
    assert "| executorch's library | – | not installed |" in sizes


def test_sizes_of_what_is_not_there():
    assert export._bytes_of("torch", "lib/libtorch_cpu.*") > 2**20
    with pytest.raises(ConvsmithError, match="not installed"):
        export._bytes_of("no_such_package_at_all", "*")
    with pytest.raises(ConvsmithError, match=r"holds no nothing\.\*"):
        export._bytes_of("torch", "nothing.*")


def test_ten_networks_in_emulators_and_six_here():
    assert len(export.EMULATED) == 10
    assert len(export.NETWORKS) == 6


def test_the_peer_in_node(tmp_path, monkeypatch):
    monkeypatch.setenv("NODE_PATH", str(tmp_path))
    assert web.modules() == tmp_path and web.found_version() is None
    monkeypatch.delenv("NODE_PATH")
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "kernels"))
    for name in ("npm_config_offline", "NPM_CONFIG_OFFLINE"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "empty"))
    with pytest.raises(ConvsmithError, match=r"npm (is not installed|cannot install onnxruntime)"):
        web.modules()
    held = tmp_path / "npm/node_modules/onnxruntime-web"
    held.mkdir(parents=True)
    (held / "package.json").write_text('{"version": "1.2.3"}')
    assert web.modules() == tmp_path / "npm/node_modules" and web.found_version() == "1.2.3"
