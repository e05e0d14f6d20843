"""Attribute values, and which of them apply to which family of product types. Format: see `words.tables`."""

# One group of values per heading; a family takes at most one group per slot (`FAMILIES`).
VALUES = """
# color
black = jet | negro = azabache | ブラック = 黒
white = ivory | blanco = marfil | ホワイト = 白
red = crimson | rojo = carmesí | レッド = 赤
blue = azure | azul = celeste | ブルー = 青
navy = dark blue | azul marino = azul oscuro | ネイビー = 紺
green = emerald | verde = esmeralda | グリーン = 緑
pink = rose | rosa = fucsia | ピンク = 桃色
purple = violet | morado = violeta | パープル = 紫
yellow = lemon | amarillo = limón | イエロー = 黄色
orange = tangerine | naranja = mandarina | オレンジ = 橙
brown = chocolate toned | marrón = café | ブラウン = 茶色
gray = charcoal | gris = ceniza | グレー = 灰色
beige = sand | beis = arena | ベージュ = 肌色
gold = golden | dorado = color oro | ゴールド = 金色
silver = metallic | plateado = metalizado | シルバー = 銀色
multicolor = rainbow | multicolor = arcoíris | マルチカラー = 虹色
# fabric
cotton = pure cotton | algodón = algodón puro | コットン = 綿
linen = flax | lino = hilo de lino | リネン = 麻
wool = merino | lana = merino | ウール = 羊毛
polyester = synthetic | poliéster = sintético | ポリエステル = 化繊
silk = satin | seda = satén | シルク = 絹
denim = jean fabric | tela vaquera = mezclilla | デニム = ジーンズ生地
leather = cowhide | piel = cuero | レザー = 本革
fleece = sherpa | forro polar = borreguito | フリース = 起毛
nylon = ripstop | nailon = poliamida | ナイロン = 合成繊維
bamboo fiber = viscose | fibra de bambú = viscosa | 竹繊維 = ビスコース
# solid
stainless steel = inox | acero inoxidable = inox | ステンレス = 鋼
aluminum = alloy | aluminio = aleación | アルミ = 軽金属
plastic = resin | plástico = resina | プラスチック = 樹脂
oak wood = timber | madera de roble = madera maciza | オーク材 = 木製
bamboo = cane | bambú = caña | 竹 = バンブー
glass = crystal | vidrio = cristal | ガラス = 硝子
ceramic = porcelain | cerámica = porcelana | セラミック = 陶器
silicone = soft rubber | silicona = goma blanda | シリコン = ゴム製
cast iron = heavy metal | hierro fundido = hierro colado | 鋳鉄 = 鉄製
rattan = wicker | ratán = mimbre | ラタン = 籐
# precious
sterling silver = 925 | plata de ley = plata 925 | スターリングシルバー = 925銀
rose gold = pink plated | oro rosa = chapado rosado | ピンクゴールド = 桃金
titanium = hypoallergenic metal | titanio = metal antialérgico | チタン = 軽量金属
pearl = nacre | perla = nácar | パール = 真珠
zirconia = sparkling stone | circonita = piedra brillante | ジルコニア = 人工ダイヤ
# ingredient
aloe vera = aloe gel | aloe vera = sábila | アロエ = アロエベラ
argan oil = moroccan oil | aceite de argán = aceite marroquí | アルガンオイル = モロッコ油
coconut = coco | coco = leche de coco | ココナッツ = 椰子
shea butter = karite | manteca de karité = karité | シアバター = カリテ
hyaluronic acid = ha serum | ácido hialurónico = hialurónico | ヒアルロン酸 = ヒアル
vitamin c = ascorbic | vitamina c = ascórbico | ビタミンC = アスコルビン酸
lavender = lavandin | lavanda = espliego | ラベンダー = 薫衣草
charcoal = activated carbon | carbón = carbón activado | 炭 = 活性炭
# adults
women = ladies | mujer = señora | レディース = 女性用
men = gents | hombre = caballero | メンズ = 男性用
girls = young ladies | niña = chica | ガールズ = 女の子
boys = young lads | niño = chico | ボーイズ = 男の子
seniors = elderly | mayores = tercera edad | シニア = 高齢者
# children
toddlers = little ones | bebés = pequeños | 幼児 = 赤ちゃん
preschoolers = 3 to 5 years | preescolares = 3 a 5 años | 園児 = 三歳
school kids = children | escolares = niños | 小学生 = 子供
teens = teenagers | adolescentes = jóvenes | 中高生 = 十代
whole family = all ages | toda la familia = todas las edades | 家族 = 全年齢
# animals
puppies = young dogs | cachorros = perritos | 子犬 = パピー
large breeds = big dogs | razas grandes = perros grandes | 大型犬 = 大きい犬
kittens = young cats | gatitos = crías de gato | 子猫 = キトン
senior pets = old animals | mascotas mayores = animales viejos | 老犬 = 高齢ペット
indoor cats = house cats | gatos de interior = gatos caseros | 室内猫 = 家猫
# readers
beginners = newbies | principiantes = novatos | 初心者 = 入門
experts = advanced | expertos = avanzados | 上級者 = エキスパート
teachers = educators | profesores = docentes | 教師 = 先生
young readers = kids | jóvenes lectores = niños | 子供 = キッズ
# garment size
small = size s | talla pequeña = talla s | Sサイズ = 小さめ
medium = size m | talla mediana = talla m | Mサイズ = 普通サイズ
large = size l | talla grande = talla l | Lサイズ = 大きめ
extra large = xl | talla extragrande = xl | XLサイズ = 特大
plus size = curvy | tallas grandes = curvy | 大きいサイズ = プラスサイズ
petite = short length | talla petite = corte corto | 小柄サイズ = プチサイズ
# format size
mini = tiny | mini = diminuto | ミニ = 小型
compact = space saving | compacto = ahorra espacio | コンパクト = 省スペース
extra long = xxl length | extralargo = longitud xxl | ロング = 長い
oversized = jumbo | gigante = tamaño xxl | 特大 = ジャンボ
king size = double wide | tamaño king = extra ancho | キングサイズ = 幅広
# pack
pack of 2 = twin pack | pack de 2 = lote doble | 2個セット = 二個入り
pack of 6 = half dozen | pack de 6 = media docena | 6個セット = 半ダース
pack of 12 = dozen | pack de 12 = docena | 12個セット = 1ダース
travel size = pocket sized | tamaño viaje = de bolsillo | トラベルサイズ = 携帯用
family size = bulk | tamaño familiar = a granel | ファミリーサイズ = 大容量
refill = replacement pack | recambio = recarga | 詰め替え = 補充用
# fashion style
casual = everyday | informal = de diario | カジュアル = 普段着
elegant = dressy | elegante = de vestir | エレガント = 上品
vintage = retro | vintage = retro | ヴィンテージ = レトロ
bohemian = boho | bohemio = boho | ボヘミアン = ボーホー
classic = timeless | clásico = atemporal | クラシック = 定番
floral = flower print | floral = estampado de flores | 花柄 = フローラル
striped = stripes | a rayas = rayado | ボーダー = 縞模様
# home style
modern = contemporary | moderno = contemporáneo | モダン = 現代的
rustic = farmhouse | rústico = campestre | カントリー = 田舎風
industrial = loft | industrial = estilo loft | インダストリアル = 工業風
scandinavian = nordic | escandinavo = nórdico | 北欧風 = スカンジナビア
minimalist = simple design | minimalista = diseño sencillo | ミニマル = シンプル
japanese style = zen | estilo japonés = zen | 和風 = 和モダン
# taste
spicy = hot | picante = con chile | 辛口 = スパイシー
sweet = sugary | dulce = azucarado | 甘口 = 甘い
salted = savory | salado = con sal | 塩味 = しょっぱい
smoked = smoky | ahumado = sabor a humo | 燻製 = スモーク
vanilla flavor = vanilla taste | sabor vainilla = vainillado | バニラ味 = バニラ風味
strawberry flavor = berry taste | sabor fresa = sabor a bayas | いちご味 = ストロベリー
# edition
hardcover = hardback | tapa dura = cartoné | ハードカバー = 上製本
paperback = softcover | tapa blanda = rústica | ペーパーバック = 並製本
illustrated = with drawings | ilustrado = con láminas | イラスト入り = 図解
large print = big letters | letra grande = texto ampliado | 大活字 = 大きな文字
# electronic
wireless = cordless | inalámbrico = sin cables | ワイヤレス = 無線
rechargeable = usb powered | recargable = con batería | 充電式 = USB充電
noise cancelling = soundproof | cancelación de ruido = insonorizado | ノイズキャンセリング = 防音
fast charging = quick charge | carga rápida = carga turbo | 急速充電 = クイックチャージ
waterproof = water resistant | resistente al agua = sumergible | 防水 = 耐水
voice control = smart assistant | control por voz = asistente inteligente | 音声操作 = スマート対応
night light = glow in the dark | con luz = brilla en la oscuridad | 夜光 = 光る
# outdoor
windproof = wind blocking | cortavientos = contra el viento | 防風 = 風よけ
lightweight = ultralight | ligero = ultraligero | 軽量 = 軽い
foldable = collapsible | plegable = desmontable | 折りたたみ = 畳める
breathable = ventilated | transpirable = ventilado | 通気性 = 蒸れない
insulated = thermal | aislante = térmico | 保温 = 断熱
quick drying = fast dry | secado rápido = seca al momento | 速乾 = すぐ乾く
heavy duty = sturdy | reforzado = resistente | 頑丈 = 丈夫
# household
dishwasher safe = machine washable | apto para lavavajillas = lavable a máquina | 食洗機対応 = 洗える
non slip = anti skid | antideslizante = no resbala | 滑り止め = ノンスリップ
adjustable = customizable height | ajustable = regulable | 調節可能 = 高さ調整
stackable = nesting | apilable = encajable | 積み重ね可能 = スタッキング
easy assembly = tool free | fácil montaje = sin herramientas | 簡単組立 = 工具不要
scratch resistant = scuff proof | resistente a rayones = antiarañazos | 傷防止 = 耐擦傷
# pure
organic = bio | ecológico = bio | オーガニック = 有機
fragrance free = unscented | sin perfume = sin olor | 無香料 = 香りなし
vegan = plant based | vegano = de origen vegetal | ビーガン = 植物性
gluten free = celiac friendly | sin gluten = apto para celíacos | グルテンフリー = 小麦不使用
sensitive skin = gentle | piel sensible = suave | 敏感肌用 = 低刺激
long lasting = all day | larga duración = todo el día | 長持ち = 一日中
sugar free = no added sugar | sin azúcar = sin azúcares añadidos | 無糖 = 砂糖不使用
# play
educational = learning | educativo = para aprender | 知育 = 学習
handmade = artisan | hecho a mano = artesanal | 手作り = ハンドメイド
magnetic = magnet closure | magnético = con imán | マグネット式 = 磁石付き
washable = easy clean | lavable = fácil de limpiar | 丸洗い可 = 手入れ簡単
battery free = manual | sin pilas = manual | 電池不要 = 手動
gift boxed = present ready | en caja de regalo = para regalar | ギフト箱入り = 贈答用
"""

