"""OpenAI requests and answers as bytes: reads the few fields that price and routing need. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson

from pocketnode.gateway.json_places import with_field
from pocketnode.gateway.judging import Judgement
from pocketnode.gateway.refusal import INVALID, MALFORMED, Refused
from pocketnode.protocol.metering import (
    TokenRates,
    hold_first,
    hold_most,
    prompt_tokens_most,
    token_units,
    untold_units,
)
from pocketnode.services.spec import Tokens

# What an answer of each route must have.
ANSWERS: Final = {"/v1/chat/completions": "choices", "/v1/completions": "choices", "/v1/embeddings": "data"}
TOKEN_SLACK: Final = 16
PREFIX_CHARS: Final = 2_048
PREFIX_BYTES_LEAST: Final = 256  # less is computed again as quickly as it is found


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of its price and route.

    Parameters
    ----------
    output_most : most tokens of output over all its choices.
    named : whether the user named that maximum.
    prefix : 16 bytes that the turns of one conversation share; empty where nothing is worth to be kept.
    repeats : the same request gives the same text (temperature 0, or a seed).
    choices : how many texts are asked for.
    """

    model: str
    stream: bool
    wants_usage: bool
    output_most: int
    named: bool
    body_bytes: int
    repeats: bool
    prefix: bytes = b""
    choices: int = 1


def read_request(path: str, body: bytes, default_context: int) -> Asked:
    """Return what a request asks for.

    Raises
    ------
    Refused
        not JSON, not an object, or a field of the wrong type.
    """
    try:
        fields = orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise Refused(MALFORMED, f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise Refused(INVALID, "the body must be a JSON object")
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise Refused(INVALID, "'model' must be a string", param="model")
    _check_input(path, fields)
    choices = _choices(path, fields)
    most, named = _output_most(path, fields, default_context)
    options = fields.get("stream_options")
    wants_usage = isinstance(options, dict) and options.get("include_usage") is True
    repeats = fields.get("temperature") == 0 or fields.get("seed") is not None
    stream, prefix = _flag(fields, "stream"), _prefix(path, fields)
    return Asked(model, stream, wants_usage, most * choices, named, len(body), repeats, prefix, choices)


def holds(asked: Asked, tokens: Tokens) -> tuple[int, int]:
    """Return the units to hold at first and at most."""
    rates = rates_of(tokens)
    first = hold_first(asked.body_bytes, asked.output_most, tokens.hold_slice, rates)
    return first, hold_most(asked.body_bytes, asked.output_most, rates)


def rates_of(tokens: Tokens) -> TokenRates:
    """Return the rates of a service's spec."""
    return TokenRates(tokens.units_per_prompt_token, tokens.units_per_output_token)


def judge_whole(path: str, asked: Asked, tokens: Tokens, body: bytes, units: int) -> tuple[Judgement, dict[str, Any]]:
    """Return what a whole answer is worth, and its usage."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Judgement.WRONG, {}
    if not isinstance(answer, dict):
        return Judgement.WRONG, {}
    if answer.get("error"):
        return Judgement.FAULT, {}
    usage = answer.get("usage")
    if not isinstance(answer.get(ANSWERS[path]), list) or not isinstance(usage, dict):
        return Judgement.WRONG, {}
    sound = is_sound(usage, asked, tokens, units, len(body))
    return (Judgement.TAKE if sound else Judgement.WRONG), usage


def is_sound(usage: dict[str, Any], asked: Asked, tokens: Tokens, units: int, output_bytes: int) -> bool:
    """Return whether a supplier's count can be true, and its units follow from it.

    A token has at least a byte, so neither prompt nor output has more tokens than bytes; the output not more than
    was asked for.
    """
    prompt, output = counts(usage)
    if prompt > prompt_tokens_most(asked.body_bytes) or output > output_bytes + TOKEN_SLACK:
        return False
    if asked.named and output > asked.output_most + TOKEN_SLACK:
        return False
    return units <= token_units(prompt, output, rates_of(tokens))


def cut_units_most(asked: Asked, tokens: Tokens, events: int) -> int:
    """Return the most units of a stream that was cut before its usage came, after so many events (rule 3.16)."""
    return untold_units(asked.body_bytes, events * asked.choices, rates_of(tokens))


def cut_output(asked: Asked, tokens: Tokens, units: int) -> int:
    """Return how many tokens of output the units of a cut stream are for."""
    return max(0, units - untold_units(asked.body_bytes, 0, rates_of(tokens))) // tokens.units_per_output_token


def counts(usage: dict[str, Any]) -> tuple[int, int]:
    """Return prompt and output tokens of a usage object; 0 for what it does not say, or says below that."""
    return _tokens(usage.get("prompt_tokens")), _tokens(usage.get("completion_tokens"))


def _tokens(told: object) -> int:
    return max(0, told) if isinstance(told, int) else 0


def with_model(body: bytes, model: str) -> bytes:
    """Return a request with another model named; every other byte stays."""
    return with_field(body, "model", orjson.dumps(model))


def _check_input(path: str, fields: dict[str, Any]) -> None:
    if path == "/v1/chat/completions":
        messages = fields.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
            raise Refused(INVALID, "'messages' must be an array of objects, with at least one", param="messages")
        return
    name = "prompt" if path == "/v1/completions" else "input"
    if not isinstance(fields.get(name), str | list):
        raise Refused(INVALID, f"{name!r} must be a string or an array", param=name)


def _output_most(path: str, fields: dict[str, Any], default_context: int) -> tuple[int, bool]:
    if path == "/v1/embeddings":
        return 0, True
    named = _count(fields, "max_completion_tokens") or _count(fields, "max_tokens")
    return min(named or default_context, default_context), named is not None


def _choices(path: str, fields: dict[str, Any]) -> int:
    """Return how many texts are asked for: `n` of each prompt."""
    prompts = fields.get("prompt") if path == "/v1/completions" else None
    several = len(prompts) if isinstance(prompts, list) and all(isinstance(one, str | list) for one in prompts) else 1
    return (_count(fields, "n") or 1) * max(1, several)


def _prefix(path: str, fields: dict[str, Any]) -> bytes:
    """Return what the turns of a conversation share: its first two messages, or how its prompt begins.

    An engine that has computed them for one turn keeps that for the next.
    """
    if path == "/v1/chat/completions":
        begins = orjson.dumps(fields["messages"][:2])
    else:
        prompt = fields.get("prompt")
        begins = prompt[:PREFIX_CHARS].encode("utf-8", "surrogatepass") if isinstance(prompt, str) else b""
    return blake2b(begins, digest_size=16).digest() if len(begins) >= PREFIX_BYTES_LEAST else b""


def _count(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Refused(INVALID, f"{name!r} must be a whole number of at least 1", param=name)
    return value


def _flag(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refused(INVALID, f"{name!r} must be true or false", param=name)
    return value is True
