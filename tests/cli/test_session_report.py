"""Two saved answers to one receipt are reported by a command, and the session's books show it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from click.testing import CliRunner, Result

from pocketnode.chain.client import Rpc
from pocketnode.chain.deployment import write
from pocketnode.cli.main import main
from pocketnode.crypto import keystore
from pocketnode.crypto.keccak import keccak
from pocketnode.gateway.trust import PROOF, proof
from pocketnode.protocol.digest import receipt_digest, response_digest
from pocketnode.protocol.payload import AnswerHead, RequestHead, encode_answer, encode_request, payload_hash
from pocketnode.protocol.types import ZERO32, Receipt, Response, Session, SignedReceipt, SignedResponse
from pocketnode.transport.ports import Ended
from tests.settlement.conftest import anvil_url, opened, rpc, stage
from tests.settlement.market import APPLICATION, GATEWAY, SUPPLIERS, Stage, party

__all__ = ["anvil_url", "opened", "rpc", "stage"]

CHEAT = SUPPLIERS[0]
REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}'


def save(folder: Path, name: str, stage: Stage, session: Session, body: bytes) -> list[str]:
    """Save an answer as a user would have got it; return what names it to the command."""
    domain, json = stage.deployment.domain, {"content-type": "application/json"}
    request = payload_hash(encode_request(RequestHead("POST", "/", json)), REQUEST)
    receipt = Receipt(session.id, CHEAT.address, keccak(b"lane"), 1, 0, 20, request)
    digest = receipt_digest(domain, receipt)
    payload = payload_hash(encode_answer(AnswerHead(200, json)), body)
    response = Response(digest, payload, 20, 1, 2, ZERO32)
    told = response_digest(domain, response)
    signed = SignedReceipt(receipt, GATEWAY.sign(digest))
    ended = Ended(digest, told, SignedResponse(response, CHEAT.sign(told)), signed)
    (folder / name).write_bytes(body)
    headers = f"HTTP/1.1 200 OK\ncontent-type: application/json\n{PROOF}: {proof(ended)}\n"
    (folder / f"{name}-headers").write_text(headers)
    return ["--answer", str(folder / name), "--headers", str(folder / f"{name}-headers")]


async def test_two_saved_answers_are_reported(stage: Stage, rpc: Rpc, anvil_url: str, tmp_path: Path) -> None:
    async with party(stage, GATEWAY, tmp_path / "x") as gateway:
        session = await gateway.session(stage)
    (tmp_path / "request").write_bytes(REQUEST)
    one, two = (save(tmp_path, name, stage, session, b'{"result":"%s"}' % name.encode()) for name in ("one", "two"))
    write(tmp_path / "deployment.json", stage.deployment)
    (tmp_path / "password").write_text("secret\n")
    keystore.create(tmp_path / "key.json", GATEWAY, "secret", cost=2)
    common = ["session", "report", "0x" + APPLICATION.address.hex(), "eth", "--request", str(tmp_path / "request")]
    common += ["--deployment", str(tmp_path / "deployment.json"), "--rpc", anvil_url, "--yes", "--json"]
    common += ["--keystore", str(tmp_path / "key.json"), "--password-file", str(tmp_path / "password")]

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, [*common, *words])

    same = await asyncio.to_thread(run, *one, *one)
    assert same.exit_code != 0
    assert "5.16" in same.output
    done = await asyncio.to_thread(run, *one, *two)
    assert done.exit_code == 0, done.output
    assert '"slashed": 100' in done.output
    again = await asyncio.to_thread(run, *one, *two)
    assert "AlreadyReported" in again.output
