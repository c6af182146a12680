"""Servers and a browser: each in a process of its own, started when a test asks for it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def chromium():
    sync = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("CONVSMITH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), "")
    if not path:
        pytest.skip("no Chromium is installed")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A page that remembers what went wrong in it, and what it asked of other machines."""

    def __init__(self, browser, width):
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.errors, self.outside = [], []
        self.page.set_default_timeout(30_000)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._said)
        self.page.on("request", self._asked)

    def _said(self, message):
        if message.type == "error":
            self.errors.append(message.text)

    def _asked(self, request):
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:", "about:")):
            self.outside.append(request.url)

    def close(self):
        self.page.close()
        assert not self.errors, self.errors
        assert not self.outside, self.outside


@pytest.fixture
def open_page(chromium):
    opened = []

    def open_at(url, width=1100):
        watched = Watched(chromium, width)
        opened.append(watched)
        watched.page.goto(url)
        return watched.page

    yield open_at
    for watched in opened:
        watched.close()


def serve(words):
    """Start a verb of the command line; the process and the address that it tells."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "convsmith", *words, "--no-browser"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    line = process.stderr.readline()
    if " at http" not in line:
        process.kill()
        raise AssertionError(line + process.stderr.read())
    address = line.split(" at ")[1].split()[0]
    port = int(address.split(":")[2].split("/")[0])
    for _ in range(1200):
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return process, address
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"nothing answers at {address}")


@pytest.fixture(scope="session")
def explorer():
    process, address = serve(["explore"])
    yield address
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="session")
def lessons():
    process, address = serve(["lessons"])
    yield address
    process.terminate()
    process.wait(20)