SLOTS = ("color", "material", "audience", "size", "style", "feature")

# Groups of values by family, in the order of SLOTS; "" = the slot does not apply.
FAMILIES = {
    "apparel": ("color", "fabric", "adults", "garment size", "fashion style", "outdoor"),
    "ornament": ("color", "precious", "adults", "", "fashion style", "play"),
    "device": ("color", "solid", "", "format size", "", "electronic"),
    "appliance": ("color", "solid", "", "format size", "home style", "electronic"),
    "stationery": ("color", "solid", "children", "pack", "", "play"),
    "hardware": ("color", "solid", "", "format size", "", "outdoor"),
    "furnishing": ("color", "solid", "", "format size", "home style", "household"),
    "textile": ("color", "fabric", "", "format size", "home style", "household"),
    "kitchenware": ("color", "solid", "", "pack", "home style", "household"),
    "cosmetic": ("color", "ingredient", "adults", "pack", "", "pure"),
    "hygiene": ("", "ingredient", "adults", "pack", "", "pure"),
    "nutrition": ("", "", "adults", "pack", "taste", "pure"),
    "sportgear": ("color", "solid", "adults", "format size", "", "outdoor"),
    "toy": ("color", "solid", "children", "format size", "", "play"),
    "nursery": ("color", "fabric", "", "format size", "", "outdoor"),
    "pet": ("color", "solid", "animals", "format size", "", "household"),
    "food": ("", "", "", "pack", "taste", "pure"),
    "book": ("", "", "readers", "", "edition", ""),
}
