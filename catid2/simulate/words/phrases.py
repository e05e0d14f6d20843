"""How each language puts words together: titles, bullet points, descriptions, queries and reviews."""

from typing import NamedTuple


class Language(NamedTuple):
    """The phrases of one locale. `{}` stands for the word; slots are those of `attributes.SLOTS`."""

    gap: str  # between sentences
    title_orders: tuple[str, ...]  # the parts of a title, space-separated
    query_order: str
    in_title: dict[str, str]  # how a part is said in a title or query, where it is not the bare word
    bullets: dict[str, tuple[str, ...]]  # say an attribute by its name
    sentences: dict[str, tuple[str, ...]]  # say an attribute by its other name
    openings: tuple[str, ...]  # say the type by its other name
    pairings: tuple[str, ...]  # name a type of the complementary section
    filler_starts: tuple[str, ...]
    filler_ends: tuple[str, ...]
    marks: tuple[str, ...]  # before a bullet point
    query_extras: tuple[str, ...]
    attribute_names: dict[str, str]  # keys of `attrs` in ESCI-S
    review_titles: tuple[str, ...]
    review_texts: tuple[str, ...]
    review_date: str
    price: str


ENGLISH = Language(
    gap=" ",
    title_orders=(
        "brand audience feature color material type style size model",
        "brand type material style feature audience color size model",
        "feature material type brand audience style size color model",
    ),
    query_order="brand color material style feature type size audience",
    in_title={"audience": "for {}"},
    bullets={
        "color": ("Color: {}", "Comes in {}, true to the picture"),
        "material": ("Made of {}", "Material: {}, chosen with care"),
        "audience": ("Designed for {}", "A favorite with {}"),
        "size": ("Size: {}", "{}: please check before ordering"),
        "style": ("{} design that fits in anywhere", "Style: {}"),
        "feature": ("{}, so you can rely on it", "Feature: {}"),
    },
    sentences={
        "color": ("The {} finish looks great.", "You get it in {}."),
        "material": ("We use only {} here.", "Crafted with {} for comfort."),
        "audience": ("Ideal for {} of every kind.", "Loved by {}."),
        "size": ("It is {} in use.", "Supplied as {}."),
        "style": ("The look is {}.", "Add a {} touch."),
        "feature": ("It is {} by design.", "Being {}, it serves you daily."),
    },
    openings=("Meet our new {}.", "Looking for a {}? Here it is.", "This {} is our bestseller."),
    pairings=("Goes well with a {}.", "Not included: {}."),
    filler_starts=(
        "Our team",
        "The careful finish",
        "Every detail",
        "Years of experience",
        "Customer service",
        "Each order",
        "The simple shape",
        "Quality control",
        "This little helper",
        "Our promise",
    ),
    filler_ends=(
        "makes your day a little easier",
        "is there whenever you need it",
        "comes with a 30-day money back guarantee",
        "has been tested again and again",
        "makes it a perfect present for birthdays & holidays",
        "stands for value you can trust",
        "saves time and money",
        "will not let you down",
        'is "simply the best", our buyers say',
        "works at home, at work or on the road",
    ),
    marks=("", "✅ ", "★ ", "🟢 ", "【PREMIUM】 ", "- "),
    query_extras=("cheap", "best", "on sale", "gift", "under 20 dollars", "new", "near me", "top rated"),
    attribute_names={
        "color": "Color",
        "material": "Material",
        "audience": "Target Audience",
        "size": "Size",
        "style": "Style",
        "feature": "Special Feature",
        "brand": "Brand",
    },
    review_titles=(
        "Love it",
        "Just OK",
        "Great value",
        "Broke after a week",
        "As described",
        "Perfect gift 🎁",
    ),
    review_texts=(
        "Exactly what I was looking for. Would buy again!",
        'My husband said "not bad" and he never says that.',
        "Arrived late, box was damaged\nbut the item itself is fine.",
        "Smaller than I thought 🤔 still happy with it.",
        "Stopped working after two weeks & no answer from the seller.",
        "Bought two of these for my sister's family, they use them every day and we are all very pleased.",
        "Five stars ⭐⭐⭐⭐⭐",
        "It's fine for the price <br>nothing special.",
    ),
    review_date="Reviewed in the United States 🇺🇸 on {}",
    price="${}",
)

