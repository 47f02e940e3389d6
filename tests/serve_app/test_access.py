from __future__ import annotations

import base64
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.access import InvalidApiKey, KeyRing, main
from serve_app.key_file import key_hash

KEY, OTHER = "sk-first-key", "sk-other-key"


@pytest.fixture(autouse=True)
def _ray_passes_records_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Ray keeps its loggers' records from the root logger, where caplog listens."""
    for name in ("ray", "ray.serve"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    caplog.set_level(logging.INFO, "ray.serve")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(f"# who may draw\n\nann {key_hash(KEY)}\n  bob\t{key_hash(OTHER).upper()}  \n")
    return file


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "name"),
    [
        (f"Bearer {KEY}", "ann"),
        (f"bearer   {KEY} ", "ann"),
        (f"BEARER {OTHER}", "bob"),
        (basic(f"anyone:{KEY}"), "ann"),
        (basic(f":{KEY}"), "ann"),
        (basic(f"{KEY}:"), "ann"),
        (basic(KEY), "ann"),
        (basic(f"{KEY}:x").replace("Basic", "basic"), "ann"),
    ],
)
def test_key_is_known_by_its_name(key_file: Path, authorization: str, name: str) -> None:
    assert KeyRing(key_file).check(authorization) == name


def test_key_with_a_colon_works_over_basic(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"ann {key_hash('user:password')}")
    assert KeyRing(tmp_path / "keys").check(basic("user:password")) == "ann"


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer  ", KEY, f"Digest {KEY}", "Basic ???", "Basic /w=="]
)
def test_missing_key_says_how_to_send_one(key_file: Path, authorization: str | None) -> None:
    with pytest.raises(InvalidApiKey, match=r"You didn't provide an API key.*Authorization: Bearer YOUR_KEY"):
        KeyRing(key_file).check(authorization)


@pytest.mark.parametrize("key", ["sk-wrong", KEY + "x", KEY[:-1], KEY.upper(), key_hash(KEY), "ann", "ä\ud800"])
def test_wrong_key_is_refused_without_showing_it(key_file: Path, key: str) -> None:
    with pytest.raises(InvalidApiKey) as refused:
        KeyRing(key_file).check(f"Bearer {key}")
    assert str(refused.value) == "Incorrect API key provided."


def test_changed_file_takes_effect_at_the_next_request(key_file: Path) -> None:
    keys = KeyRing(key_file)
    key_file.write_text(f"eve {key_hash('sk-new')}\n")
    assert keys.check("Bearer sk-new") == "eve"
    with pytest.raises(InvalidApiKey):
        keys.check(f"Bearer {KEY}")


def test_file_replaced_by_one_of_same_size_and_time_is_noticed(key_file: Path) -> None:
    keys = KeyRing(key_file)
    draft = key_file.with_name("draft")
    draft.write_text(key_file.read_text().replace("ann", "eve"))
    status = key_file.stat()
    os.utime(draft, ns=(status.st_atime_ns, status.st_mtime_ns))
    draft.replace(key_file)
    assert keys.check(f"Bearer {KEY}") == "eve"


@pytest.mark.parametrize("broken", [None, "\udcff"])
def test_a_file_that_can_not_be_read_keeps_the_last_good_keys(
    key_file: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyRing(key_file)
    if broken is None:
        key_file.unlink()
    else:
        key_file.write_bytes(broken.encode(errors="surrogateescape"))
    assert [keys.check(f"Bearer {KEY}") for _ in range(3)] == ["ann"] * 3
    assert len(caplog.records) == 1, "said once, and not at every request"
    assert "stay in force" in caplog.text


@pytest.mark.parametrize("rest", ["", "# all gone\n", "ann 123\n", "ann\n", f"{KEY}\n"])
def test_a_key_that_was_taken_out_is_refused_whatever_else_the_file_holds(
    key_file: Path, rest: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyRing(key_file)
    key_file.write_text(rest)
    with pytest.raises(InvalidApiKey):
        keys.check(f"Bearer {KEY}")
    key_file.write_text(f"{rest}bob {key_hash(OTHER)}\n")
    assert keys.check(f"Bearer {OTHER}") == "bob"
    assert ("line 1: must be" in caplog.text) == (rest[:1] not in ("", "#"))
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read"),
        ("# nobody\n", "holds no key"),
        (f"ann {'0' * 64}\nbob {'0' * 63}\n", "line 2: must be a name and a SHA-256"),
        (KEY, "line 1"),
    ],
)
def test_unusable_file_is_refused_at_the_start(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "keys").write_text(content)
    with pytest.raises(ValueError, match=message) as refused:
        KeyRing(tmp_path / "keys")
    assert KEY not in str(refused.value), "a line may be a key that somebody pasted"


def test_new_key_from_the_command_line_opens_the_door(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ann {key_hash(KEY)}")  # without a line's end
    command = [sys.executable, "-m", "serve_app.access", "new", "bob", "--file", str(file)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    key = shown.splitlines()[0].rpartition(" ")[2]
    keys = KeyRing(file)
    assert (keys.check(f"Bearer {key}"), keys.check(f"Bearer {KEY}")) == ("bob", "ann")
    assert key not in file.read_text()


def test_new_key_without_a_file_prints_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["new", "bob"])
    key_line, hash_line = capsys.readouterr().out.splitlines()
    key = key_line.rpartition(" ")[2]
    assert hash_line.endswith(f"bob {key_hash(key)}")
    assert len(key) > 40


def test_new_key_file_is_private(tmp_path: Path) -> None:
    main(["new", "bob", "--file", str(tmp_path / "keys")])
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "arguments", [["new", "two words"], ["new", "#x"], ["new"], [], ["new", "x", "--file", "/no/x"]]
)
def test_wrong_arguments_print_no_key(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert not capsys.readouterr().out
