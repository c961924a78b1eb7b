"""What of texts can be set in a recipe, and what is known of a column of them."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from maquette.core.bounds import VOCABULARY, Length
from maquette.core.spec import ColumnSpec, TokenSpec


class Config(BaseModel):
    """data.text: what an item of a file is, what a token is, and how long a text may be."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    items: Literal["files", "lines"] = Field("files", description="lines: each line of a file is a text of its own")
    tokenizer: Literal["auto", "char", "bpe", "unigram"] = Field(
        "auto", description="what a token is; auto: characters up to 3 MB of text or for scripts without spaces"
    )
    vocab: int = Field(8000, ge=64, le=VOCABULARY, description="most tokens of a bpe or unigram tokenizer")
    joint: bool = Field(True, description="one vocabulary for all columns used, or one for each")
    lowercase: bool = Field(False, description="everything in lower case")
    context: Length = Field(256, ge=8, description="tokens of a long text that are seen at once")
    longest: Length = Field(512, ge=8, description="most tokens of a row; longer rows are left out")


class Spec(TokenSpec):
    """Tokens i64[L] of a trained tokenizer.

    unit:      what a token is
    tokenizer: as the JSON of the `tokenizers` library
    chars_per_token: characters of the training split over its tokens (reserved ones left out)
    """

    assets: ClassVar[tuple[str, ...]] = ("tokenizer",)

    kind: str = "text"
    unit: Literal["", "char", "bpe", "unigram"] = ""
    tokenizer: str = Field("", repr=False)
    chars_per_token: float = Field(1.0, ge=0)

    @model_validator(mode="after")
    def _has_the_tokens_of_its_tokenizer(self) -> Self:
        if self.tokenizer:
            from maquette.modalities.text.tokens import vocabulary  # torch, which listing recipes can do without

            if len(vocabulary(self.tokenizer)) != self.vocab:
                raise ValueError(f"vocab: the tokenizer has {len(vocabulary(self.tokenizer)):,} tokens")
        return self

    def same_tokens(self, other: ColumnSpec) -> bool:
        return isinstance(other, Spec) and (self.tokenizer, self.vocab) == (other.tokenizer, other.vocab)
