"""Product types of the departments clothing, shoes and bags, jewellery. Format: see `words.tables`."""

TABLE = """
# Clothing | Ropa | 服
## Dresses | Vestidos | ワンピース @apparel > Jewelry
summer dress = sundress | vestido de verano = vestido playero | サマードレス = 夏用ワンピース
evening gown = formal dress | vestido de noche = traje de gala | イブニングドレス = パーティードレス
wedding dress = bridal gown | vestido de novia = traje nupcial | ウェディングドレス = 花嫁衣装
shirt dress = button down dress | vestido camisero = camisa larga | シャツワンピース = 前開きワンピース
maxi skirt = long skirt | falda larga = pollera larga | マキシスカート = ロングスカート
## Shirts and Tops | Camisas y camisetas | トップス @apparel > Trousers
t-shirt = tee | camiseta = playera | Tシャツ = 半袖シャツ
blouse = dress top | blusa = camisola | ブラウス = 婦人シャツ
polo shirt = golf shirt | polo = niqui | ポロシャツ = 襟付きシャツ
sweater = jumper | jersey = suéter | セーター = ニット
tank top = sleeveless shirt | camiseta de tirantes = musculosa | タンクトップ = 袖なしシャツ
## Trousers | Pantalones | パンツ @apparel > Belts and Hats
jeans = denim pants | vaqueros = tejanos | ジーンズ = デニム
leggings = tights | mallas = calzas | レギンス = スパッツ
chino pants = khakis | pantalón chino = pantalón de pinzas | チノパン = 綿パン
shorts = short pants | pantalón corto = bermudas | ショートパンツ = 短パン
overalls = dungarees | peto = mono de trabajo | オーバーオール = サロペット
## Outerwear | Abrigos y chaquetas | アウター @apparel > Belts and Hats
rain jacket = raincoat | chubasquero = impermeable | レインジャケット = 雨合羽
puffer coat = down jacket | plumífero = abrigo acolchado | ダウンジャケット = 羽毛コート
trench coat = long overcoat | gabardina = trinchera | トレンチコート = 薄手コート
vest = gilet | chaleco = abrigo sin mangas | ベスト = チョッキ
## Underwear and Sleepwear | Ropa interior y pijamas | 下着とパジャマ @apparel > Bedding
pajama set = nightwear | pijama = ropa de dormir | パジャマ = 寝間着
bra = brassiere | sujetador = sostén | ブラジャー = ブラ
boxer briefs = underpants | calzoncillos = bóxer | ボクサーパンツ = 男性下着
crew socks = ankle stockings | calcetines = medias cortas | 靴下 = ソックス
bathrobe = dressing gown | albornoz = bata | バスローブ = ガウン
## Sportswear | Ropa deportiva | スポーツウェア @apparel > Fitness
track suit = jogging set | chándal = conjunto deportivo | ジャージ上下 = スウェット
sports bra = training top | sujetador deportivo = top de entrenamiento | スポーツブラ = 運動用ブラ
compression shirt = base layer | camiseta térmica = primera capa | コンプレッションシャツ = 加圧インナー
swimsuit = bathing suit | bañador = traje de baño | 水着 = スイムウェア
## Belts and Hats | Cinturones y gorros | 帽子とベルト @apparel > Outerwear
leather belt = waist strap | cinturón = correa | ベルト = 革帯
baseball cap = ball cap | gorra = cachucha | キャップ = 野球帽
beanie = knit hat | gorro de lana = gorro de punto | ニット帽 = ビーニー
scarf = neck wrap | bufanda = pañuelo | マフラー = 襟巻き
winter gloves = mittens | guantes = manoplas | 手袋 = グローブ

# Shoes and Bags | Zapatos y bolsos | 靴とバッグ
## Athletic Shoes | Zapatillas deportivas | スポーツシューズ @apparel > Shoe Care
running shoes = jogging sneakers | zapatillas para correr = deportivas de running | ランニングシューズ = 運動靴
sneakers = trainers | zapatillas = tenis | スニーカー = ズック
hiking shoes = trekking footwear | zapatillas de senderismo = calzado de trekking | 登山靴 = トレッキングシューズ
cleats = football boots | botas de fútbol = tacos | スパイク = サッカーシューズ
## Boots | Botas | ブーツ @apparel > Shoe Care
ankle boots = booties | botines = botas cortas | ショートブーツ = アンクルブーツ
rain boots = wellies | botas de agua = katiuskas | 長靴 = レインブーツ
snow boots = winter footwear | botas de nieve = descansos | スノーブーツ = 防寒靴
work boots = safety footwear | botas de trabajo = calzado de seguridad | 安全靴 = 作業靴
## Sandals and Slippers | Sandalias y pantuflas | サンダルとスリッパ @apparel > Shoe Care
flip flops = thongs | chanclas = ojotas | ビーチサンダル = 草履
slippers = house shoes | zapatillas de casa = pantuflas | スリッパ = 室内履き
wedge sandals = platform heels | sandalias de cuña = sandalias de plataforma | ウェッジサンダル = 厚底サンダル
clogs = garden mules | zuecos = suecos | クロッグ = つっかけ
## Handbags | Bolsos | ハンドバッグ @apparel > Jewelry
tote bag = shopper | bolso de mano = bolsa de compras | トートバッグ = 手提げ
crossbody bag = shoulder purse | bandolera = bolso cruzado | ショルダーバッグ = 斜めがけ
wallet = billfold | cartera = billetera | 財布 = ウォレット
clutch = evening purse | bolso de fiesta = cartera de mano | クラッチバッグ = パーティーバッグ
## Luggage | Equipaje | 旅行かばん @apparel > Travel Accessories
suitcase = carry on | maleta = valija | スーツケース = キャリーケース
backpack = rucksack | mochila = macuto | リュック = バックパック
duffel bag = gym holdall | bolsa de deporte = petate | ボストンバッグ = ダッフルバッグ
garment bag = suit carrier | portatrajes = funda de traje | ガーメントバッグ = スーツカバー
## Travel Accessories | Accesorios de viaje | 旅行用品 @apparel > Luggage
travel pillow = neck cushion | almohada de viaje = cojín cervical | ネックピロー = 首枕
passport holder = document organizer | funda de pasaporte = porta documentos | パスポートケース = 旅券入れ
packing cubes = luggage organizers | organizadores de maleta = cubos de equipaje | トラベルポーチ = 圧縮袋
storage boxes = containers | cajas de almacenaje = contenedores | 収納ボックス = 収納ケース
## Shoe Care | Cuidado del calzado | シューケア @apparel > Boots
shoe polish = leather cream | betún = crema para calzado | 靴クリーム = 靴墨
insoles = shoe inserts | plantillas = suelas interiores | インソール = 中敷き
shoe laces = bootstrings | cordones = agujetas | 靴紐 = シューレース
cleaning kit = care set | kit de limpieza = set de cuidado | クリーニングキット = お手入れセット

# Jewelry and Watches | Joyería y relojes | ジュエリーと時計
## Jewelry | Joyas | アクセサリー @ornament > Jewelry Storage
necklace = pendant chain | collar = gargantilla | ネックレス = 首飾り
earrings = ear studs | pendientes = aretes | ピアス = イヤリング
bracelet = bangle | pulsera = brazalete | ブレスレット = 腕輪
engagement ring = diamond band | anillo de compromiso = sortija | 指輪 = リング
brooch = lapel pin | broche = prendedor | ブローチ = 飾りピン
## Watches | Relojes | 腕時計 @ornament > Jewelry Storage
wrist watch = analog timepiece | reloj de pulsera = reloj analógico | アナログ時計 = 腕時計
digital watch = sport chronograph | reloj digital = cronómetro | デジタル時計 = ストップウォッチ
pocket watch = fob timepiece | reloj de bolsillo = leontina | 懐中時計 = ポケットウォッチ
watch strap = replacement band | correa de reloj = pulsera de recambio | 時計バンド = 替えベルト
## Sunglasses | Gafas | メガネ @ornament > Travel Accessories
sunglasses = shades | gafas de sol = lentes de sol | サングラス = 日除け眼鏡
reading glasses = readers | gafas de lectura = lentes para leer | 老眼鏡 = リーディンググラス
blue light glasses = computer eyewear | gafas antifatiga = lentes de ordenador | ブルーライトカット眼鏡 = PCメガネ
glasses case = eyewear pouch | funda de gafas = estuche de lentes | メガネケース = 眼鏡入れ
## Jewelry Storage | Joyeros | ジュエリーボックス @ornament > Jewelry
jewelry box = trinket case | joyero = caja de alhajas | 宝石箱 = ジュエリーケース
watch box = timepiece display | caja para relojes = expositor de relojes | 時計ケース = ウォッチボックス
jewelry stand = necklace tree | soporte para joyas = árbol de collares | アクセサリースタンド = ネックレス掛け
cleaning kit = care set | kit de limpieza = set de cuidado | クリーニングキット = お手入れセット
"""
