"""Key files: what is written can be read, by us and by any wallet, and only with the password."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import eth_account
import pytest

from pocketnode.crypto import keystore
from pocketnode.crypto.keys import Key
from pocketnode.errors import ConfigError

KEY = Key(bytes(range(1, 33)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    keystore.create(tmp_path / "key.json", KEY, "a password", cost=keystore.LIGHT_COST)
    return tmp_path / "key.json"


def test_a_key_comes_back_with_its_password(path: Path) -> None:
    assert keystore.load(path, "a password").secret() == KEY.secret()


def test_a_wallet_opens_the_file(path: Path) -> None:
    assert eth_account.Account.decrypt(json.loads(path.read_text()), "a password") == KEY.secret()


def test_only_its_owner_may_read_the_file(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_wrong_password_opens_nothing(path: Path) -> None:
    with pytest.raises(ConfigError, match="password is wrong"):
        keystore.load(path, "another")


def test_a_daemon_has_its_key_opened_elsewhere(path: Path) -> None:
    code = "import sys; from pathlib import Path; from pocketnode.crypto.keystore import load"
    code += "; print(load(Path(sys.argv[1]), 'a password', apart=True).address.hex(), 'eth_keyfile' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [KEY.address.hex(), "False"]
    with pytest.raises(ConfigError, match="password is wrong"):
        keystore.load(path, "another", apart=True)


def test_a_key_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        keystore.create(path, Key(b"\x07" * 32), "a password", cost=keystore.LIGHT_COST)
    assert path.read_bytes() == before


def test_a_missing_or_broken_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keys create"):
        keystore.load(tmp_path / "none.json", "x")
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(ConfigError, match="no keystore"):
        keystore.load(tmp_path / "broken.json", "x")


def test_an_empty_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="empty password"):
        keystore.create(tmp_path / "key.json", KEY, "")


def test_a_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a password\n")
    assert keystore.password_from(tmp_path / "password") == "a password"
