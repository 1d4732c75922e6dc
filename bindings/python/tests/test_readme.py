"""The examples of README.md, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from conftest import PATIENCE

README = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "README.md")


def blocks():
    with open(README, encoding="utf-8") as file:
        return re.findall(r"```python\n(.*?)```", file.read(), re.DOTALL)


@pytest.mark.parametrize(
    ("number", "printed"),
    [
        (0, "sensor.kitchen {'celsius': 21.5}\nsensor.attic cold\n"),
        (1, "sensor.kitchen b'\\x15'\n"),
    ],
)
def test_an_example_prints_what_it_should(broker, number, printed):
    assert len(blocks()) == 2
    ended = subprocess.run(
        [sys.executable, "-c", blocks()[number]],
        env=dict(os.environ, NETCLUSTER_SOCKET=broker.socket),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == printed
