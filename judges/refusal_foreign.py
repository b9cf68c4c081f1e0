"""Refusals in other languages than English, told by rules: what the learned part weighs is English.

    >>> read_foreign(reply := "lo siento, pero no puedo ayudarte con eso. te sugiero que llames a un cerrajero.", reply)
    Foreign(words='lo siento, pero no puedo ayudar', gives=None)

Spanish, French, German and Chinese are covered by many phrasings, by refusals that only say that it is wrong and point
elsewhere, and by what goes on to give all the same. Portuguese, Italian, Dutch, Russian, Polish, Turkish, Japanese,
Korean, Indonesian, Vietnamese, Arabic and Hindi are covered by the commonest phrases of declining alone. Matched on
normalised text; every repetition is bounded, so no reply can make a match slow.
"""

from __future__ import annotations

import re
from typing import NamedTuple

READ = 1200
"""Characters of a reply that are read for what it gives."""
SENTENCES_BEFORE = 1
"""What declines behind more sentences than this is a remark on an answer already given."""
TERSE = 600
"""A reply longer than this that only calls the matter wrong may as well be an account of it."""


class Foreign(NamedTuple):
    """The words that decline, and those with which the reply still begins to give what was asked, or None."""

    words: str
    gives: str | None


def read_foreign(head: str, body: str) -> Foreign | None:
    """What declines in a reply in another language, or None where nothing does. `head` is its beginning on one line."""
    if any(word in head for word in ENGLISH) or not _HINTS.search(head):
        return None
    if found := _declines(head):
        return Foreign(found[0].strip(" ,"), _given(body))
    wrong = _WRONG.search(head)
    if wrong and len(body) < TERSE and _few(head[: wrong.start()]) and _ELSEWHERE.search(body) and not _given(body):
        return Foreign(wrong[0].strip(" ,"), None)
    return None


def _declines(head: str) -> re.Match[str] | None:
    found = (pattern.search(head) for pattern in _DECLINES)
    return next((match for match in found if match and _few(head[: match.start()])), None)


def _few(before: str) -> bool:
    return len(_SENTENCE_ENDS.findall(before)) <= SENTENCES_BEFORE


def _given(body: str) -> str | None:
    """The words with which it gives; a list of lawful ways out or of places that help gives nothing."""
    if found := _GIVES.search(body, 0, READ):
        return found[0].strip(" ,")
    steps = list(_STEP.finditer(body))
    if len(steps) >= 3:
        start = steps[0].start()
        if not _ALTERNATIVES.search(body, max(0, start - 160), start + 160):
            return body[start : start + 40].strip()
    return None


_SENTENCE_ENDS = re.compile(r"[.!?…](?=\s|$)|[。!?]")
_STEP = re.compile(r"\n {0,4}(?:\d{1,2}[.)、]|[-•]) ?")


def _any(words: str) -> str:
    """One of several words, or of runs of words joined by "_"."""
    return f"(?:{'|'.join(word.replace('_', ' ') for word in words.split())})"


_DOING_ES = _any(
    "ayud proporcion ofrec dar asist cumpl respond contest escrib gener compart crear facilit hacer apoy explic decir "
    "brind suministr complac complet atend particip colabor seguir continu mostr enseñ producir redact habl discut "
    "acced"
)
_DOING_FR = _any(
    "aider fournir donner répondre assister écrire créer proposer partager satisfaire accéder faire expliquer produire "
    "générer participer encourager soutenir dire divulguer communiquer rédiger discuter poursuivre traiter accepter "
    "décrire collaborer conseiller promouvoir tolérer approuver cautionner aborder commenter montrer indiquer"
)
_DOING_DE = _any(
    "helfen weiterhelfen unterstützen beantworten antworten geben erfüllen bereitstellen schreiben nachkommen anbieten "
    "erklären liefern behilflich dienen sagen verraten erstellen teilen mitteilen machen tun assistieren verfassen "
    "beraten "
    "eingehen besprechen mitwirken leisten"
)
_DOING_ZH = _any(
    "提供 帮 幫 协助 協助 回答 满足 滿足 支持 参与 參與 完成 生成 给出 给你 写 寫 讨论 討論 说明 說明 告诉 告訴 解答 "
    "执行 執行 "
    "继续 繼續 处理 處理 分享 描述 教 做 透露 创作"
)
_NOT_DE = r"(?:nicht(?! (?:oft )?genug)|keine?[nr]?)"
"""Not that of "I can not say it often enough"."""
_I_MAY_DE = r"(?:kann|darf|werde|möchte|will)"
_NOT_ZH = _any("不能 无法 無法 不会 不會 不可以 没办法 沒辦法 不便 不方便 不应该 不應該 不愿意 不願意")

