"""Product types of beauty, health, sports, toys, pets, groceries and books. Format: see `words.tables`."""

TABLE = """
# Beauty | Belleza | ビューティー
## Skin Care | Cuidado facial | スキンケア @cosmetic > Makeup
face cream = moisturizer | crema facial = hidratante | フェイスクリーム = 保湿剤
sunscreen = sun block | protector solar = crema de sol | 日焼け止め = UVカット
face mask = beauty sheet | mascarilla facial = máscara de belleza | フェイスパック = 美容シート
cleansing gel = facial wash | gel limpiador = jabón facial | 洗顔料 = クレンジング
lip balm = chapstick | bálsamo labial = cacao de labios | リップクリーム = 唇保湿
## Hair Care | Cuidado del cabello | ヘアケア @cosmetic > Hair Tools
shampoo = hair wash | champú = limpiador capilar | シャンプー = 洗髪料
conditioner = hair rinse | acondicionador = suavizante capilar | コンディショナー = リンス
hair oil = serum | aceite capilar = sérum de pelo | ヘアオイル = 髪用美容液
hair dye = color tint | tinte = coloración | ヘアカラー = 白髪染め
## Hair Tools | Aparatos de peluquería | ヘア家電 @appliance > Hair Care
hair dryer = blow dryer | secador de pelo = secadora | ドライヤー = 髪乾燥機
straightener = flat iron | plancha de pelo = alisador | ヘアアイロン = ストレートアイロン
hair brush = detangling comb | cepillo de pelo = peine desenredante | ヘアブラシ = 櫛
beard trimmer = hair clipper | recortadora de barba = cortapelos | バリカン = ヒゲトリマー
## Makeup | Maquillaje | メイク @cosmetic > Makeup Tools
lipstick = lip color | pintalabios = labial | 口紅 = リップ
mascara = lash paint | máscara de pestañas = rímel | マスカラ = まつげ液
foundation = base makeup | base de maquillaje = fondo de cara | ファンデーション = 下地
eyeshadow palette = lid colors | paleta de sombras = sombras de ojos | アイシャドウ = 目元カラー
nail polish = varnish | esmalte de uñas = laca | マニキュア = ネイルカラー
## Makeup Tools | Utensilios de maquillaje | メイク道具 @cosmetic > Makeup
makeup brushes = cosmetic applicators | brochas de maquillaje = pinceles | メイクブラシ = 化粧筆
makeup bag = toiletry pouch | neceser = bolsa de aseo | 化粧ポーチ = コスメバッグ
eyelash curler = lash lifter | rizador de pestañas = rizapestañas | ビューラー = まつげカーラー
cleaning kit = care set | kit de limpieza = set de cuidado | クリーニングキット = お手入れセット
## Fragrance | Perfumes | 香水 @cosmetic > Skin Care
perfume = eau de parfum | perfume = fragancia | 香水 = フレグランス
body mist = scented spray | bruma corporal = colonia | ボディミスト = 香りスプレー
deodorant = antiperspirant | desodorante = antitranspirante | デオドラント = 制汗剤
gift sets = present box | sets de regalo = estuche de regalo | ギフトセット = 贈り物

# Health and Household | Salud y limpieza | ヘルスケア・日用品
## Vitamins | Vitaminas | サプリメント @nutrition > Medical Supplies
multivitamin = daily supplement | multivitamínico = complemento diario | マルチビタミン = 総合栄養剤
protein powder = whey shake | proteína en polvo = batido proteico | プロテイン = たんぱく質粉末
collagen = beauty peptide | colágeno = péptidos | コラーゲン = 美容ペプチド
fish oil = omega capsules | aceite de pescado = cápsulas de omega | フィッシュオイル = オメガカプセル
## Medical Supplies | Material sanitario | 医療用品 @hygiene > Vitamins
first aid kit = emergency set | botiquín = kit de emergencia | 救急箱 = 応急セット
thermometer = fever meter | termómetro = medidor de fiebre | 体温計 = 検温器
blood pressure monitor = tension meter | tensiómetro = medidor de presión | 血圧計 = 血圧モニター
knee brace = joint support | rodillera = soporte articular | 膝サポーター = 関節固定具
heating pad = warm compress | manta eléctrica = almohadilla térmica | 温熱パッド = 電気あんか
## Oral Care | Higiene bucal | オーラルケア @hygiene > Skin Care
toothbrush = dental brush | cepillo de dientes = cepillo dental | 歯ブラシ = デンタルブラシ
toothpaste = dental cream | pasta de dientes = dentífrico | 歯磨き粉 = ハミガキ
dental floss = tooth string | hilo dental = seda interdental | デンタルフロス = 糸ようじ
mouthwash = oral rinse | enjuague bucal = colutorio | マウスウォッシュ = 洗口液
## Cleaning Supplies | Productos de limpieza | 掃除用品 @hygiene > Paper Products
laundry detergent = washing liquid | detergente = jabón de ropa | 洗濯洗剤 = 液体洗剤
mop = floor wiper | fregona = trapeador | モップ = 床拭き
sponges = scrubbers | esponjas = estropajos | スポンジ = たわし
trash bags = bin liners | bolsas de basura = sacos de residuos | ゴミ袋 = ポリ袋
vacuum cleaner = hoover | aspiradora = aspirador | 掃除機 = クリーナー
## Paper Products | Papel e higiene | 紙製品 @hygiene > Cleaning Supplies
toilet paper = bath tissue | papel higiénico = rollo de baño | トイレットペーパー = ちり紙
paper towels = kitchen roll | papel de cocina = rollo absorbente | キッチンペーパー = 吸水紙
tissues = face wipes | pañuelos = kleenex de papel | ティッシュ = 鼻紙
wet wipes = moist towels | toallitas húmedas = paños húmedos | ウェットティッシュ = おしぼり

# Sports and Outdoors | Deportes y aire libre | スポーツ・アウトドア
## Fitness | Fitness | トレーニング用品 @sportgear > Sportswear
dumbbells = hand weights | mancuernas = pesas de mano | ダンベル = 鉄アレイ
resistance bands = elastic exercisers | bandas elásticas = gomas de resistencia | トレーニングチューブ = ゴムバンド
yoga mat = exercise pad | esterilla de yoga = colchoneta | ヨガマット = 運動マット
jump rope = skipping cord | comba = cuerda de saltar | 縄跳び = とびなわ
foam roller = massage cylinder | rodillo de espuma = rulo de masaje | フォームローラー = 筋膜ローラー
exercise bike = stationary cycle | bicicleta estática = bici de spinning | エアロバイク = フィットネスバイク
## Camping | Acampada | キャンプ @sportgear > Camp Kitchen
tent = camping shelter | tienda de campaña = carpa | テント = 天幕
sleeping bag = bedroll | saco de dormir = bolsa de acampar | 寝袋 = シュラフ
camping chair = folding seat | silla de camping = silla plegable | キャンプチェア = 折りたたみ椅子
headlamp = head torch | linterna frontal = luz de cabeza | ヘッドライト = 頭灯
lantern = camp light | farol = lámpara de acampada | ランタン = 角灯
## Camp Kitchen | Cocina de camping | アウトドア調理 @sportgear > Camping
camping stove = gas burner | hornillo = cocina portátil | シングルバーナー = ガスコンロ
cooler box = ice chest | nevera portátil = hielera | クーラーボックス = 保冷箱
mess kit = camp cookset | menaje de camping = batería de acampada | コッヘル = 野外食器
fire starter = flint striker | encendedor de pedernal = chispero | ファイヤースターター = 火打ち石
## Cycling | Ciclismo | 自転車 @sportgear > Cycling Accessories
mountain bike = trail bicycle | bicicleta de montaña = bici todoterreno | マウンテンバイク = 山岳自転車
bike helmet = cycling headgear | casco de bici = protección de ciclista | 自転車ヘルメット = サイクルヘルメット
cycling shorts = padded bibs | culotte = pantalón de ciclista | サイクルパンツ = 自転車ズボン
balance bike = pedal free bicycle | bicicleta sin pedales = bici de equilibrio | キックバイク = ペダルなし自転車
## Cycling Accessories | Accesorios de bicicleta | 自転車用品 @sportgear > Cycling
bike lock = cycle chain | candado de bici = antirrobo | 自転車ロック = 盗難防止鍵
bike light = cycle lamp | luz de bici = faro de bicicleta | 自転車ライト = 前照灯
bike pump = tire inflating tool | bomba de bici = inflador de mano | 自転車ポンプ = 携帯空気入れ
saddle bag = seat pouch | bolsa de sillín = alforja | サドルバッグ = 自転車かばん
## Water Sports | Deportes acuáticos | マリンスポーツ @sportgear > Sportswear
swimming goggles = pool eyewear | gafas de natación = gafas de piscina | スイミングゴーグル = 水中眼鏡
snorkel set = diving mask | equipo de esnórquel = máscara de buceo | シュノーケルセット = 潜水マスク
life jacket = buoyancy vest | chaleco salvavidas = flotador de cuerpo | ライフジャケット = 救命胴衣
paddle board = sup | tabla de paddle surf = tabla de remo | パドルボード = サップ
## Fishing | Pesca | 釣り @sportgear > Camping
fishing rod = angling pole | caña de pescar = vara de pesca | 釣り竿 = ロッド
fishing reel = line spool | carrete de pesca = bobina | リール = 糸巻き
fishing lures = bait set | señuelos = cebos artificiales | ルアー = 疑似餌
tackle box = angler case | caja de pesca = maletín de aparejos | タックルボックス = 釣具箱

# Toys and Baby | Juguetes y bebé | おもちゃ・ベビー
## Building Toys | Construcciones | 組み立ておもちゃ @toy > Board Games
building blocks = construction bricks | bloques de construcción = ladrillos de juguete | ブロック = 積み木
magnetic tiles = magnet shapes | piezas magnéticas = imanes de construcción | マグネットブロック = 磁石おもちゃ
model kit = scale replica | maqueta = modelo a escala | プラモデル = 模型
train set = toy railway | tren de juguete = ferrocarril infantil | 電車セット = おもちゃの鉄道
## Dolls and Plush | Muñecas y peluches | 人形とぬいぐるみ @toy > Pretend Play
plush toy = stuffed animal | peluche = muñeco de felpa | ぬいぐるみ = 縫い包み
fashion doll = dress up figure | muñeca = figura de vestir | 着せ替え人形 = ドール
doll house = miniature home | casa de muñecas = hogar en miniatura | ドールハウス = 人形の家
action figure = hero toy | figura de acción = héroe articulado | フィギュア = 可動人形
## Board Games | Juegos de mesa | ボードゲーム @toy > Puzzles
card game = deck game | juego de cartas = baraja | カードゲーム = トランプ
strategy game = war game | juego de estrategia = juego de tablero | 戦略ゲーム = シミュレーションゲーム
chess set = checkmate board | ajedrez = tablero de damas | チェス = 西洋将棋
trivia game = quiz cards | juego de preguntas = trivial | クイズゲーム = 雑学カード
## Puzzles | Puzles | パズル @toy > Board Games
jigsaw puzzle = picture pieces | rompecabezas = puzle | ジグソーパズル = はめ絵
speed cube = twisty cube | cubo mágico = cubo de colores | ルービック型キューブ = 立体パズル
wooden puzzle = shape sorter | encajable = puzle de formas | 型はめ = 木製パズル
brain teaser = logic toy | juego de ingenio = acertijo | 知恵の輪 = 頭脳玩具
## Pretend Play | Juego simbólico | ごっこ遊び @toy > Dolls and Plush
play kitchen = toy cooker | cocinita = cocina de juguete | おままごとキッチン = 台所玩具
costume = fancy dress | disfraz = traje de carnaval | 仮装衣装 = コスプレ
doctor set = medical playset | maletín de médico = set de doctor | お医者さんセット = 病院ごっこ
play tent = kids tipi | tienda de juegos = tipi infantil | キッズテント = 室内テント
## Outdoor Toys | Juguetes de exterior | 外遊び @toy > Pretend Play
kick scooter = push scooter | patinete = monopatín | キックボード = キックスケーター
water gun = squirt blaster | pistola de agua = lanzador de agua | 水鉄砲 = ウォーターガン
kite = wind flyer | cometa = barrilete | 凧 = カイト
trampoline = bouncing bed | cama elástica = trampolín | トランポリン = 跳躍台
## Strollers | Cochecitos | ベビーカー @nursery > Nursery
stroller = pushchair | cochecito = carrito de bebé | ベビーカー = 乳母車
baby carrier = infant sling | portabebés = mochila de bebé | 抱っこ紐 = おんぶ紐
car seat = child restraint | silla de coche = asiento infantil | チャイルドシート = 子供用座席
diaper bag = changing tote | bolsa de pañales = bolso cambiador | マザーズバッグ = おむつバッグ
## Nursery | Habitación del bebé | ベビー寝具 @nursery > Strollers
crib = cot | cuna = moisés | ベビーベッド = 赤ちゃん寝台
baby monitor = infant alarm | vigilabebés = monitor de bebé | ベビーモニター = 見守りカメラ
feeding bottle = nursing flask | biberón = mamadera | 哺乳瓶 = ミルクボトル
pacifier = soother | chupete = pacificador | おしゃぶり = 赤ちゃん乳首
diapers = nappies | pañales = braguitas de bebé | おむつ = オムツ

# Pet Supplies | Mascotas | ペット用品
## Dog Supplies | Perros | 犬用品 @pet > Pet Food
dog leash = walking lead | correa de perro = traílla | リード = 引き綱
dog bed = puppy cushion | cama de perro = colchón canino | 犬用ベッド = ドッグクッション
dog harness = chest halter | arnés de perro = pechera | ハーネス = 胴輪
chew toy = teething bone | mordedor = hueso de juguete | 噛むおもちゃ = 犬ガム
## Cat Supplies | Gatos | 猫用品 @pet > Pet Food
cat tree = climbing tower | árbol para gatos = torre de escalada | キャットタワー = 猫の塔
litter box = kitty toilet | arenero = bandeja sanitaria | 猫トイレ = 砂箱
scratching post = claw board | rascador = poste de arañar | 爪とぎ = スクラッチャー
cat toy = feather wand | juguete para gatos = varita de plumas | 猫じゃらし = ねこおもちゃ
## Pet Food | Comida para mascotas | ペットフード @pet > Dog Supplies
dry pet food = kibble | pienso = croquetas | ドライフード = カリカリ
wet pet food = canned meal | comida húmeda = latas para mascotas | ウェットフード = 缶詰ごはん
pet treats = training snacks | premios = golosinas | おやつ = ごほうび
food bowl = feeding dish | comedero = plato de comida | フードボウル = 餌皿
## Aquarium | Acuarios | アクアリウム @pet > Pet Food
fish tank = glass aquarium | acuario = pecera | 水槽 = アクアリウム
water filter = tank cleaner | filtro de acuario = purificador | 水槽フィルター = ろ過器
aquarium gravel = substrate | grava de acuario = sustrato | 底砂 = 水槽砂利
fish food = flakes | comida para peces = escamas | 魚の餌 = 金魚エサ
## Small Animals | Animales pequeños | 小動物 @pet > Pet Food
hamster cage = rodent habitat | jaula de hámster = casa de roedores | ハムスターケージ = 小動物の家
bird cage = aviary | jaula de pájaros = pajarera | 鳥かご = バードケージ
running wheel = exercise spinner | rueda de ejercicio = noria | 回し車 = ホイール
bedding straw = nesting hay | heno = paja para cama | 牧草 = 床材

# Grocery | Alimentación | 食品・飲料
## Coffee and Tea | Café y té | コーヒー・お茶 @food > Drinkware
coffee beans = whole roast | café en grano = grano tostado | コーヒー豆 = 焙煎豆
green tea = matcha leaves | té verde = matcha | 緑茶 = 日本茶
herbal tea = infusion | infusión = tisana | ハーブティー = 薬草茶
instant coffee = soluble powder | café soluble = café instantáneo | インスタントコーヒー = 即席珈琲
## Snacks | Aperitivos | お菓子 @food > Coffee and Tea
potato chips = crisps | patatas fritas = papas de bolsa | ポテトチップス = 芋菓子
mixed nuts = trail mix | frutos secos = nueces surtidas | ミックスナッツ = 木の実
chocolate bar = cocoa sweet | tableta de chocolate = chocolatina | チョコレート = ショコラ
gummy candy = jelly sweets | gominolas = caramelos blandos | グミ = ゼリー菓子
rice crackers = grain wafers | tortitas de arroz = galletas de arroz | せんべい = おかき
## Pantry | Despensa | 食料品 @food > Cookware
pasta = spaghetti noodles | pasta = macarrones | パスタ = スパゲッティ
olive oil = cooking fat | aceite de oliva = aceite virgen | オリーブオイル = 食用油
tomato sauce = marinara | salsa de tomate = tomate frito | トマトソース = パスタソース
canned tuna = preserved fish | atún en lata = conserva de pescado | ツナ缶 = まぐろ缶詰
spice mix = seasoning blend | mezcla de especias = sazonador | 調味料 = スパイスミックス
## Baking Ingredients | Ingredientes de repostería | 製菓材料 @food > Bakeware
bread flour = wheat meal | harina = trigo molido | 強力粉 = 小麦粉
cake mix = baking premix | preparado para bizcocho = mezcla de tarta | ケーキミックス = 製菓粉
food coloring = icing dye | colorante alimentario = tinte comestible | 食用色素 = 着色料
vanilla extract = flavor essence | extracto de vainilla = esencia | バニラエッセンス = 香料
## Breakfast | Desayuno | 朝食 @food > Coffee and Tea
granola = muesli | granola = muesli | グラノーラ = シリアル
honey jar = bee nectar | miel = néctar de abeja | はちみつ = 蜂蜜
fruit jam = marmalade | mermelada = confitura | ジャム = 果実煮
pancake mix = batter powder | mezcla de tortitas = harina de panqueques | ホットケーキミックス = パンケーキ粉

# Books | Libros | 本
## Fiction | Ficción | 小説 @book > Desk Organizers
crime novel = detective story | novela policíaca = novela negra | 推理小説 = ミステリー
romance novel = love story | novela romántica = historia de amor | 恋愛小説 = ラブストーリー
fantasy novel = magic saga | novela fantástica = saga de magia | ファンタジー小説 = 魔法物語
science fiction = space opera | ciencia ficción = novela futurista | SF小説 = 宇宙物語
## Cookbooks | Cocina en libros | 料理本 @book > Cooking Utensils
baking cookbook = pastry recipes | libro de repostería = recetas de postres | お菓子の本 = 製菓レシピ
vegetarian cookbook = plant recipes | libro de cocina vegetariana = recetas verdes | 菜食料理本 = 野菜レシピ
barbecue cookbook = grill recipes | libro de barbacoa = recetas a la brasa | 焼肉料理本 = グリルレシピ
## Children's Books | Libros infantiles | 児童書 @book > Dolls and Plush
picture book = illustrated story | álbum ilustrado = cuento con dibujos | 絵本 = えほん
coloring book = drawing pages | libro para colorear = dibujos para pintar | ぬりえ = 塗り絵帳
bedtime stories = goodnight tales | cuentos para dormir = historias de noche | 寝かしつけ本 = おやすみ童話
## Self Help | Autoayuda | 自己啓発 @book > Paper and Notebooks
meditation guide = mindfulness book | guía de meditación = manual de atención plena | 瞑想の本 = 心を整える本
productivity book = time management | libro de productividad = gestión del tiempo | 仕事術の本 = 時間管理
parenting book = child raising guide | libro de crianza = guía para padres | 育児書 = 子育て本
## Education | Educación | 学習参考書 @book > School Supplies
math workbook = arithmetic exercises | cuaderno de matemáticas = ejercicios de cálculo | 数学問題集 = 算数ドリル
language course = phrase learner | curso de idiomas = aprender lenguas | 語学教材 = 会話集
history book = chronicle | libro de historia = crónica | 歴史書 = 年代記
programming manual = coding guide | manual de programación = guía de código | プログラミング本 = コード入門
"""
