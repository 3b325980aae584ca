"""The gateway's own count of LLM tokens, held against what a supplier says that it used.

Where `tokenizers` names a model's tokenizer, each answer's prompt and output are counted again by it. A supplier may
be a little off, since a model can write a word in other pieces than its tokenizer would, and a prompt may be laid
out by another version of the template; more than the tolerance is `wrong` (rule 6.2), and not paid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from pocketnode.errors import BadInput, PocketError
from pocketnode.gateway.metrics import Metrics

if TYPE_CHECKING:
    from pocketnode.services.tokenizing import ModelTokenizer

# What a supplier may say above our own count: a share of it, and some tokens besides.
SHARE: Final = 0.10
OUTPUT_SLACK: Final = 8  # for each choice: end marks, a stop string, a letter cut in two
PROMPT_SLACK: Final = 8
# Without the chat template: what it may put around each message, and at its beginning.
MESSAGE_SLACK: Final = 12
PREAMBLE_SLACK: Final = 64
# Requests that constrain the output: its words are then written in other pieces, at most one for each byte.
CONSTRAINTS: Final = frozenset(
    {"grammar", "json_schema", "response_format", "logit_bias", "tools", "functions", "structured_outputs"}
)
INLINE_CHARS_MOST: Final = 4_096  # a millisecond; more is counted in a thread
# How models commonly write a tool call around its name and arguments, of which the answer shows no more.
CALL_FORM: Final = '<tool_call>\n{"name": "", "arguments": }\n</tool_call>\n'
_WITHOUT: Final = ("tools", "functions", "response_format")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Told:
    """What a supplier says: tokens of prompt and output."""

    supplier: str
    prompt: int
    output: int


@dataclass(frozen=True, slots=True)
class Most:
    """The most tokens that are believed; None for what cannot be counted here."""

    prompt: int | None
    output: int | None

    def allows(self, told: Told) -> bool:
        """Return whether what was told is within it."""
        return (self.prompt is None or told.prompt <= self.prompt) and (
            self.output is None or told.output <= self.output
        )


class Recount:
    """Counts again. One for the daemon; `tokenizers` by the model's name."""

    def __init__(self, tokenizers: Mapping[str, ModelTokenizer], metrics: Metrics) -> None:
        self._tokenizers = tokenizers
        self._metrics = metrics

    def adopt(self, other: Recount) -> None:
        """Count with another's tokenizers from now on."""
        self._tokenizers = other._tokenizers

    def covers(self, model: str) -> bool:
        """Return whether answers of a model are counted again."""
        return model in self._tokenizers

    async def agrees(self, model: str, path: str, body: bytes, texts: list[str] | None, told: Told) -> bool:
        """Return whether a supplier's count can be true; a disagreement is logged and counted.

        Parameters
        ----------
        body : the request.
        texts : what each choice says, by `texts_of`; None where that is not known.
        """
        tokenizer = self._tokenizers.get(model)
        if tokenizer is None:
            return True
        if len(body) + sum(map(len, texts or ())) > INLINE_CHARS_MOST:
            most = await asyncio.to_thread(most_of, tokenizer, path, body, texts)
        else:
            most = most_of(tokenizer, path, body, texts)
        agreed = most.allows(told)
        self._metrics.recounts[(model, "agrees" if agreed else "disagrees")] += 1
        if not agreed:
            log.warning(
                "token count disagrees",
                model=model,
                supplier=told.supplier,
                told_prompt=told.prompt,
                told_output=told.output,
                most_prompt=most.prompt,
                most_output=most.output,
            )
        return agreed

    def cut(self, model: str, supplier: str, told_units: int, most_units: int) -> None:
        """Log and count a stream that was cut, and for which its supplier signed more than its events come to."""
        self._metrics.recounts[(model, "disagrees")] += 1
        log.warning("units of a cut stream", model=model, supplier=supplier, told=told_units, most=most_units)


def recount_of(files: Mapping[str, Path], metrics: Metrics) -> Recount:
    """Return what counts again by the tokenizers in these files.

    Raises
    ------
    ConfigError
        one is missing or broken.
    """
    if not files:
        return Recount({}, metrics)
    from pocketnode.services.tokenizing import ModelTokenizer  # 6 MiB, for gateways that count

    return Recount({model: ModelTokenizer.load(path) for model, path in files.items()}, metrics)


