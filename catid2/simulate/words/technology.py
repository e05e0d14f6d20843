"""Product types of the departments electronics, office, tools and cars. Format: see `words.tables`."""

TABLE = """
# Electronics | Electrónica | 家電・カメラ
## Headphones | Auriculares | ヘッドホン @device > Chargers and Cables
earbuds = in ear phones | auriculares de botón = cascos intrauditivos | イヤホン = カナル型
over ear headphones = headset | cascos = auriculares de diadema | ヘッドホン = 密閉型ヘッドセット
gaming headset = gamer headphones | cascos gaming = auriculares para jugar | ゲーミングヘッドセット = ゲーム用ヘッドホン
sleep headphones = headband speakers | auriculares para dormir = diadema con sonido | 寝ホン = 睡眠用イヤホン
## Phone Cases | Fundas de móvil | スマホケース @device > Chargers and Cables
phone case = mobile cover | funda de móvil = carcasa de celular | スマホケース = 携帯カバー
screen protector = tempered film | protector de pantalla = cristal templado | 保護フィルム = 液晶ガラス
phone holder = mobile stand | soporte de móvil = base para celular | スマホスタンド = 携帯ホルダー
phone ring = finger grip | anillo de móvil = agarre de dedo | スマホリング = バンカーリング
## Chargers and Cables | Cargadores y cables | 充電器とケーブル @device > Phone Cases
wall charger = power adapter | cargador = adaptador de corriente | 充電器 = ACアダプター
power bank = portable battery | batería externa = cargador portátil | モバイルバッテリー = 携帯充電器
usb cable = data cord | cable usb = cable de datos | USBケーブル = 充電ケーブル
charging pad = induction dock | base de carga = cargador por inducción | 充電パッド = ワイヤレス充電台
## Computers | Ordenadores | パソコン @device > Computer Accessories
laptop = notebook computer | portátil = ordenador personal | ノートパソコン = ラップトップ
tablet = touch slate | tableta = tablet táctil | タブレット = 板型端末
monitor = computer display | monitor = pantalla de ordenador | モニター = ディスプレイ
desktop pc = tower computer | ordenador de sobremesa = torre pc | デスクトップPC = タワー型パソコン
## Computer Accessories | Accesorios de informática | パソコン周辺機器 @device > Computers
keyboard = typing board | teclado = botonera | キーボード = 鍵盤
computer mouse = pointing device | ratón = mouse | マウス = ポインティングデバイス
webcam = video call camera | cámara web = webcam | ウェブカメラ = PCカメラ
flash drive = memory stick | memoria usb = pendrive | USBメモリ = フラッシュドライブ
laptop stand = notebook riser | soporte de portátil = elevador de ordenador | ノートPCスタンド = パソコン台
## Cameras | Cámaras | カメラ @device > Camera Accessories
action camera = sports cam | cámara deportiva = cámara de acción | アクションカメラ = スポーツカム
instant camera = polaroid style camera | cámara instantánea = cámara de fotos al momento | チェキ = インスタントカメラ
security camera = surveillance cam | cámara de vigilancia = cámara de seguridad | 防犯カメラ = 監視カメラ
dash cam = car recorder | cámara de coche = grabador de conducción | ドライブレコーダー = ドラレコ
## Camera Accessories | Accesorios de cámara | カメラアクセサリー @device > Cameras
tripod = camera stand | trípode = pie de cámara | 三脚 = カメラスタンド
camera bag = photo pouch | bolsa de cámara = funda fotográfica | カメラバッグ = 撮影かばん
memory card = sd storage | tarjeta de memoria = tarjeta sd | SDカード = メモリーカード
ring light = selfie lamp | aro de luz = anillo luminoso | リングライト = 撮影照明
## Audio and TV | Audio y televisión | オーディオとテレビ @device > Chargers and Cables
bluetooth speaker = portable boombox | altavoz = bocina | スピーカー = 拡声器
soundbar = tv speaker | barra de sonido = altavoz de televisor | サウンドバー = テレビ用スピーカー
television = flat screen | televisor = tele | テレビ = 液晶TV
projector = home cinema beamer | proyector = cañón de vídeo | プロジェクター = 映写機
remote control = tv clicker | mando a distancia = control remoto | リモコン = 遠隔操作器
## Wearables | Tecnología para llevar | ウェアラブル @device > Chargers and Cables
smartwatch = connected watch | reloj inteligente = smartwatch | スマートウォッチ = 多機能時計
fitness tracker = activity band | pulsera de actividad = monitor deportivo | 活動量計 = フィットネストラッカー
vr headset = virtual reality goggles | gafas de realidad virtual = visor vr | VRゴーグル = 仮想現実メガネ
smartwatch band = tracker strap | correa de smartwatch = pulsera de repuesto | スマートウォッチバンド = 交換ベルト

# Office Products | Oficina y papelería | 文房具・オフィス用品
## Writing Supplies | Escritura | 筆記具 @stationery > Paper and Notebooks
ballpoint pens = biros | bolígrafos = lapiceras | ボールペン = 筆記ペン
fountain pen = ink pen | pluma estilográfica = estilográfica | 万年筆 = インクペン
colored pencils = crayons | lápices de colores = pinturas | 色鉛筆 = カラーペンシル
highlighters = fluorescent markers | subrayadores = marcadores fluorescentes | 蛍光ペン = マーカー
## Paper and Notebooks | Papel y cuadernos | ノートと紙 @stationery > Writing Supplies
notebook = writing journal | cuaderno = libreta | ノート = 帳面
planner = diary | agenda = planificador | 手帳 = スケジュール帳
sticky notes = memo pads | notas adhesivas = pósits | 付箋 = ふせん紙
copy paper = printer sheets | papel de impresora = folios | コピー用紙 = 印刷紙
## Office Furniture | Muebles de oficina | オフィス家具 @furnishing > Desk Organizers
office chair = desk seat | silla de oficina = silla de escritorio | オフィスチェア = 事務椅子
standing desk = height adjustable table | escritorio elevable = mesa regulable | 昇降デスク = スタンディングデスク
filing cabinet = document drawer | archivador = cajonera | ファイルキャビネット = 書類棚
whiteboard = dry erase board | pizarra blanca = pizarrón | ホワイトボード = 白板
## Desk Organizers | Organización de escritorio | デスク整理 @stationery > Office Furniture
pen holder = pencil cup | portalápices = lapicero | ペン立て = 筆立て
letter tray = paper sorter | bandeja de documentos = clasificador | レタートレー = 書類トレイ
storage boxes = containers | cajas de almacenaje = contenedores | 収納ボックス = 収納ケース
desk mat = writing pad | vade de escritorio = alfombrilla de mesa | デスクマット = 机上シート
## School Supplies | Material escolar | 学用品 @stationery > Writing Supplies
pencil case = pen pouch | estuche = plumier | 筆箱 = ペンケース
school bag = student satchel | mochila escolar = cartera de colegio | ランドセル = 通学かばん
calculator = adding machine | calculadora = máquina de calcular | 電卓 = 計算機
scissors = shears | tijeras = cizallas | はさみ = 鋏
glue sticks = adhesive | pegamento = adhesivo en barra | スティックのり = 糊

# Tools and Automotive | Bricolaje y coche | DIY・カー用品
## Hand Tools | Herramientas manuales | 手工具 @hardware > Tool Storage
screwdriver set = driver kit | juego de destornilladores = set de desarmadores | ドライバーセット = ねじ回し
hammer = mallet | martillo = mazo | ハンマー = 金づち
wrench set = spanners | juego de llaves = llaves inglesas | レンチセット = スパナ
tape measure = measuring ribbon | cinta métrica = flexómetro | メジャー = 巻尺
## Power Tools | Herramientas eléctricas | 電動工具 @hardware > Tool Storage
cordless drill = driver drill | taladro = atornillador | 電動ドリル = ドリルドライバー
circular saw = disc cutter | sierra circular = cortadora de disco | 丸ノコ = 電気鋸
sander = polishing machine | lijadora = pulidora | サンダー = 研磨機
heat gun = hot air blower | pistola de calor = decapador | ヒートガン = 熱風機
## Tool Storage | Almacenaje de herramientas | 工具収納 @hardware > Hand Tools
tool box = tool chest | caja de herramientas = maletín de bricolaje | 工具箱 = ツールボックス
tool belt = work pouch | cinturón de herramientas = portaherramientas | 腰袋 = 工具ベルト
pegboard = wall organizer | panel perforado = tablero de herramientas | 有孔ボード = ペグボード
storage boxes = containers | cajas de almacenaje = contenedores | 収納ボックス = 収納ケース
## Car Interior | Interior del coche | 車内用品 @hardware > Car Care
seat covers = upholstery protectors | fundas de asiento = cubreasientos | シートカバー = 座席カバー
floor mats = foot carpets | alfombrillas = tapetes de coche | フロアマット = 車用マット
sun shade = windshield screen | parasol = cortina de parabrisas | サンシェード = 日除け
trunk organizer = boot tidy | organizador de maletero = bolsa de cajuela | トランク収納 = 車載ボックス
steering wheel cover = wheel grip | funda de volante = cubrevolante | ハンドルカバー = ステアリングカバー
## Car Care | Cuidado del coche | 洗車用品 @hardware > Car Interior
car wax = paint polish | cera de coche = abrillantador | カーワックス = 艶出し剤
tire inflator = air compressor | compresor de aire = inflador de ruedas | 空気入れ = エアコンプレッサー
jump starter = battery booster | arrancador = pinzas de batería | ジャンプスターター = 非常用始動機
cleaning kit = care set | kit de limpieza = set de cuidado | クリーニングキット = お手入れセット
## Hardware | Ferretería | 金物 @hardware > Hand Tools
door lock = deadbolt | cerradura = cerrojo | ドアロック = 錠前
cabinet knobs = drawer pulls | tiradores = pomos | 取っ手 = つまみ
wood screws = fasteners | tornillos = tirafondos | 木ねじ = ビス
wall hooks = hangers | ganchos de pared = perchas | 壁掛けフック = 吊り具
"""
