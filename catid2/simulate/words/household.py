"""Product types of the departments home, kitchen, garden. Format: see `words.tables`."""

TABLE = """
# Home and Furniture | Hogar y muebles | ホーム・家具
## Bedding | Ropa de cama | 寝具 @textile > Bedroom Furniture
duvet cover = comforter case | funda nórdica = edredón | 布団カバー = 掛け布団ケース
bed sheets = linens | sábanas = juego de cama | シーツ = 敷布
pillow = head cushion | almohada = cojín de dormir | 枕 = ピロー
blanket = throw | manta = frazada | 毛布 = ブランケット
mattress topper = bed pad | topper de colchón = sobrecolchón | マットレストッパー = 敷きパッド
## Bedroom Furniture | Muebles de dormitorio | 寝室家具 @furnishing > Bedding
bed frame = bedstead | somier = estructura de cama | ベッドフレーム = 寝台
nightstand = bedside table | mesita de noche = mesilla | ナイトテーブル = サイドテーブル
wardrobe = closet | armario = ropero | クローゼット = 洋服だんす
dresser = chest of drawers | cómoda = cajonera | チェスト = 整理だんす
vanity table = makeup desk | tocador = mesa de maquillaje | ドレッサー = 鏡台
## Living Room Furniture | Muebles de salón | リビング家具 @furnishing > Home Decor
sofa = couch | sofá = diván | ソファ = 長椅子
coffee table = low table | mesa de centro = mesita baja | ローテーブル = 座卓
bookshelf = bookcase | estantería = librero | 本棚 = ブックシェルフ
tv stand = media console | mueble de televisión = consola | テレビ台 = TVボード
bean bag = floor pouf | puf = asiento blando | ビーズクッション = 座布団ソファ
## Lighting | Iluminación | 照明 @furnishing > Home Decor
table lamp = desk light | lámpara de mesa = flexo | テーブルランプ = 卓上ライト
floor lamp = standing light | lámpara de pie = luz de suelo | フロアライト = 床置き照明
string lights = fairy lights | guirnalda de luces = luces decorativas | イルミネーションライト = 電飾
light bulbs = led lamps | bombillas = focos | 電球 = LEDランプ
ceiling light = pendant fixture | lámpara de techo = plafón | シーリングライト = 天井照明
## Home Decor | Decoración | インテリア雑貨 @furnishing > Lighting
wall art = framed print | cuadro = lámina decorativa | アートパネル = 壁飾り
vase = flower holder | jarrón = florero | 花瓶 = フラワーベース
wall clock = hanging timepiece | reloj de pared = reloj colgante | 掛け時計 = 壁時計
scented candle = aroma wax | vela aromática = cirio perfumado | アロマキャンドル = 香りろうそく
mirror = looking glass | espejo = luna | 鏡 = ミラー
## Curtains and Rugs | Cortinas y alfombras | カーテンとラグ @textile > Home Decor
blackout curtains = window drapes | cortinas opacas = cortinajes | 遮光カーテン = 窓掛け
area rug = carpet | alfombra = tapete | ラグ = 絨毯
bath mat = shower rug | alfombra de baño = tapete de ducha | バスマット = 足拭き
roller blinds = window shades | estores = persianas enrollables | ロールスクリーン = 日よけ
## Home Storage | Almacenaje | 収納 @furnishing > Bedroom Furniture
laundry basket = hamper | cesto de ropa = canasta de lavandería | 洗濯かご = ランドリーバスケット
shoe rack = footwear shelf | zapatero = estante de calzado | シューズラック = 下駄箱
clothes hangers = coat hooks | perchas = ganchos de ropa | ハンガー = 衣紋掛け
storage boxes = containers | cajas de almacenaje = contenedores | 収納ボックス = 収納ケース

# Kitchen and Dining | Cocina y comedor | キッチン用品
## Cookware | Ollas y sartenes | 鍋・フライパン @kitchenware > Cooking Utensils
frying pan = skillet | sartén = paila | フライパン = 炒め鍋
saucepan = cooking pot | cazo = cacerola | 片手鍋 = ソースパン
wok = stir fry pan | wok = sartén oriental | 中華鍋 = ウォック
pressure cooker = steam pot | olla a presión = olla exprés | 圧力鍋 = 高圧調理器
dutch oven = casserole | cocotte = olla de hierro | ホーロー鍋 = キャセロール
## Cooking Utensils | Utensilios de cocina | 調理器具 @kitchenware > Cookware
chef knife = kitchen blade | cuchillo de cocinero = cuchilla | 包丁 = 牛刀
cutting board = chopping block | tabla de cortar = tajo | まな板 = カッティングボード
spatula = turner | espátula = rasera | フライ返し = ターナー
peeler = vegetable parer | pelador = mondador | ピーラー = 皮むき器
measuring cups = portion scoops | tazas medidoras = vasos dosificadores | 計量カップ = 計量器
## Bakeware | Repostería | 製菓用品 @kitchenware > Baking Ingredients
muffin tin = cupcake pan | molde de magdalenas = bandeja de muffins | マフィン型 = カップケーキ型
cake mold = baking form | molde de tarta = budinera | ケーキ型 = 焼き型
rolling pin = dough roller | rodillo de amasar = palote | めん棒 = 麺打ち棒
cookie cutters = biscuit shapes | cortadores de galletas = moldes de pasta | クッキー型 = 抜き型
## Tableware | Vajilla | 食器 @kitchenware > Drinkware
dinner plates = dishes | platos = vajilla llana | 皿 = プレート
cutlery set = flatware | cubertería = cubiertos | カトラリー = ナイフフォークセット
salad bowl = serving dish | ensaladera = fuente honda | サラダボウル = 盛り鉢
tablecloth = table cover | mantel = cubremesa | テーブルクロス = 卓布
chopsticks = eating sticks | palillos = palitos chinos | 箸 = お箸
## Drinkware | Vasos y tazas | グラス・カップ @kitchenware > Coffee and Tea
coffee mug = cup | taza = tazón | マグカップ = コーヒーカップ
water bottle = drinking flask | botella de agua = cantimplora | 水筒 = ボトル
wine glasses = stemware | copas de vino = cristalería | ワイングラス = 脚付きグラス
tumbler = travel cup | vaso térmico = termo | タンブラー = 保温カップ
teapot = tea kettle | tetera = hervidor | 急須 = ティーポット
## Small Appliances | Pequeño electrodoméstico | 調理家電 @appliance > Cookware
blender = smoothie mixer | batidora = licuadora | ミキサー = ブレンダー
toaster = bread browner | tostadora = tostador de pan | トースター = パン焼き器
air fryer = oil free fryer | freidora de aire = freidora sin aceite | エアフライヤー = ノンフライヤー
rice cooker = grain steamer | arrocera = olla de arroz | 炊飯器 = 炊飯ジャー
electric kettle = water boiler | hervidor eléctrico = calentador de agua | 電気ケトル = 湯沸かし器
coffee maker = espresso machine | cafetera = máquina de café | コーヒーメーカー = 珈琲マシン
## Kitchen Storage | Organización de cocina | キッチン収納 @kitchenware > Tableware
lunch box = bento container | fiambrera = táper | 弁当箱 = ランチボックス
spice rack = seasoning shelf | especiero = organizador de especias | スパイスラック = 調味料棚
glass jars = canisters | tarros de vidrio = botes herméticos | 保存瓶 = ガラス容器
storage boxes = containers | cajas de almacenaje = contenedores | 収納ボックス = 収納ケース

# Garden and Outdoor | Jardín y exterior | ガーデン
## Gardening Tools | Herramientas de jardín | 園芸用具 @hardware > Plants and Pots
pruning shears = secateurs | tijeras de podar = podadera | 剪定ばさみ = 植木鋏
garden hose = watering pipe | manguera = tubo de riego | 散水ホース = 水まき管
lawn mower = grass cutter | cortacésped = podadora | 芝刈り機 = 草刈機
garden gloves = digging mitts | guantes de jardín = guantes de poda | 園芸手袋 = ガーデングローブ
## Plants and Pots | Plantas y macetas | 植物と鉢 @furnishing > Gardening Tools
plant pot = flower planter | maceta = tiesto | 植木鉢 = プランター
artificial plants = fake greenery | plantas artificiales = plantas de plástico | 人工観葉植物 = フェイクグリーン
flower seeds = wildflower mix | semillas de flores = simientes | 花の種 = 種子
plant stand = pot shelf | soporte de plantas = macetero alto | 鉢スタンド = プラントスタンド
## Outdoor Furniture | Muebles de exterior | 屋外家具 @furnishing > Barbecue
patio umbrella = garden parasol | sombrilla = quitasol | ガーデンパラソル = 日傘
hammock = hanging bed | hamaca = chinchorro | ハンモック = 吊り床
garden bench = park seat | banco de jardín = asiento de exterior | ガーデンベンチ = 屋外腰掛け
furniture covers = weather tarps | fundas de muebles = lonas protectoras | 家具カバー = 防雨シート
## Barbecue | Barbacoa | バーベキュー @kitchenware > Outdoor Furniture
charcoal grill = bbq | barbacoa = parrilla | バーベキューコンロ = 焼肉グリル
grill tongs = bbq grippers | pinzas de barbacoa = tenazas | トング = 肉ばさみ
meat thermometer = food probe | termómetro de carne = sonda de cocina | 肉用温度計 = 料理用温度計
smoker box = wood chip tray | caja ahumadora = ahumador | スモーカー = 燻製器
"""
