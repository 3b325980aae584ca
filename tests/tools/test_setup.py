"""The set-up script: each step once, again when an input changed, and on from where it stopped."""

import importlib.util
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "setup.py"


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, working in a folder of its own."""
    spec = importlib.util.spec_from_file_location("setup_script", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "STAMPS", tmp_path)
    monkeypatch.setattr(module, "LOG", tmp_path / "setup.log")
    (tmp_path / "lock").write_text("one")
    return module


def test_a_step_is_done_once_and_again_when_its_input_changes(setup: ModuleType, tmp_path: Path) -> None:
    done: list[str] = []

    def work() -> None:
        done.append((tmp_path / "lock").read_text())
        (tmp_path / "product").touch()

    step = setup.Step("packages", ["lock"], tmp_path / "product", work)
    setup.take(step, check_only=False)
    setup.take(step, check_only=False)
    assert done == ["one"]
    (tmp_path / "lock").write_text("two")
    setup.take(step, check_only=False)
    assert done == ["one", "two"]
    (tmp_path / "product").unlink()
    setup.take(step, check_only=False)
    assert done == ["one", "two", "two"]


def test_a_step_that_failed_is_done_again_though_its_product_is_half_there(setup: ModuleType, tmp_path: Path) -> None:
    tries: list[int] = []

    def work() -> None:
        (tmp_path / "product").touch()
        tries.append(1)
        if len(tries) == 1:
            raise setup.SetupError("the network is gone")

    step = setup.Step("packages", ["lock"], tmp_path / "product", work)
    with pytest.raises(setup.SetupError):
        setup.take(step, check_only=False)
    setup.take(step, check_only=False)
    setup.take(step, check_only=False)
    assert len(tries) == 2


def test_a_command_that_fails_shows_what_it_said_and_where_the_rest_is(setup: ModuleType) -> None:
    with pytest.raises(setup.SetupError, match=r"(?s)exited with 3.*setup\.log.*no such mirror.*Run again"):
        setup.run("sh", "-c", "echo no such mirror; exit 3")


def test_the_newest_python_is_kept_if_it_is_new_enough(setup: ModuleType) -> None:
    setup.with_python_new_enough()


class Index(ThreadingHTTPServer):
    """A package index that holds one wheel of pip, and may hand out another's bytes under its hash."""

    def __init__(self, wheel: bytes, claimed_sha256: str) -> None:
        super().__init__(("127.0.0.1", 0), IndexPages)
        self.wheel = wheel
        self.listing = {"files": [{"filename": "pip.whl", "url": "../pip.whl", "hashes": {"sha256": claimed_sha256}}]}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"


class IndexPages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Index)
        self.send_response(200)
        self.end_headers()
        is_wheel = self.path == "/simple/pip.whl"
        self.wfile.write(self.server.wheel if is_wheel else json.dumps(self.server.listing).encode())

    def log_message(self, *_: object) -> None: ...


@contextmanager
def index(wheel: bytes, claimed_sha256: str) -> Iterator[Index]:
    with Index(wheel, claimed_sha256) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def pip_lock(tmp_path: Path) -> Path:
    (tmp_path / "pip.lock").write_text(f"pip==1 --hash=sha256:{sha256(b'the wheel').hexdigest()}")
    return tmp_path / "pip.lock"


def test_pip_is_fetched_where_python_has_none(
    setup: ModuleType, pip_lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "CACHE", tmp_path)
    with index(b"the wheel", sha256(b"the wheel").hexdigest()) as server:
        monkeypatch.setenv("PIP_INDEX_URL", server.url)
        assert setup.fetch_pip(pip_lock).read_bytes() == b"the wheel"


def test_a_pip_of_another_hash_is_not_run(
    setup: ModuleType, pip_lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "CACHE", tmp_path)
    with index(b"another wheel", sha256(b"the wheel").hexdigest()) as server:
        monkeypatch.setenv("PIP_INDEX_URL", server.url)
        with pytest.raises(setup.SetupError, match="do not trust"):
            setup.fetch_pip(pip_lock)
    assert not (tmp_path / "pip.whl").exists()
