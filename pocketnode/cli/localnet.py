"""`pocketnode localnet`: a whole market on this machine, from start to reset."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress

import click

from pocketnode import daemon
from pocketnode.cli import localnet_joining
from pocketnode.cli.acting import confirmed, yes_option
from pocketnode.cli.busy import busy
from pocketnode.cli.coin import Amount, Coin, coin_of
from pocketnode.cli.localnet_folder import folder_option, found_plan
from pocketnode.cli.logs import log_to_stderr
from pocketnode.cli.output import json_option, print_facts, print_rows, say
from pocketnode.errors import Corrupt, NotFound
from pocketnode.localnet import ending, plan, state
from pocketnode.localnet.plan import SUPPLIERS, Options, Plan
from pocketnode.localnet.state import SUPERVISOR, Layout


@click.group()
def localnet() -> None:
    """A whole market on this machine: a chain, an LLM, three suppliers, a gateway.

    \b
    Example:
      pocketnode localnet up
    """


for _command in localnet_joining.COMMANDS:
    localnet.add_command(_command)


@localnet.command()
@folder_option
@click.option("--gateway-port", type=int, default=3069, show_default=True, help="0 lets the system choose.")
@click.option(
    "--degrade",
    type=click.Choice([*SUPPLIERS, "none"]),
    default=SUPPLIERS[-1],
    show_default=True,
    help="Who answers late and fails at times.",
)
@click.option("--delay-ms", type=click.IntRange(0), default=400, show_default=True, help="How late that one answers.")
@click.option("--failure-rate", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="How often it fails.")
@click.option("--withhold-statements", is_flag=True, help="The gateway never states, so that suppliers must claim.")
@click.option("--detach", is_flag=True, help="Return when it is ready and leave it running.")
@click.option("--no-view", is_flag=True, help="Do not draw the live view.")
@click.option("--detached", is_flag=True, hidden=True)
def up(
    layout: Layout,
    gateway_port: int,
    degrade: str,
    delay_ms: int,
    failure_rate: float,
    withhold_statements: bool,
    detach: bool,
    no_view: bool,
    detached: bool,
) -> None:
    """Start the network; Ctrl-C stops it.

    \b
    Example:
      pocketnode localnet up --detach
    """
    degraded = "" if degrade == "none" else degrade
    options = Options(gateway_port, degraded, delay_ms, failure_rate, withhold_statements)
    state.refuse_second(layout)
    if detach:
        start_detached(layout, sys.argv[1:])
        return
    from pocketnode.localnet.supervisor import Supervisor

    view = sys.stdout.isatty() and not (no_view or detached)
    started = time.monotonic()
    starting = ExitStack()

    async def show(network: Plan) -> None:
        starting.close()
        say(f"ready after {time.monotonic() - started:.1f} s")
        if not detached:
            click.echo(how_to_use(layout, network))
        if view:
            from pocketnode.localnet.view import live

            await live(layout, network)
        else:
            await asyncio.Event().wait()

    async def run() -> None:
        stop = daemon.stop_on_signals()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, stop.set)  # its terminal was closed
        await Supervisor(layout, options, say).run(stop, show)

    log_to_stderr("warning", as_json=False)
    with starting:
        starting.enter_context(busy("starting"))
        asyncio.run(run())
    say("stopped")


def start_detached(layout: Layout, argv: list[str]) -> None:
    """Start the supervisor as a process of its own, and return when the network is ready."""
    layout.root.mkdir(parents=True, exist_ok=True)
    log = layout.log(SUPERVISOR)
    command = [sys.executable, "-m", "pocketnode", *(word for word in argv if word != "--detach"), "--detached"]
    with log.open("w") as out:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        with busy("starting"):
            wait_until_ready(layout, child)
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise


def wait_until_ready(layout: Layout, child: subprocess.Popen[bytes]) -> None:
    """Repeat what a detached supervisor says until the network is ready; if that fails, exit as it did."""
    with layout.log(SUPERVISOR).open() as log:
        while True:
            code = child.poll()
            now = state.read(layout)
            click.echo(log.read(), nl=False)
            if code is not None:
                sys.exit(code or 1)
            if now and now.phase == "ready" and now.processes[0].pid == child.pid:
                break
            time.sleep(0.1)
    click.echo(how_to_use(layout, found_plan(layout)))


def how_to_use(layout: Layout, network: Plan) -> str:
    """Return the addresses, the key, the dashboard with its token, and three commands to paste."""
    url = network.url(plan.GATEWAY)
    api_key = layout.api_key.read_text().strip()
    auth = f'-H "Authorization: Bearer {api_key}" -H "Content-Type: application/json"'
    question = '"model":"smollm2-135m","messages":[{"role":"user","content":"Why is the sky blue?"}]'
    return f"""
  OpenAI base URL   {url}/v1
  Ethereum RPC URL  {url}/rpc/eth
  API key           {api_key}
  Dashboard         {network.admin_url(plan.GATEWAY)}/
  its token         {layout.admin_token.read_text().strip()}

  curl {url}/v1/chat/completions {auth} -d '{{{question}}}'

  curl -N {url}/v1/chat/completions {auth} -d '{{{question},"stream":true}}'

  curl {url}/rpc/eth {auth} -d '{{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}}'
