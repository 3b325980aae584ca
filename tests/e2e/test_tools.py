"""Tool calls and schemas of a real model, by unmodified OpenAI clients through a gateway and supplier daemons."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import openai
import pytest
import requests
from pydantic import BaseModel, ConfigDict, Field

from pocketnode.localnet import plan
from pocketnode.localnet.plan import LLM
from pocketnode.localnet.state import Layout
from tests.e2e.network import Localnet

pytestmark = pytest.mark.e2e

T = TypeVar("T")
MODEL: Final = "smollm2-135m"
CHOICES: Final = ["required", "auto"]
ANEW: Final = re.compile(rb'"created":\d+|"id":"[^"]*"|"timings":\{[^}]*\}')


class Weather(BaseModel):
    """What the tool takes."""

    model_config = ConfigDict(extra="forbid")
    city: str = Field(max_length=20)
    days: int = Field(ge=1, le=9)


class Trip(BaseModel):
    """What a schema asks for."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=20)
    river: str = Field(max_length=20)


def asked(city: str, days: int) -> dict[str, Any]:
    """Return a user's question."""
    return {"role": "user", "content": f"Weather in {city} for {days} days?"}


def turns() -> list[Any]:
    """Return a conversation in which tools were called before: so small a model calls them by example."""
    found: list[Any] = []
    for number, (city, days) in enumerate([("Rome", 2), ("Oslo", 5), ("Bern", 1)]):
        arguments = json.dumps({"city": city, "days": days})
        call = {"id": f"call_{number}", "type": "function", "function": {"name": "weather", "arguments": arguments}}
        found += [
            asked(city, days),
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{number}", "content": "sunny"},
            {"role": "assistant", "content": "It is sunny."},
        ]
    return [*found, asked("Paris", 3)]


def words(**more: Any) -> dict[str, Any]:
    tool = openai.pydantic_function_tool(Weather, name="weather", description="Weather of a city")
    return {"model": MODEL, "messages": turns(), "tools": [tool], "temperature": 0, "max_tokens": 80, **more}


def only(calls: Sequence[T] | None) -> T:
    """Return the one call of an answer."""
    assert calls is not None
    assert len(calls) == 1
    return calls[0]


@pytest.fixture(scope="module")
def client(localnet: Localnet) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{localnet.gateway_url}/v1", api_key=localnet.api_key, max_retries=0, timeout=90)


@pytest.mark.parametrize("choice", CHOICES)
def test_a_tool_is_called(client: openai.OpenAI, choice: str) -> None:
    (answer,) = client.chat.completions.create(**words(tool_choice=choice)).choices
    assert answer.finish_reason == "tool_calls"
    call = only(answer.message.tool_calls)
    assert call.type == "function"
    assert call.function.name == "weather"
    assert Weather.model_validate_json(call.function.arguments) == Weather(city="Paris", days=3)


def test_a_tool_call_comes_in_parts_of_a_stream(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(**words(stream=True, stream_options={"include_usage": True}))
    name, arguments, parts, ends, usage = "", "", 0, [], None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            ends += [choice.finish_reason] if choice.finish_reason else []
            for call in choice.delta.tool_calls or ():
                assert call.function
                name += call.function.name or ""
                arguments += call.function.arguments or ""
                parts += 1
    assert (name, ends) == ("weather", ["tool_calls"])
    assert Weather.model_validate_json(arguments) == Weather(city="Paris", days=3)
    assert parts > 3
    assert usage
    assert usage.completion_tokens > 10


def test_the_clients_own_helpers_read_calls_and_schemas(client: openai.OpenAI) -> None:
    parsed = client.chat.completions.parse(**words())
    call = only(parsed.choices[0].message.tool_calls)
    assert call.function.parsed_arguments == Weather(city="Paris", days=3)
    with client.chat.completions.stream(**words()) as stream:
        kinds = {event.type for event in stream}
        call = only(stream.get_final_completion().choices[0].message.tool_calls)
    assert call.function.parsed_arguments == Weather(city="Paris", days=3)
    assert "tool_calls.function.arguments.delta" in kinds
    ask: Any = [{"role": "user", "content": "A city and its river?"}]
    trip = client.chat.completions.parse(model=MODEL, messages=ask, response_format=Trip, temperature=0, max_tokens=80)
    assert isinstance(trip.choices[0].message.parsed, Trip)


async def test_tools_are_called_asynchronously_and_streamed(localnet: Localnet) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{localnet.gateway_url}/v1", api_key=localnet.api_key, max_retries=0, timeout=90
    ) as client:
        answer = await client.chat.completions.create(**words())
        call = only(answer.choices[0].message.tool_calls)
        assert call.type == "function"
        assert json.loads(call.function.arguments) == {"city": "Paris", "days": 3}
        async with client.chat.completions.stream(**words()) as stream:
            final = await stream.get_final_completion()
        parsed = only(final.choices[0].message.tool_calls)
        assert parsed.function.parsed_arguments == Weather(city="Paris", days=3)


@pytest.mark.parametrize("stream", [False, True])
def test_bytes_pass_through(localnet: Localnet, stream: bool) -> None:
    """What the engine writes is what the user gets, byte for byte, but for what it writes anew each time."""
    network = plan.read(Layout(localnet.folder))
    assert network is not None
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {"logprobs": True}
    body = {**words(stream=stream, **more), "seed": 7, "a_field_of_tomorrow": {"x": [1.0]}}
    told = []
    for url in (network.url(LLM), localnet.gateway_url):
        headers = {"Authorization": f"Bearer {localnet.api_key}"}
        answer = requests.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=90)
        assert answer.status_code == 200, answer.text
        told.append(ANEW.sub(b"", answer.content))
    assert b'"tool_calls"' in told[0]
    assert told[0] == told[1]


def test_a_seed_gives_the_same_text(client: openai.OpenAI) -> None:
    ask: Any = [{"role": "user", "content": "Tell a story."}]
    drawn = [
        client.chat.completions.create(model=MODEL, messages=ask, temperature=1.2, max_tokens=24, seed=seed)
        for seed in (5, 5, 6)
    ]
    first, again, other = (answer.choices[0].message.content for answer in drawn)
    assert first == again != other
