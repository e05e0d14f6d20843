"""ESCI-S: one JSON object per product id, with the category path, attributes and reviews, as scraped."""

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from catid2.simulate.catalogue import BRAND, Catalogue
from catid2.simulate.draws import Draws
from catid2.simulate.texts import Texts
from catid2.simulate.tree import Tree, category_paths
from catid2.simulate.words import LANGUAGES, LOCALES, SLOTS

if TYPE_CHECKING:
    from catid2.config.simulate import SimulateConfig

_TAG = re.compile(r"<[^>]+>")
_REVIEW_POOL = 256  # distinct reviews of a locale


class RecordMaker:
    """Makes the records of one locale's products, any rows at a time."""

    def __init__(self, catalogue: Catalogue, config: "SimulateConfig", tree: Tree, draws: Draws):
        self._catalogue, self._config, self._tree, self._draws = catalogue, config, tree, draws
        self._column = LOCALES.index(catalogue.locale)
        self._language = LANGUAGES[catalogue.locale]
        self._value_names = [word.names[self._column] for word in tree.values]
        self._reviews = self._review_pool()

    def has_record(self, rows: np.ndarray, first: int) -> np.ndarray:
        """Return which rows have a record here; ids below `first` have theirs in an earlier locale."""
        identity = self._catalogue.identity[rows]
        return self._draws.happens("records", identity, self._config.record_share) & (identity >= first)

    def lines(self, rows: np.ndarray, ids: list[str], texts: Texts) -> bytes:
        """Return the records of these rows as JSON lines; `ids` and `texts` are those of the same rows."""
        catalogue, kind = self._catalogue, self._catalogue.type[rows]
        attributes = catalogue.attributes[rows]
        section, depth = catalogue.section[rows], self._depths(rows, kind)
        paths = category_paths(self._tree, catalogue.locale, kind, section, attributes, depth)
        columns = (
            self._tree.is_book[kind].tolist(),
            attributes.tolist(),
            (2.5 + 0.1 * self._choice("stars", rows, 26)).tolist(),
            (10 ** (4 * self._uniform("ratings", rows))).astype(np.int64).tolist(),
            (3 + 400 * self._uniform("price", rows) ** 4).tolist(),
            self._reviews_of(rows),
            texts.title.to_pylist(),
            texts.description.to_pylist(),
            texts.bullets.to_pylist(),
        )
        records = (self._record(*fields) for fields in zip(ids, paths, *columns, strict=True))
        return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records).encode()

    def _record(
        self,
        asin: str,
        path: list[str],
        book: bool,
        values: list[int],
        stars: float,
        ratings: int,
        price: float,
        reviews: list[dict[str, str]],
        title: str,
        description: str | None,
        bullets: str | None,
    ) -> dict[str, Any]:
        """Return one record, its keys in the order of the real ones."""
        rated = f"{stars:.1f} out of 5 stars"
        brand = self._tree.brands[values[BRAND]][0] if values[BRAND] >= 0 else ""
        record = {
            "type": "book" if book else "product",
            "locale": self._catalogue.locale,
            "asin": asin,
            "title": title,
            "stars": rated,
            "ratings": f"{ratings:,} ratings",
            "category": path,
            "attrs": self._attrs(values, brand),
            "bullets": bullets.split("\n") if bullets else [],
            "description": _TAG.sub(" ", description) if description else "",
            "info": {"ASIN": asin, "Customer Reviews": f"{rated} {ratings:,} ratings"},
            "reviews": reviews,
            "price": self._language.price.format(f"{price:.2f}") if ratings > 5 else "",
            "formats": {"Paperback": f"{price:.2f}", "Kindle": f"{price / 2:.2f}"} if book else {},
            "template": "book" if book else "_".join(path[:1]).lower().replace(" ", "_"),
            "image": f"https://m.media-amazon.com/images/I/{asin[::-1]}.jpg",
        }
        return record | ({"subtitle": "", "author": brand, "review": ""} if book else {})

    def _uniform(self, what: str, rows: np.ndarray) -> np.ndarray:
        return self._draws.uniform(f"{self._catalogue.locale}/record/{what}", rows)

    def _choice(self, what: str, rows: np.ndarray, n: int) -> np.ndarray:
        return self._draws.choice(f"{self._catalogue.locale}/record/{what}", rows, n)

    def _depths(self, rows: np.ndarray, kind: np.ndarray) -> np.ndarray:
        """(n,) levels of each record's path: its type's, or cut to 0, 1 or 2."""
        cut = self._config.cut_paths
        bounds = np.cumsum([cut.none, cut.one, cut.two])
        level = np.searchsorted(bounds, self._uniform("cut", rows), side="right")
        return np.where(level < 3, level, self._tree.depth[kind])

    def _attrs(self, values: list[int], brand: str) -> dict[str, str]:
        names = self._language.attribute_names
        said = {
            names[slot]: self._value_names[value]
            for slot, value in zip(SLOTS, values, strict=False)
            if value >= 0
        }
        return said | ({names["brand"]: brand} if brand else {})

    def _review_pool(self) -> list[dict[str, str]]:
        index = np.arange(_REVIEW_POOL)
        language = self._language
        titles = self._choice("review-title", index, len(language.review_titles)).tolist()
        texts = self._choice("review-text", index, len(language.review_texts)).tolist()
        days = self._choice("review-day", index, 28).tolist()
        return [
            {
                "stars": f"{1 + n % 5}.0 out of 5 stars",
                "title": language.review_titles[title],
                "date": language.review_date.format(f"2022-0{1 + n % 9}-{day + 1:02d}"),
                "text": language.review_texts[text],
            }
            for n, (title, text, day) in enumerate(zip(titles, texts, days, strict=True))
        ]

    def _reviews_of(self, rows: np.ndarray) -> list[list[dict[str, str]]]:
        """Reviews of each row: about `config.reviews`, or enough to fill `config.big_record_bytes`."""
        counts = self._choice("reviews", rows, int(2 * self._config.reviews) + 1)
        size = np.mean([len(json.dumps(review, ensure_ascii=False).encode()) for review in self._reviews])
        big = self._uniform("big", rows) < self._config.big_record_share
        counts = np.where(big, int(self._config.big_record_bytes / size), counts)
        starts = self._choice("first-review", rows, _REVIEW_POOL)
        return [
            [self._reviews[(start + n) % _REVIEW_POOL] for n in range(count)]
            for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
        ]
