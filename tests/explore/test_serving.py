"""A server ends when it is told to, with a browser connected, too."""

from __future__ import annotations

import signal

import pytest

from tests.explore.conftest import serve


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("words", [["lessons"], ["explore"]], ids=" ".join)
def test_a_signal_ends_a_server_that_a_browser_is_connected_to(chromium, words, number):
    process, address = serve(words)
    page = chromium.new_page()
    try:
        page.goto(address + ("1/" if words == ["lessons"] else ""))
        # This is there once a notebook runs in the server.
        page.locator(".cs-title" if words == ["lessons"] else ".cs-summary").first.wait_for()
        process.send_signal(number)
        assert process.wait(30) == 130
        assert process.stderr.read() == "convsmith: interrupted\n"
    finally:
        page.close()
        process.kill()
