"""What a user can check of an answer without trusting the gateway."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.chain import deployment as deployments
from pocketnode.chain.deployment import Contracts, Deployment, Windows
from pocketnode.cli.main import main
from pocketnode.errors import BadInput, PocketError
from pocketnode.gateway.trust import PROOF, PROOF_BYTES
from pocketnode.gateway.verifying import verify
from pocketnode.protocol.payload import AnswerHead, RequestHead, encode_answer, encode_request
from tests.gateway.conftest import Running, Start
from tests.gateway.market import DOMAIN

REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"eth_getCode","params":["0x1","0x1"]}'
ASKED = encode_request(RequestHead("POST", "/", {"content-type": "application/json"}))
ANSWERED = encode_answer(AnswerHead(200, {"content-type": "application/json"}))


async def answered(gateway: Running) -> tuple[str, bytes]:
    async with gateway.http.post(f"{gateway.url}/rpc/eth", data=REQUEST, headers=gateway.headers) as answer:
        return answer.headers[PROOF], await answer.read()


async def test_a_proof_holds_for_its_answer_and_for_no_other(start: Start) -> None:
    gateway = await start()
    proof, body = await answered(gateway)
    checked = verify(DOMAIN, proof, ASKED, REQUEST, ANSWERED, body)
    (record,) = gateway.records()
    assert (checked.relay, checked.response_digest) == (record.receipt, record.response)
    assert checked.receipt.supplier in {s.key.address for s in gateway.suppliers}
    raw = base64.b64decode(proof)
    assert len(raw) == PROOF_BYTES
    for at in range(len(raw)):
        bent = base64.b64encode(raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]).decode()
        with pytest.raises(PocketError):
            verify(DOMAIN, bent, ASKED, REQUEST, ANSWERED, body)
    for request, answer in ((REQUEST + b" ", body), (REQUEST, body + b" ")):
        with pytest.raises(PocketError):
            verify(DOMAIN, proof, ASKED, request, ANSWERED, answer)


@given(st.text(max_size=400))
def test_nonsense_is_no_proof(text: str) -> None:
    with pytest.raises(BadInput):
        verify(DOMAIN, text, ASKED, REQUEST, ANSWERED, b"")


async def test_the_command_checks_saved_files(start: Start, tmp_path: Path) -> None:
    gateway = await start()
    proof, body = await answered(gateway)
    windows = Windows(anchor=1, length=20, grace=2, statement=5, claim=10, thaw=60)
    places = dict.fromkeys(Contracts.model_fields, b"\x22" * 20) | {"settlement": DOMAIN.contract}
    contracts = Contracts.model_validate(places)
    deployment = Deployment(chain_id=DOMAIN.chain_id, block=1, windows=windows, contracts=contracts)
    deployments.write(tmp_path / "deployment.json", deployment)
    (tmp_path / "headers").write_text(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{PROOF}: {proof}\r\n")
    (tmp_path / "request").write_bytes(REQUEST)
    (tmp_path / "answer").write_bytes(body)
    arguments = ["verify", "--json"]
    for name in ("deployment", "request", "answer", "headers"):
        arguments += [f"--{name}", str(tmp_path / (f"{name}.json" if name == "deployment" else name))]
    sound = CliRunner().invoke(main, arguments)
    assert sound.exit_code == 0, sound.output
    assert json.loads(sound.stdout)["relay"] == "0x" + gateway.records()[0].receipt.hex()
    (tmp_path / "answer").write_bytes(body + b"\n")
    forged = CliRunner().invoke(main, arguments)
    assert forged.exit_code == 3
    assert "did not sign this answer" in forged.stderr
