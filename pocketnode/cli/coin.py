"""Amounts as people read them: in whole tokens with the token's symbol. Programs get base units, a plain number."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from pocketnode.chain.errors import Reverted
from pocketnode.chain.reader import Reader


@dataclass(frozen=True, slots=True)
class Coin:
    """The token that a deployment pays in. `decimals` is how many digits of its base units lie behind the point."""

    symbol: str
    decimals: int

    def shown(self, amount: int) -> str:
        """Return an amount of base units in whole tokens, every digit kept.

        >>> Coin("TOK", 6).shown(1_234_500_000)
        '1,234.5 TOK'
        """
        whole = Decimal(amount).scaleb(-self.decimals)
        text = f"{whole:,f}"
        return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {self.symbol}"


class Amount(int):
    """Base units that print in whole tokens; as JSON they are the number they are."""

    coin: Coin
    suffix: str

    def __new__(cls, amount: int, coin: Coin, suffix: str = "") -> Self:
        made = super().__new__(cls, amount)
        made.coin, made.suffix = coin, suffix
        return made

    def __str__(self) -> str:
        return self.coin.shown(int(self)) + self.suffix


def price(amount: int, coin: Coin) -> Amount:
    """Return a price, which is base units for a million compute units, as it is printed."""
    return Amount(amount, coin, " per million units")


async def coin_of(reader: Reader) -> Coin:
    """Return the token of a deployment; one that does not name itself is counted in base units."""
    try:
        (symbol,) = await reader.call("TestToken", "symbol")
        (decimals,) = await reader.call("TestToken", "decimals")
    except Reverted:
        return Coin("base units", 0)
    return Coin(str(symbol), int(decimals))
