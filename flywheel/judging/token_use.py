"""What asking a judge has used."""

from __future__ import annotations

import msgspec


class TokenUse(msgspec.Struct, frozen=True):
    """Tokens of prompts and of answers, as the judge's own answers state them; one that states none adds nothing."""

    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: TokenUse) -> TokenUse:
        return TokenUse(self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out)

    def __sub__(self, other: TokenUse) -> TokenUse:
        return TokenUse(self.tokens_in - other.tokens_in, self.tokens_out - other.tokens_out)
