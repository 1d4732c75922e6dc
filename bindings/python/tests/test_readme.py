"""The examples of README.md and of docs/languages.md, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from conftest import PATIENCE

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
README = os.path.join(PACKAGE, "README.md")
LANGUAGES = os.path.join(PACKAGE, "..", "..", "docs", "languages.md")


def blocks(document):
    with open(document, encoding="utf-8") as file:
        return re.findall(r"```python\n(.*?)```", file.read(), re.DOTALL)


@pytest.mark.parametrize(
    ("document", "number", "printed"),
    [
        (README, 0, "sensor.kitchen {'celsius': 21.5}\nsensor.attic cold\n"),
        (README, 1, "sensor.kitchen b'\\x15'\n"),
        (README, 2, "the first: {'id': 1}\njob.new {'id': 1}\njob.done 1\n"),
        (README, 3, "nothing in time\n1\n"),
        (README, 4, "nothing missing unsaid: 2000\n"),
        (README, 5, "BROKER_NOT_RUNNING\nZeroDivisionError('division by zero')\nNAME\nDISCONNECTED\n"),
        (LANGUAGES, 0, "sensor.kitchen text 21.5\nsensor.attic json [19.5,20.5]\n"),
    ],
)
def test_an_example_prints_what_it_should(broker, document, number, printed):
    assert len(blocks(README)) == 6 and len(blocks(LANGUAGES)) == 1
    ended = subprocess.run(
        [sys.executable, "-c", blocks(document)[number]],
        env=dict(os.environ, NETCLUSTER_SOCKET=broker.socket),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    # Losses are logged, as warnings.
    told = [line for line in ended.stderr.splitlines() if "are missing here" not in line]
    assert (ended.returncode, told) == (0, [])
    assert ended.stdout == printed