def most_of(tokenizer: ModelTokenizer, path: str, body: bytes, texts: list[str] | None) -> Most:
    """Return the most tokens of prompt and output that are believed."""
    fields = orjson.loads(body)
    output = None
    if texts is not None and fields.get("best_of", 1) in (None, 1):
        constrained = _constrained(fields)
        counted = (len(text.encode()) if constrained else _above(tokenizer.count(text)) for text in texts)
        output = sum(one + OUTPUT_SLACK for one in counted)
    if path == "/v1/embeddings":
        output = 0
    try:
        return Most(_prompt_most(tokenizer, path, fields), output)
    except BadInput:
        return Most(None, output)


def texts_of(choices: Any) -> list[str] | None:
    """Return what each choice of an answer says, with its reasoning and tool calls; None where it is no list.

    >>> texts_of([{"message": {"content": "Hi", "reasoning_content": "hm"}}, {"text": "there"}])
    ['Hihm', 'there']
    """
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        return None
    return ["".join(_pieces(choice)) for choice in choices]


def texts_of_stream(chunks: list[dict[str, Any]]) -> list[str]:
    """Return what each choice says of a stream that came in these chunks.

    >>> texts_of_stream([{"choices": [{"index": 0, "delta": {"content": "H"}}]}, {"choices": [{"text": "i"}]}])
    ['Hi']
    """
    said: dict[Any, list[str]] = {}
    for chunk in chunks:
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                index = choice.get("index", 0)
                said.setdefault(index if isinstance(index, int) else 0, []).extend(_pieces(choice))
    return ["".join(pieces) for pieces in said.values()]


def _pieces(choice: dict[str, Any]) -> list[str]:
    said = choice.get("message") or choice.get("delta") or {}
    pieces = [choice.get("text")]
    if isinstance(said, dict):
        pieces += [said.get(name) for name in ("content", "reasoning_content", "reasoning", "refusal")]
        calls = [call.get("function") for call in said.get("tool_calls") or () if isinstance(call, dict)]
        calls.append(said.get("function_call"))
        called = [call for call in calls if isinstance(call, dict)]
        pieces += [call.get(name) for call in called for name in ("name", "arguments")]
        pieces += [CALL_FORM for call in called if call.get("name")]
    return [piece for piece in pieces if isinstance(piece, str)]


def _constrained(fields: dict[str, Any]) -> bool:
    return any(value and (name in CONSTRAINTS or name.startswith("guided_")) for name, value in fields.items())


def _above(counted: int) -> int:
    return counted + int(counted * SHARE)


def _prompt_most(tokenizer: ModelTokenizer, path: str, fields: dict[str, Any]) -> int | None:
    if path != "/v1/chat/completions":
        return _inputs_most(tokenizer, fields.get("prompt") or fields.get("input"))
    messages = [_plain(message) for message in fields["messages"]]
    if any(message is None for message in messages):
        return None  # an image or a sound: its tokens are not for a tokenizer
    plain = [message for message in messages if message is not None]
    extras = [fields[name] for name in _WITHOUT if fields.get(name)]
    # What describes tools and formats is laid out by each engine in its own way, up to twice.
    extra = 2 * sum(tokenizer.count(orjson.dumps(one).decode()) for one in extras) + 256 * len(extras)
    return _above(_chat_tokens(tokenizer, plain)) + PROMPT_SLACK + extra


def _chat_tokens(tokenizer: ModelTokenizer, messages: list[dict[str, Any]]) -> int:
    if tokenizer.has_template:
        try:
            return tokenizer.count(tokenizer.chat(messages))
        except PocketError:
            pass  # an engine that lays them out otherwise: counted as without a template
    text = "".join(str(message["content"]) for message in messages)
    return tokenizer.count(text) + MESSAGE_SLACK * len(messages) + PREAMBLE_SLACK


def _plain(message: dict[str, Any]) -> dict[str, Any] | None:
    """Return a message with all that it says as text; None where it has more than text."""
    content, calls = message.get("content"), message.get("tool_calls")
    if isinstance(content, list):
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            return None
        content = "\n".join(part["text"] for part in content)
    said = content if isinstance(content, str) else ""
    return {"role": message.get("role"), "content": said + (orjson.dumps(calls).decode() if calls else "")}


def _inputs_most(tokenizer: ModelTokenizer, given: Any) -> int | None:
    """Return the most tokens of a prompt or input: a text, token numbers, or several of either."""
    if isinstance(given, str):
        return _above(tokenizer.count(given)) + PROMPT_SLACK
    if not isinstance(given, list):
        return None
    if all(isinstance(one, int) for one in given):
        return len(given) + PROMPT_SLACK
    counted = [_inputs_most(tokenizer, one) for one in given]
    return None if any(one is None for one in counted) else sum(one or 0 for one in counted)
