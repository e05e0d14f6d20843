"""Invented brands: a first and a last part, each in Latin letters and in katakana."""

_FIRST = (
    "Nor ノル|Kan カン|Vel ヴェル|Tas タス|Lum ルム|Mori モリ|Ad アド|Ster ステル|Brik ブリク|Cal カル|Dex デクス|"
    "Fen フェン|Gal ガル|Hiro ヒロ|Isa イサ|Jun ジュン|Ked ケド|Lor ロル|Mak マク|"
    "Nex ネクス|Oak オーク|Pim ピム|Quo クオ|Rav ラヴ"
)
_LAST = (
    "vela ヴェラ|tero テロ|mira ミラ|don ドン|wick ウィック|sano サノ|lux ルクス|field フィールド|co コ|nova ノヴァ|"
    "ray レイ|gear ギア|home ホーム|lin リン|max マックス|pura プラ|dell デル|zen ゼン|berg ベルグ|kita キタ"
)


def brands() -> tuple[tuple[str, str], ...]:
    """Return all brands as (Latin, katakana)."""
    first = [part.split(" ") for part in _FIRST.split("|")]
    last = [part.split(" ") for part in _LAST.split("|")]
    return tuple((a + b, kana_a + kana_b) for a, kana_a in first for b, kana_b in last)
