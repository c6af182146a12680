"""Servers: each in a process of its own, started when a test asks for it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest


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


def end(process):
    """Stop a server as a user does; one that goes on is a failure, and is not left behind."""
    process.terminate()
    try:
        process.wait(20)
    finally:
        process.kill()


@pytest.fixture(scope="session")
def explorer():
    process, address = serve(["explore"])
    yield address
    end(process)


@pytest.fixture(scope="session")
def lessons():
    process, address = serve(["lessons"])
    yield address
    end(process)
