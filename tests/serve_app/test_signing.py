from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from serve_app.signing import UrlExpired, UrlForged, UrlSigner
from serve_app.url_keys import load_url_keys

OLD, NEW = (SecretStr(letter * 32) for letter in "on")
ID = "0123456789abcdef0123456789abcdef.png"
MADE_S = 1_700_000_000


def signed(signer: UrlSigner, picture_id: str = ID) -> tuple[str, str]:
    """`expires` and `signature` of a URL made at MADE_S."""
    query = parse_qs(signer.sign(picture_id, MADE_S), strict_parsing=True)
    return query["expires"][0], query["signature"][0]


@pytest.mark.parametrize("age_s", [0, 1, 3599, 3599.999])
def test_url_works_until_its_ttl_is_over(age_s: float) -> None:
    signer = UrlSigner([NEW], 3600)
    assert signer.verify(ID, *signed(signer), MADE_S + age_s) == MADE_S + 3600


@pytest.mark.parametrize("age_s", [3600, 3600.001, 1e9])
def test_expired_url_is_gone(age_s: float) -> None:
    signer = UrlSigner([NEW], 3600)
    with pytest.raises(UrlExpired, match="3600 seconds"):
        signer.verify(ID, *signed(signer), MADE_S + age_s)


EXPIRES, SIGNATURE = signed(UrlSigner([NEW], 3600))


@pytest.mark.parametrize(
    ("picture_id", "expires", "signature"),
    [
        (ID.replace("0", "1", 1), EXPIRES, SIGNATURE),
        (ID.replace("png", "jpeg"), EXPIRES, SIGNATURE),
        (ID, str(int(EXPIRES) + 1), SIGNATURE),
        (ID, f"0{EXPIRES}", SIGNATURE),
        (ID, f"+{EXPIRES}", SIGNATURE),
        (ID, "١٧٠٠٠٠٣٦٠٠", SIGNATURE),
        (ID, "9" * 10_000, SIGNATURE),
        (ID, "", SIGNATURE),
        (ID, EXPIRES, ""),
        (ID, EXPIRES, SIGNATURE + "="),
        (ID, EXPIRES, "ä\ud800"),
        ("", "", ""),
        ("\ud800", EXPIRES, SIGNATURE),
    ],
)
def test_tampered_url_is_forged(picture_id: str, expires: str, signature: str) -> None:
    with pytest.raises(UrlForged):
        UrlSigner([NEW], 3600).verify(picture_id, expires, signature, MADE_S)


@pytest.mark.parametrize("index", range(len(SIGNATURE)))
def test_every_character_of_the_signature_counts(index: int) -> None:
    for other in "AaZz09-_":
        if other != SIGNATURE[index]:
            tampered = SIGNATURE[:index] + other + SIGNATURE[index + 1 :]
            with pytest.raises(UrlForged):
                UrlSigner([NEW], 3600).verify(ID, EXPIRES, tampered, MADE_S)


def test_forged_url_is_forged_even_when_it_expired() -> None:
    with pytest.raises(UrlForged):
        UrlSigner([NEW], 3600).verify(ID, EXPIRES, SIGNATURE[::-1], MADE_S + 1e6)


def test_rotated_keys_sign_with_the_first_and_accept_all() -> None:
    before, after = UrlSigner([OLD], 3600), UrlSigner([NEW, OLD], 3600)
    after.verify(ID, *signed(before), MADE_S)
    UrlSigner([NEW], 3600).verify(ID, *signed(after), MADE_S)
    with pytest.raises(UrlForged):
        UrlSigner([NEW], 3600).verify(ID, *signed(before), MADE_S)


def test_signer_hides_its_keys() -> None:
    assert "nnnn" not in repr(UrlSigner([NEW], 1))


def test_keys_of_the_environment_come_first(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("f" * 32)
    keys = load_url_keys({"IMAGE_URL_KEYS": f" {'a' * 32}, {'b' * 40},"}, file, tmp_path / "default")
    assert [key.get_secret_value() for key in keys] == ["a" * 32, "b" * 40]


def test_keys_of_a_file_stand_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# since May\n{'n' * 32}\n\n{'o' * 32}\n")
    assert load_url_keys({"IMAGE_URL_KEYS": " "}, file, tmp_path / "default") == (NEW, OLD)
    assert not (tmp_path / "default").exists()


def test_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    default = tmp_path / "store" / "url_keys"
    first = load_url_keys({}, None, default)
    assert len(first[0].get_secret_value()) >= 32
    assert stat.S_IMODE(default.stat().st_mode) == 0o600
    assert load_url_keys({}, None, default) == first
    assert os.listdir(default.parent) == ["url_keys"]


def test_processes_that_make_a_key_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: load_url_keys({}, None, tmp_path / "keys"), range(64)))
    assert len(set(keys)) == 1
    assert os.listdir(tmp_path) == ["keys"]


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("tooshort", r"IMAGE_URL_KEYS: key 1 has 8 characters; at least 32"),
        (f"{'a' * 32},tooshort", r"IMAGE_URL_KEYS: key 2 has 8 characters"),
        (",,", r"IMAGE_URL_KEYS: no key"),
    ],
)
def test_weak_keys_are_refused_without_showing_them(listed: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        load_url_keys({"IMAGE_URL_KEYS": listed}, None, tmp_path / "default")
    assert "tooshort" not in str(refused.value)


def test_no_place_for_a_key_asks_for_one() -> None:
    with pytest.raises(ValueError, match=r"set IMAGE_URL_KEYS, or name a file of keys in access\.url_keys_file"):
        load_url_keys({}, None, None)


def test_empty_key_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# none yet\n")
    with pytest.raises(ValueError, match="keys: no key in it"):
        load_url_keys({}, tmp_path / "keys", tmp_path / "default")
