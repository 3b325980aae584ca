"""`python -m pocketnode.localnet.llama`: llama.cpp's own OpenAI-compatible server, until told to stop."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click


@click.command()
@click.option("--model", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True, help="GGUF file.")
@click.option("--alias", required=True, help="The model's name in requests.")
@click.option("--port", type=int, default=0, show_default=True, help="0 lets the system choose.")
@click.option("--slots", type=int, default=4, show_default=True, help="Requests answered at the same time.")
@click.option("--context", type=int, default=2048, show_default=True, help="Tokens of context for each slot.")
@click.option(
    "--chat-template",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Jinja file; the model's own if not given.",
)
@click.option("--threads", type=int, default=1, show_default=True, help="Cores that compute; more wait for each other.")
def serve(
    model: Path, alias: str, port: int, slots: int, context: int, chat_template: Path | None, threads: int
) -> None:
    """Serve a GGUF model on 127.0.0.1."""
    stop = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())

    from xllamacpp import CommonParams, Server, llama_pooling_type

    params = CommonParams()
    params.model.path = str(model)
    params.model_alias = {alias}
    params.port = port
    params.n_parallel = slots
    params.n_ctx = context * slots
    # On a machine of two cores that the daemons share, a second thread mostly spins, waiting for the first.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.warmup = False
    if chat_template is not None:
        params.chat_template = chat_template.read_text()
    # A prompt computed anew and one taken from the cache differ in the last bits: the same question at temperature 0
    # must have the same answer.
    params.cache_prompt = False
    # Embeddings besides chats, from the same weights.
    params.embedding = True
    params.pooling_type = llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = Server(params)
    click.echo(f"listening {server.listening_address}")
    while not stop.wait(timeout=3600):
        pass


if __name__ == "__main__":
    serve()
