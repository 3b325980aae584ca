"""Tokens to units, and what to hold for a request. Rates are those of the service's spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PROMPT_BYTES_A_TOKEN: Final = 4


@dataclass(frozen=True, slots=True)
class TokenRates:
    """Compute units of one token."""

    prompt: int
    output: int


def token_units(prompt_tokens: int, output_tokens: int, rates: TokenRates) -> int:
    """Return what an LLM relay costs, in units.

    >>> token_units(100, 20, TokenRates(prompt=1, output=4))
    180
    """
    return prompt_tokens * rates.prompt + output_tokens * rates.output


def untold_units(body_bytes: int, pieces: int, rates: TokenRates) -> int:
    """Return what a stream has cost so far while its engine has not told usage (rule 3.16).

    Four bytes of the request's body are a token, rounded down; so is each event with text.

    >>> untold_units(body_bytes=103, pieces=5, rates=TokenRates(prompt=1, output=4))
    45
    """
    return token_units(body_bytes // PROMPT_BYTES_A_TOKEN, pieces, rates)


def prompt_tokens_most(body_bytes: int) -> int:
    """Return how many tokens a prompt can have at most: a token has a byte or more, a chat template adds a few."""
    return body_bytes + 64


def hold_first(body_bytes: int, output_tokens_most: int, slice_tokens: int, rates: TokenRates) -> int:
    """Return the units to hold when an LLM relay starts: the prompt and one slice of output (rule 3.11)."""
    return token_units(prompt_tokens_most(body_bytes), min(output_tokens_most, slice_tokens), rates)


def hold_most(body_bytes: int, output_tokens_most: int, rates: TokenRates) -> int:
    """Return the units up to which the hold of an LLM relay may be raised."""
    return token_units(prompt_tokens_most(body_bytes), output_tokens_most, rates)