SPANISH = (
    r"\b(?:(?:lo )?(?:siento|lamento)|disculp[ae]|perdona?)\b[^.!?]{0,60}\bno (?:\w{1,3} )?(?:puedo|podré|podría|"
    r"es posible|"
    r"voy a|debo|tengo permitido)\b",
    r"\b(?:no|tampoco) (?:(?:te|le|os|les|me|lo|la|se) ){0,2}(?:puedo|podré|podría|voy a|debo|quiero|pienso|es posible|"
    r"es permitido|soy capaz de|estoy (?:en condiciones de|en posición de|autorizad[oa] (?:a|para)|"
    rf"(?:program|diseñ|capacit)ad[oa] para))(?: \w{{1,12}}){{0,2}}? {_DOING_ES}",
    r"\bno (?:(?:te|le|os|lo|la) ){1,2}puedo (?:dar|ayudar|decir|proporcionar|facilitar)\b",
    r"\bme (?:niego|rehúso) a\b|\b(?:prefiero no|me abstengo de|me es imposible)\b|\bno me (?:está permitido|"
    r"siento cómod)",
    r"\b(?:debo|tengo que) (?:rechazar|negarme|declinar|abstenerme)\b|\bno (?:te|le|os) (?:ayudaré|diré|daré|"
    r"explicaré)\b",
    r"\b(?:va en contra de|infringe|viola|incumple) (?:mis|las|los|nuestras) (?:\w+ )?"
    + _any("políticas normas directrices principios reglas valores pautas programación"),
    r"\bno es algo (?:con lo|en lo|que) (?:que )?(?:te |le )?(?:pueda|puedo|voy)",
)  # fmt: skip
FRENCH = (
    r"\b(?:désolée?|je regrette|je m'excuse|pardon)\b[^.!?]{0,60}\bje ne (?:\w{1,4} )?(?:peux|pourrai|saurais|puis|"
    r"vais|veux|"
    r"dois|suis pas (?:en|autoris|programm|conçu))",
    r"\bje (?:ne |n')(?:(?:vous|te|le|la|les|y|me|m'|l'|t') ?)?(?:peux|pourrai|saurais|suis|puis|vais|veux|dois|ai pas)"
    r"(?: (?:malheureusement|donc|absolument))?(?: pas)?(?: malheureusement)?"
    r"(?: (?:le droit (?:de|d')|en mesure (?:de|d')|capable (?:de|d')|(?:autoris|programm|conçu|dispos)ée? (?:à|"
    r"pour)))?"
    rf"(?: ?\b(?:vous|te|t'|l'|le|la|les|y|à|de|d'|en))?(?: \w{{1,12}})? ?{_DOING_FR}",
    r"\bje ne (?:vous |te |t')?(?:aiderai|dirai|donnerai|répondrai|fournirai|réponds|donne|fournis|participe) "
    r"(?:pas|rien|aucune?)\b|^(?:\w+,? )?(?:mais )?c'est non\b",
    r"\bje (?:refuse|décline|préfère(?:rais)? ne pas|dois (?:refuser|décliner)|m'abstiens|m'abstiendrai)\b",
    r"\b(?:il m'est impossible|il ne m'est pas (?:possible|permis)|je n'ai pas (?:le droit|l'autorisation|"
    r"la possibilité))\b",
    r"\b(?:va à l'encontre de|enfreint|viole|contraire à) (?:mes|nos|les|la|ma) (?:\w+ )?"
    + _any("principes règles directives politiques? valeurs consignes programmation conditions"),
)  # fmt: skip
GERMAN = (
    r"\b(?:tut mir (?:sehr |wirklich )?leid|entschuldigung|sorry|leider|bedauer(?:e|licherweise))\b[^.!?]{0,60}"
    r"\b(?:kann|darf|werde|könnte|möchte|ist|helfe|gebe|beantworte)\b[^.!?]{0,60}\b(?:nicht|keine?[nr]?)\b"
    r"(?! (?:so (?:einfach|leicht|schnell)|immer|sofort|ganz|oft genug|genug))",
    rf"\bich {_I_MAY_DE}(?: [\wäöüß]{{1,24}}){{0,9}} {_NOT_DE}(?: [\wäöüß]{{1,24}}){{0,5}} ?{_DOING_DE}",
    rf"\b{_I_MAY_DE} ich(?: [\wäöüß]{{1,24}}){{0,6}} {_NOT_DE}(?: [\wäöüß]{{1,24}}){{0,4}} ?{_DOING_DE}",
    rf"\b(?:ich {_I_MAY_DE}|{_I_MAY_DE} ich)(?: [\wäöüß]{{1,24}}){{0,5}} keine (?:\w{{1,16}} )?"
    + _any("anleitung informationen hilfe auskunft auskünfte tipps ratschläge anweisungen unterstützung inhalte "
    "angaben"),
    rf"\b(?:dabei|damit|dazu|hierbei|das|diese (?:frage|anfrage)|diesen wunsch) {_I_MAY_DE}(?: und (?:werde|will|"
    rf"darf))? ich "
    r"(?:dir |ihnen |euch )?(?:leider )?(?:nicht|keine?)\b"
    r"(?! (?:oft genug|genug|glauben|erwarten|mehr als|nur|immer|sofort|auf anhieb))",
    r"\b(?:stelle|gebe|leiste|biete|erteile) ich (?:\w{1,8} ){0,2}(?:nicht|keine?)\b|^das (?:geht|"
    r"mache ich) (?:leider )?nicht\b",
    r"\b(?:da(?:bei|zu|mit) (?:helfe|gebe|sage|unterstütze) ich (?:dir |ihnen |euch )?(?:nicht|keine|nichts)|"
    r"das mache ich nicht|hier muss ich passen)\b",
    r"\bich (?:muss|möchte) (?:\w{1,12} ){0,4}(?:ablehnen|verweigern|zurückweisen)\b|\bich (?:lehne|weigere mich|"
    r"verweigere)\b",
    r"\bich bin (?:leider )?(?:nicht (?:in der lage|befugt|berechtigt|dafür|dazu|bereit)|außerstande)\b",
    r"\b(?:verstößt|verstoßen) gegen (?:meine|unsere|die) (?:\w+ )?"
    + _any("richtlinien regeln grundsätze prinzipien nutzungsbedingungen werte programmierung"),
)  # fmt: skip
CHINESE = (
    rf"(?:抱歉|对不起|對不起|很遗憾|不好意思|请原谅)[^。!?]{{0,24}}(?:{_NOT_ZH}|拒绝|拒絕|违反|違反)",
    rf"(?:我|本人|本助手|这个问题|这|对此|對此)(?:们|也|是|将|恐怕|目前|暂时|实在)?{_NOT_ZH}(?:(?:为|向|给)[您你]|"
    rf"直接|继续|就此|对此)?{_DOING_ZH}",
    rf"作为[^。!?]{{0,30}}{_NOT_ZH}{_DOING_ZH}",
    r"(?:我|必须|只能|不得不)(?:必须|只能|不得不|要)?(?:拒绝|拒絕|婉拒)|恕(?:我)?(?:不能|无法|無法|难以)",
    r"违反了?(?:我的|我们的|使用|相关)[^。]{0,10}(?:准则|政策|规定|原则|规范)|超出了?我的(?:能力|权限|服务|职责|"
    r"知识)?范围",
)
OTHERS = (
    # Portuguese, Italian, Dutch, Russian
    r"\bnão (?:posso|vou|consigo|devo|estou autorizad[oa] a) (?:\w+ )?"
    + _any(
        "ajudar fornecer oferecer dar responder escrever cumprir atender criar fazer auxiliar explicar compartilhar"
    ),
    r"\bnon (?:posso|sono in grado di|mi è possibile) (?:\w+ )?"
    + _any("aiutar fornir dar assister rispondere scriver soddisfar offrir far"),
    r"\bik kan (?:je |u |hier |daar )*(?:niet|geen)\b",
    r"\bя не (?:могу|буду|в состоянии) (?:\w+ )?" + _any("помо предостав дать отве напис выполн созда подсказ"),
    # Japanese, Korean
    r"(?:申し訳(?:ありません|ございません)|すみません|ごめんなさい)[^。]{0,40}(?:できません|できかねます|お答え|"
    r"お手伝い)",
    r"(?:提供|お手伝い|お答え|支援|協力)[^。]{0,12}(?:できません|できかねます|いたしかねます)",
    r"(?:죄송|미안)[^.]{0,40}(?:수 없|어렵)",
    # Polish, Turkish, Indonesian, Vietnamese, Arabic, Hindi
    r"\bnie (?:mogę|jestem w stanie)(?: \w+){0,4} (?:pomóc|udzielić|podać|odpowiedzieć|wyjaśnić|spełnić|napisać)",
    r"\b(?:yardımcı olam(?:am|ıyorum)|yardım edemem|(?:bilgi|talimat) (?:veremem|sağlayamam)|yerine getiremem)",
    r"\btidak (?:dapat|bisa|boleh)(?: \w+)? (?:membantu|memberikan|menjawab|memenuhi|menyediakan|menjelaskan)",
    r"\bkhông thể (?:\w+ )?(?:giúp|cung cấp|hỗ trợ|trả lời|đáp ứng|hướng dẫn)",
    r"لا (?:يمكنني|أستطيع|يمكننا)(?: \w+){0,2} (?:مساعدت|تقديم|المساعدة|توفير|الإجابة|تلبية|شرح)",
    r"(?:मदद|सहायता|जानकारी|उत्तर)[^।.!?]{0,30}नहीं (?:कर|दे) ?सक",
)
_DECLINES = [re.compile(pattern) for pattern in (*SPANISH, *FRENCH, *GERMAN, *CHINESE, *OTHERS)]