"""


@localnet.command()
@folder_option
@json_option
def status(layout: Layout, as_json: bool) -> None:
    """Tell what runs, and where.

    \b
    Example:
      pocketnode localnet status --json
    """
    now = state.need_running(layout)
    network = found_plan(layout)
    facts = {
        "phase": now.phase,
        "gateway_url": network.url(plan.GATEWAY),
        "api_key": layout.api_key.read_text().strip() if layout.api_key.exists() else "",
        "chain_url": network.url(plan.CHAIN),
        "llm_url": network.url(plan.LLM),
        "dir": str(layout.root),
    }
    rows = [
        {
            "process": process.name,
            "pid": str(process.pid),
            "alive": process.alive(),
            "admin": network.admin_url(process.name) if f"{process.name}-admin" in network.ports else "",
            "log": str(layout.log(process.name)),
        }
        for process in now.processes
    ]
    if as_json:
        print_facts({**facts, "processes": rows}, as_json=True)
        return
    print_facts(facts, as_json=False)
    print_rows(rows, as_json=False)


@localnet.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on as it grows, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(1), default=50, show_default=True, help="How many, from its end.")
@folder_option
def logs(name: str, follow: bool, lines: int, layout: Layout) -> None:
    """Print the end of the log of the process NAME.

    \b
    Example:
      pocketnode localnet logs gateway --follow
    """
    log = layout.log(name)
    if not log.exists():
        known = sorted(path.stem for path in layout.log("x").parent.glob("*.log"))
        raise NotFound(f"no log of {name!r}; there are: {', '.join(known) or 'none'}")
    with log.open(errors="replace") as file:
        click.echo("".join(file.readlines()[-lines:]), nl=False)
        while follow:
            click.echo(file.read(), nl=False)
            time.sleep(0.2)


@localnet.command()
@click.option("--rate", type=click.FloatRange(0.01, 1000), default=4.0, show_default=True, help="Requests a second.")
@click.option("--seconds", type=click.FloatRange(0.1), help="How long; until Ctrl-C if not given.")
@click.option("--chats", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="Share that asks the LLM.")
@folder_option
@json_option
def traffic(rate: float, seconds: float | None, chats: float, layout: Layout, as_json: bool) -> None:
    """Send a steady mix of chats, streamed chats and Ethereum calls through the gateway.

    \b
    Example:
      pocketnode localnet traffic --rate 10 --seconds 60
    """
    from pocketnode.localnet.race import first_of
    from pocketnode.localnet.traffic import Load

    state.need_running(layout)
    network = found_plan(layout)
    load = Load(network.url(plan.GATEWAY), layout.api_key.read_text().strip(), rate, chats)
    say(f"{rate:g} requests a second to {network.url(plan.GATEWAY)}")

    async def run() -> None:
        await first_of(load.run(seconds), daemon.stop_on_signals().wait())

    with busy("asking", seconds):
        asyncio.run(run())
    tally = load.tally
    facts = {"sent": tally.sent, **tally.done, "failed": tally.failures.total(), "mean_ms": round(tally.mean_ms, 1)}
    print_facts(facts | {"failures": dict(tally.failures)} if tally.failures else facts, as_json)


@localnet.command()
@folder_option
@click.option("--last", type=click.IntRange(1), help="Only so many sessions, the newest.")
@json_option
def payouts(layout: Layout, last: int | None, as_json: bool) -> None:
    """Show for each settled session who was paid what, and that it adds up.

    \b
    Example:
      pocketnode localnet payouts --last 2
    """
    from pocketnode.localnet import payouts as reading

    state.need_running(layout)
    network = found_plan(layout)

    async def run() -> tuple[list[reading.SessionPay], Coin]:
        async with reading.opened(layout, network) as found:
            return await found.settled(), await coin_of(found.reader)

    with busy("reading the chain"):
        every, coin = asyncio.run(run())
    sessions = every[-(last or 0) :]
    shown = ({**row, "pay": Amount(row["pay"], coin)} for row in reading.table(sessions))
    print_rows((session.as_json() for session in sessions) if as_json else shown, as_json, title="settled sessions")
    if not all(session.balanced for session in sessions):
        raise Corrupt("a session does not balance")


@localnet.command()
@folder_option
def down(layout: Layout) -> None:
    """Stop the network; its chain and its data stay for the next `up`.

    \b
    Example:
      pocketnode localnet down
    """
    now = state.need_running(layout)
    if killed := ending.end(now):
        say(f"had to be killed: {', '.join(killed)}")
    say("stopped")


@localnet.command()
@folder_option
@yes_option
def reset(layout: Layout, yes: bool) -> None:
    """Stop the network if it runs, and remove its chain, keys, data and logs.

    \b
    Example:
      pocketnode localnet reset --yes
    """
    if not layout.root.exists():
        raise NotFound(f"nothing is in {layout.root}")
    say(f"stops the local network in {layout.root} and removes its chain, keys, data and logs")
    if not yes:
        confirmed()
    now = state.read(layout)
    if now is not None and now.running():
        ending.end(now)
    state.reset(layout)
    layout.log(SUPERVISOR).unlink(missing_ok=True)
    with suppress(OSError):  # something else lies in it: that stays
        layout.root.rmdir()
    say("removed")
