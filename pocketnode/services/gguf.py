"""The tokenizer that lies in the head of a GGUF file, as the two files in which others keep theirs.

The package `gguf` reads such a head in four seconds, since it maps each of 100,000 strings into an array; what is
needed here are its key-value pairs alone, in a tenth of a second.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO, Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from pocketnode.errors import ConfigError

TOKENIZER_FILE: Final = "tokenizer.json"
TEMPLATE_FILE: Final = "chat_template.jinja"

_HEAD: Final = struct.Struct("<4sIQQ")  # magic, version, tensors, pairs
_NUMBERS: Final = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING: Final = 8
_ARRAY: Final = 9
_STRING_BYTES_MOST: Final = 16 * 1024 * 1024
_ITEMS_MOST: Final = 10_000_000
_CONTROL: Final = 3  # token type

# How text is cut before pairs are merged, by the file's `tokenizer.ggml.pre`.
_SPLITS: Final = {
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
}
_ONE_DIGIT: Final = ("smollm", "starcoder", "refact", "command-r")


def read_head(path: Path) -> dict[str, Any]:
    """Return the key-value pairs at the beginning of a GGUF file.

    Raises
    ------
    ConfigError
        it cannot be read, or is none.
    """
    try:
        with path.open("rb") as file:
            magic, version, _, pairs = _HEAD.unpack(file.read(_HEAD.size))
            if magic != b"GGUF" or version not in (2, 3):
                raise ConfigError(f"{path} is no GGUF file of version 2 or 3")
            return dict(_pair(file) for _ in range(pairs))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: name a readable GGUF file") from error
    except (struct.error, KeyError, ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the head of the GGUF file is broken") from error


def tokenizer_of(head: dict[str, Any], where: str) -> Tokenizer:
    """Return the tokenizer that a GGUF head describes.

    Raises
    ------
    ConfigError
        it is of a family that is not known here: the model's own tokenizer.json must be used.
    """
    family, pre = head.get("tokenizer.ggml.model"), head.get("tokenizer.ggml.pre", "default")
    cut = _cut(str(pre))
    if family != "gpt2" or cut is None:
        raise ConfigError(
            f"{where}: a tokenizer of family {family}/{pre} is not read: take the model's {TOKENIZER_FILE}"
        )
    tokens: list[str] = head["tokenizer.ggml.tokens"]
    merges = [(left, right) for left, _, right in (m.partition(" ") for m in head["tokenizer.ggml.merges"])]
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    kinds = head.get("tokenizer.ggml.token_type", [])
    controls = [token for token, kind in zip(tokens, kinds, strict=False) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in controls])
    return tokenizer


def write_tokenizer(model: Path, folder: Path) -> list[Path]:
    """Write the tokenizer in a GGUF file, and its chat template if there is one, into a folder; return the files.

    Raises
    ------
    ConfigError
        as `read_head` and `tokenizer_of`.
    """
    head = read_head(model)
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / TOKENIZER_FILE]
    tokenizer_of(head, str(model)).save(str(written[0]), pretty=False)
    if (template := head.get("tokenizer.chat_template")) is not None:
        written.append(folder / TEMPLATE_FILE)
        written[1].write_text(template)
    return written


def _cut(pre: str) -> pre_tokenizers.PreTokenizer | None:
    if pre in _ONE_DIGIT:
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    if pre in _SPLITS:
        split = pre_tokenizers.Split(Regex(_SPLITS[pre]), "isolated")
        return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return pre_tokenizers.ByteLevel(add_prefix_space=False) if pre in ("gpt-2", "default") else None


def _pair(file: BinaryIO) -> tuple[str, Any]:
    name = _string(file)
    return name, _value(file, _number(file, "<I"))


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        return _number(file, _NUMBERS[kind])
    of, count = _number(file, "<I"), _number(file, "<Q")
    if count > _ITEMS_MOST or of == _ARRAY:
        raise ValueError(f"an array of {count} items")
    return [_value(file, of) for _ in range(count)]


def _string(file: BinaryIO) -> str:
    size = _number(file, "<Q")
    if size > _STRING_BYTES_MOST:
        raise ValueError(f"a string of {size} bytes")
    return file.read(size).decode()


def _number(file: BinaryIO, layout: str) -> Any:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))[0]