SPANISH = Language(
    gap=" ",
    title_orders=(
        "brand type material color audience feature style size model",
        "type brand audience color material style feature size model",
        "brand type feature style audience size material color model",
    ),
    query_order="type material color style feature audience size brand",
    in_title={"audience": "para {}", "material": "de {}"},
    bullets={
        "color": ("Color: {}", "Disponible en {}, fiel a la foto"),
        "material": ("Hecho de {}", "Material: {}, elegido con cuidado"),
        "audience": ("Diseñado para {}", "Pensado para {}"),
        "size": ("Tamaño: {}", "{}: compruebe antes de pedir"),
        "style": ("Diseño {} que encaja en cualquier lugar", "Estilo: {}"),
        "feature": ("{}, para que pueda confiar", "Característica: {}"),
    },
    sentences={
        "color": ("El acabado {} luce muy bien.", "Lo recibe en {}."),
        "material": ("Aquí solo usamos {}.", "Elaborado con {} para su comodidad."),
        "audience": ("Ideal para {}.", "Gusta mucho a {}."),
        "size": ("Formato {}.", "Se entrega en {}."),
        "style": ("El aspecto es {}.", "Añada un toque {}."),
        "feature": ("Es {} por diseño.", "Al ser {}, le acompaña a diario."),
    },
    openings=("Le presentamos: {}.", "¿Busca {}? Aquí está.", "Nuestro producto más vendido: {}."),
    pairings=("Combina bien con {}.", "No incluido: {}."),
    filler_starts=(
        "Nuestro equipo",
        "El acabado cuidado",
        "Cada detalle",
        "La experiencia de años",
        "El servicio al cliente",
        "Cada pedido",
        "La forma sencilla",
        "El control de calidad",
        "Este pequeño ayudante",
        "Nuestra promesa",
    ),
    filler_ends=(
        "le hace el día más fácil",
        "está ahí cuando lo necesita",
        "incluye 30 días de garantía de devolución",
        "se ha probado una y otra vez",
        "lo convierte en un regalo perfecto para cumpleaños y Navidad",
        "significa una calidad en la que confiar",
        "ahorra tiempo y dinero",
        "no le defraudará",
        'es "simplemente lo mejor", dicen los compradores',
        "sirve en casa, en el trabajo o de viaje",
    ),
    marks=("", "✅ ", "★ ", "🟢 ", "【CALIDAD】 ", "- "),
    query_extras=("barato", "mejor", "oferta", "regalo", "original", "nuevo", "2022", "rebajas"),
    attribute_names={
        "color": "Color",
        "material": "Material",
        "audience": "Público objetivo",
        "size": "Tamaño",
        "style": "Estilo",
        "feature": "Característica especial",
        "brand": "Marca",
    },
    review_titles=(
        "Me encanta",
        "Normalito",
        "Buena relación calidad-precio",
        "Se rompió",
        "Tal cual",
        "Regalo 🎁",
    ),
    review_texts=(
        "Justo lo que buscaba. ¡Volvería a comprarlo!",
        'Mi marido dijo "no está mal" y nunca lo dice.',
        "Llegó tarde, la caja dañada\npero el producto está bien.",
        "Más pequeño de lo que pensaba 🤔 pero contenta.",
        "Dejó de funcionar a las dos semanas y el vendedor no responde.",
        "Compré dos para la familia de mi hermana, los usan todos los días y estamos muy satisfechos.",
        "Cinco estrellas ⭐⭐⭐⭐⭐",
        "Bien por el precio <br>nada especial.",
    ),
    review_date="Revisado en España 🇪🇸 el {}",
    price="{} €",
)

JAPANESE = Language(
    gap="",
    title_orders=(
        "brand type audience material color feature style size model",
        "brand feature type color material size audience style model",
        "type material feature brand style audience color size model",
    ),
    query_order="brand type audience color material feature style size",
    in_title={"feature": "【{}】"},
    bullets={
        "color": ("カラー:{}", "色は{}、写真のとおりです"),
        "material": ("素材:{}", "【素材】厳選した{}を使用"),
        "audience": ("対象:{}", "【対象】{}におすすめ"),
        "size": ("サイズ:{}", "【サイズ】{}、ご注文前にご確認ください"),
        "style": ("デザイン:{}", "【スタイル】どこにでも合う{}"),
        "feature": ("特長:{}", "【特長】{}で安心"),
    },
    sentences={
        "color": ("{}の仕上げが美しいです。", "お届けするのは{}です。"),
        "material": ("{}だけを使っています。", "{}で快適に仕上げました。"),
        "audience": ("{}の方に最適です。", "{}に人気です。"),
        "size": ("{}でご使用いただけます。", "{}でお届けします。"),
        "style": ("見た目は{}です。", "{}な雰囲気を添えます。"),
        "feature": ("{}の設計です。", "{}なので毎日使えます。"),
    },
    openings=("新しい{}のご紹介です。", "{}をお探しですか。", "この{}は当店の人気商品です。"),
    pairings=("{}とよく合います。", "{}は付属しません。"),
    filler_starts=(
        "私たちのチームは",
        "丁寧な仕上げは",
        "すべての細部が",
        "長年の経験が",
        "カスタマーサービスは",
        "ご注文ごとに",
        "シンプルな形は",
        "品質管理は",
        "この小さな味方は",
        "当店の約束は",
    ),
    filler_ends=(
        "毎日を少し楽にします。",
        "必要な時にいつもそばにあります。",
        "30日間の返金保証が付きます。",
        "何度も試験されています。",
        "誕生日やクリスマスの贈り物に最適です。",
        "信頼できる価値の証です。",
        "時間とお金を節約します。",
        "期待を裏切りません。",
        "「最高」とお客様に言われています。",
        "家でも職場でも旅先でも使えます。",
    ),
    marks=("", "✅ ", "★ ", "🟢 ", "【高品質】", "・"),
    query_extras=("安い", "人気", "セール", "プレゼント", "おすすめ", "新品", "送料無料", "ランキング"),
    attribute_names={
        "color": "色",
        "material": "素材",
        "audience": "対象",
        "size": "サイズ",
        "style": "スタイル",
        "feature": "特徴",
        "brand": "ブランド",
    },
    review_titles=("とても良い", "普通です", "コスパ最高", "すぐ壊れました", "写真どおり", "贈り物に 🎁"),
    review_texts=(
        "探していたものでした。また買います!",
        "主人が「悪くない」と言いました。",
        "届くのが遅く、箱がつぶれていました\nが、品物は問題ありません。",
        "思ったより小さい 🤔 でも満足です。",
        "二週間で動かなくなり、販売者からの返事がありません。",
        "妹の家族に二つ買いました。毎日使っていて、みんなとても喜んでいます。",
        "星五つ ⭐⭐⭐⭐⭐",
        "値段なり <br>特別なことはありません。",
    ),
    review_date="{}に日本でレビュー済み 🇯🇵",
    price="¥{}",
)

LANGUAGES = {"us": ENGLISH, "es": SPANISH, "jp": JAPANESE}
