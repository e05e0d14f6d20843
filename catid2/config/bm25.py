"""Settings of `search_bm25`, the lexical baseline. The paper gives none; the defaults are Lucene's."""

from typing import Literal

from pydantic import Field

from catid2.config.base import StageConfig
from catid2.config.template import WITH_CATEGORY, TemplateText, Tokenizer


class Bm25Config(StageConfig):
    """What is indexed, how it is split into words, and how it is scored."""

    template: TemplateText = Field(
        WITH_CATEGORY, description="The indexed text, written like the template of a view."
    )
    max_characters: int = Field(4000, ge=1, description="The text is cut to this many characters.")
    tokenizer: Tokenizer = Field(
        "words_cjk_bigrams",
        description="How documents and queries are split. `words`: lower-cased Unicode words; in Thai, Lao, Khmer "
        "and Burmese, the text between two spaces. `words_cjk_bigrams`: also pairs of characters in runs of Han, "
        "kana and Hangul. No stop words, no stemming.",
    )
    method: Literal["lucene", "robertson", "atire"] = Field(
        "lucene",
        description="Variant of the formula (Kamphuis et al., ECIR 2020). The IDF is never below 0; it is 0 for a "
        "word in half of the documents or more (`robertson`) or in all of them (`atire`). Only documents that score "
        "above 0 are listed, so a query of such words has few results or none.",
    )
    k1: float = Field(1.2, ge=0, description="Saturation of the term frequency.")
    b: float = Field(0.75, ge=0, le=1, description="Share of the normalisation by document length.")
    top_k: int = Field(100, ge=1, description="Documents listed per query.")

    def note(self) -> str:
        """Return what a reader of a BM25 figure must know: variant, tokenizer, k1, b and the indexed text."""
        return (
            f"BM25 ({self.method}), tokenizer {self.tokenizer}, k1 {self.k1:g}, b {self.b:g}, "
            f"text {self.template!r}"
        )