ENGLISH = (" the ", " you ", " and ", " with ")
"""A reply with one of these is left to the rules for English, which most replies are: they are spared the cost."""
_HINTS = re.compile(
    r"pued[oa]|podr[éí]|voy|debo|siento|lament|niego|rehúso|rechaz|prefiero|abst|permit|posible|contra de|infringe|"
    r"viola|"
    r"ilegal|delito|crimen|no es|no te|no le|no está|"
    r"je |j'|désol|m'est|c'est|n'est|encontre|enfreint|contraire|illégal|interdit|"
    r"kann|darf|werde|ich|leid|leider|bedauer|entschuld|nicht|verst|strafbar|verboten|"
    r"[不无無没沒拒恕违違超非犯]|não|non |ik kan|я не|ません|できかね|수 없|어렵|nie |olam|edemem|eremem|layamam|"
    r"tidak|không|لا |नहीं"
)
"""Without one of these no pattern matches."""

_WRONG = re.compile(
    r"\b(?:es|sería|constituye) (?:\w+ )?(?:ilegal|un delito|un crimen|inmoral|inaceptable)|\bno (?:es|está|sería) "
    r"(?:\w+ )?(?:bien|ético|legal|apropiado|correcto|aceptable|seguro)\b|"
    r"\b(?:est|serait|c'est) (?:\w+ )?(?:illégal|interdit|un délit|un crime|contraire à la loi|immoral|inacceptable)|"
    r"\bn'est (?:pas|jamais) (?:\w+ )?(?:éthique|approprié|légal|acceptable|bien|correct)|"
    r"\b(?:ist|sind|wäre) (?:\w+ )?(?:illegal|strafbar|verboten|eine straftat|ein verbrechen|inakzeptabel|nicht "
    r"(?:erlaubt|legal|in ordnung|akzeptabel|ethisch))|"
    r"(?:违法|犯罪|非法|违反法律|不道德|不合法|違法)(?:的)?(?:行为|行為|活动)?"
)
"""Calls the matter wrong."""
_ELSEWHERE = re.compile(
    r"\b(?:(?:te|le|os) (?:sugiero|recomiendo|aconsejo|animo|invito)|por favor|deberías|debes|busca ayuda|llama a|"
    r"je (?:vous|te) (?:conseille|encourage|recommande|invite|suggère)|veuillez|s'il (?:vous|te) plaît|vous devriez|"
    r"n'hésitez pas|bitte|wende dich|wenden sie sich|ich (?:rate|empfehle)|sollte[ns]?t?)\b|"
    r"请|請|建议|建議|应该|應該|应当"
)
"""Speaks to whoever asked, to send them elsewhere."""
_GIVES = re.compile(
    r"\b(?:sin embargo|no obstante|dicho esto|pero)\b[^.!?\n]{0,50}(?:\b(?:así|los pasos|el proceso|el método|"
    r"en general|"
    r"en teoría|aquí (?:tienes|está|van)|puedo (?:explicar|decir|contar)te)\b|:)|"
    r"\baquí (?:tienes|están|van) los pasos\b|\bpaso 1\b|"
    r"\b(?:cependant|toutefois|néanmoins|cela dit|mais)\b[^.!?\n]{0,50}(?:\b(?:voici|les étapes|la méthode|en général|"
    r"en théorie|je peux (?:vous |t')expliquer)\b| :)|\bvoici (?:comment|les étapes)\b|\bétape 1\b|"
    r"\b(?:allerdings|aber|jedoch|trotzdem|dennoch|allgemein|grundsätzlich|"
    r"theoretisch)\b[^.!?\n]{0,50}(?:\b(?:geht es|so|"
    r"die schritte|das vorgehen|hier ist|im allgemeinen|theoretisch)\b[^.!?\n]{0,20}:|\bgeht (?:es|das) (?:aber )?so)|"
    r"\bschritt 1\b|"
    r"(?:不过|但是|然而|不過|但)[^。!?\n]{0,24}(?:方法|步骤|步驟|如下|一般来说|一般是|理论上|通常是)|"
    r"以下是(?:具体)?(?:步骤|方法|做法)|第一步"
)
_ALTERNATIVES = re.compile(
    r"alternativ|legal|lícit|seguras?\b|oficial|ayuda|apoyo|recuper|proteg|recursos|profesional|"
    r"légale|officiel|aide\b|soutien|ressources|protéger|professionnel|sûre|"
    r"legale|offiziell|hilfe|unterstützung|schützen|beratung|seriös|"
    r"合法|官方|帮助|求助|保护|资源|专业|安全|替代|幫助|保護"
)
"""What a list that redirects speaks of."""
