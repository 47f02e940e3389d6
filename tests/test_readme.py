"""What the README says is so: its examples run, its commands work, its tables are the code's."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.settings_table import rows

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BASE_URL = "http://127.0.0.1:8000"

RUN_ELSEWHERE = {
    "scripts/serve": "tests/test_launch.py",
    "scripts/test": "this run",
    "scripts/check": ".ci/run",
    "python -m serve_app.access new NAME --file api_keys": "tests/test_production.py",
    "serve run serve_config.yaml": "tests/test_production.py",
    "serve run one_gpu.yaml": "tests/test_production.py",
    "ray up cluster.yaml": "tests/test_files.py",
    "ray exec cluster.yaml 'cd ~/images && serve deploy serve_config.yaml'": "tests/test_files.py",
}
"""Commands that start what a test here can't start again, and where they are held to their word."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line]


def test_the_python_examples_run_in_their_order(embedded_url: str) -> None:
    names: dict[str, Any] = {}
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            for block in blocks("python"):
                exec(compile(block.replace(BASE_URL, embedded_url), "README.md", "exec"), names)
    finally:
        names["client"].close()
    assert printed.getvalue().count(f"{embedded_url}/images/") == 4
    assert "image_generation.partial_image" in printed.getvalue()
    assert "image_generation.completed" in printed.getvalue()
    assert "[7, 8]" in printed.getvalue()


@pytest.mark.parametrize("command", [command for command in commands() if command.startswith("curl")])
def test_the_curl_commands_draw(embedded_url: str, command: str) -> None:
    done = subprocess.run(
        [*shlex.split(command.replace(BASE_URL, embedded_url)), "--silent", "--fail"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{embedded_url}/images/" in done.stdout


def test_every_other_command_is_run_by_a_test() -> None:
    others = {command for command in commands() if not command.startswith("curl")}
    assert others == RUN_ELSEWHERE.keys()


def test_the_table_of_settings_is_the_codes() -> None:
    missing = [row for row in rows() if row not in README]
    assert not missing, "python -m tests.settings_table prints the table:\n" + "\n".join(missing)
    table = README.partition("| setting | default | meaning |")[2].partition("\n\n")[0]
    assert table.count("\n| `") == len(list(rows()))


def test_links_to_files_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(links) > 10
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing


def test_the_picture_is_one() -> None:
    with Image.open(ROOT / "docs" / "pictures.png") as picture:
        assert picture.width >= 1000
