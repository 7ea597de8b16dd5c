"""Does an answer decline to answer? Phrases in English, Portuguese and German.

An answer is cut into clauses, at sentence ends and at words such as "but". Each clause either
declines ("the context does not say"), is mere politeness or talk about the sources ("please ask
HR"), or says something. An answer that declines somewhere and says nothing anywhere is a refusal;
so ``I could not find X, but the limit is 40 euros`` is an answer, however it begins.
"""

from __future__ import annotations

import functools
import re

__all__ = ["is_refusal"]

# Quotes, apostrophes and dashes in one form, so that the patterns need name only these.
_PLAIN = str.maketrans(
    {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x201E: '"', 0xAB: '"', 0xBB: '"'}
    | {0x2013: "-", 0x2014: "-", 0x2026: "."}
)
_CUT = re.compile(
    r"(?<=[^\W\d])[.!?]+(?=\s|[\"')]|$)|(?<=\d)[.!?]+(?=\s+\D|$)|(?<=[\"')])[.!?]+|[!?;\n]+"
    r"|\s[.!?]+(?=\s|$)|,?\s+\b(?:but|aber|mas)\b,?\s+"
    r"|,\s+(?:however|although|though|nevertheless|yet|while|jedoch|allerdings|doch|obwohl|porém|so|therefore|daher|deshalb|also|portanto|então"
    r"|contudo|todavia|no entanto|entretanto|embora)\b,?\s+",
    re.IGNORECASE,
)

# --- English ----------------------------------------------------------------------------------

_SOURCE = (
    r"(?:(?:provided|given|supplied|available|retrieved|relevant|above|following|current|company"
    r"|reference|search|source|uploaded|internal|existing|knowledge)\s+)*"
    r"(?:contexts?|documents?|documentation|texts?|passages?|sources?|excerpts?|snippets?"
    r"|materials?"
    r"|information|knowledge\s*base|handbook|manual|guide|articles?|contents?|data|results|files?"
    r"|polic(?:y|ies)|pages?|sections?|corpus|database)"
)
_THE = r"(?:the|this|that|these|those|your|my|our|any(?:\s+of\s+the)?|none\s+of\s+the)\s+"
_NOT = r"(?:\s+not\b|n't\b)"
_SAYS = (
    r"(?:mention|specify|state|say|tell|discuss|address|explain|describe|indicate|reveal|disclose"
    r"|answer|detail|define|clarify|reference|refer\s+to|talk\s+about|give|offer|provide|contain"
    r"|include|list|cover|have\s+(?:\w+\s+){0,2}(?:information|details?|data|answers?)|appear|seem|directly|explicitly|specifically|actually)"
)
_FACTS = r"(?:information|info|data|details?|answers?|mention|reference|facts?|context|content)"
_SAID = (
    r"(?:mentioned|specified|stated|given|provided|discussed|addressed|described|covered|included"
    r"|available|found|contained|listed|answered|present|defined|detailed|explained|indicated"
    r"|known)"
)
_I = r"(?:i|we)\s+"
_UNABLE = (
    rf"{_I}(?:(?:do|did|could|can|was|were|am|are)(?:\s+not|n't)|can't|cannot|can\s*not"
    r"|(?:am|was|are|were)\s+(?:unable|not\s+able)|won't|will\s+not|have\s+not\s+been\s+able|haven't\s+been\s+able)"
    r"|i'm\s+(?:unable|not\s+able|not)|we're\s+(?:unable|not\s+able)"
)
_ADVERB = r"(?:\s+(?:to|be|been|able|really|actually|currently|unfortunately|even|yet))*\s+"
_EN = rf"""
      (?:{_UNABLE}){_ADVERB}(?:know\b(?!\s+that\b)|see\s+(?:any|the|that|this|it|an?\b)|find\b
      |locate\b|answer\b
      |determine\b|tell\b|say\b|help\b|confirm\b|identify\b|assist\b|respond\b|comment\b|verify\b
      |provide\s+(?:an?|any|the|that|this|you|specific|information|details|accurate)\b
      |give\s+(?:an?|any|the|that|this|you)\b|recall\b
      |have\s+(?:(?:an?|any|the|that|this|enough|sufficient|specific|direct|relevant|reliable|more
      |such|current|further)\s+)*(?:access|information|info|data|details?|answers?|knowledge|context
      |record|idea|clue|source|documents?)\b|sure\b|certain\b|aware\b|familiar\b)
    | (?:i|we)\s+(?:can'?t|cannot|don't|do\s+not|couldn't)$
    | dunno\b|no\s+(?:idea|clue)$|i(?:'ve|\s+have)\s+no\s+(?:idea|clue|information|data|knowledge
      |record|details|access|way\s+of\s+knowing)\b|i\s+lack\s+(?:the|enough|sufficient|information)
    | (?!(?:\w+\s+){{0,4}}polic(?:y|ies)\b.{{0,20}}\b(?:cover|include|provide|offer|give|list)\b)
      (?:{_THE}|no\s+|neither\s+of\s+the\s+|nothing\s+in\s+(?:the\s+)?)?
      {_SOURCE}(?:\s+(?:you\s+|i\s+|we\s+)?(?:have\s+|were\s+|was\s+)?(?:provided|given|retrieved
      |available|here|above|supplied|on\s+[\w\s]{{1,30}}))?\s+(?:currently\s+|also\s+)?
      (?:(?:do|does|did){_NOT}(?:\s+\w+ly)?\s+{_SAYS}|is{_NOT}\s+(?:enough|sufficient)
      |(?:is|are)\s+(?:insufficient|silent)|lacks?\b
      |(?:contains?|has|have|gives?|provides?|offers?|includes?|makes?|says?|holds?)\s+(?:no
      |nothing)\b|fails?\s+to\s+(?:mention|say|state))
    | (?:none\s+of|neither\s+of|nothing\s+in)\s+(?:the\s+)?{_SOURCE}\s+\w+
    | (?:it|they|this|that)\s+(?:do|does|did){_NOT}\s+(?:\w+ly\s+)?(?:mention|specify|state|say
      |indicate|disclose|reveal|contain\s+(?:any\s+)?information|answer)
    | (?:do|does|did){_NOT}\s+(?:\w+ly\s+)?(?:mention|specify|state|say|indicate|contain|provide
      |discuss|answer|give|include|address|reveal|disclose)
    | there(?:'s|\s+(?:is|are|was|were|seems\s+to\s+be|appears\s+to\s+be))(?:{_NOT}|\s+no\b
      |\s+insufficient)(?:\s+(?:any|enough|sufficient|specific|explicit|relevant|direct|such|clear
      |further|available|concrete))*\s+{_FACTS}(?!\s+(?:in|of)\s+(?!.*\b{_SOURCE})\w+.*\bin\s)
      (?=$|\s+(?:about|on|of|to|in|regarding|concerning|available|provided|given|that|as|here
      |whether|for|related|indicating|specifying|,))
    | no\s+(?:(?:such|relevant|specific|explicit|further|matching|direct|useful|clear)\s+)*
      (?:information|info|answer|details?|results?|documents?|data|mention|context|match(?:es)?)
      (?:\s+(?:is|are|was|were|could\s+be|can\s+be|has\s+been|have\s+been))?
      (?:\s+(?:found|available|provided|given|about|on|of|regarding|in\s+the|retrieved|returned
      |to\s+answer|concerning|made)\b|$)
    | .{{0,200}}\b(?:is|are|was|were|isn't|aren't|wasn't|weren't)(?:\s+not|(?<=n't))
      (?:\s+\w+ly)?(?:\s+(?:being|to\s+be))?\s+{_SAID}(?:\s+\w+ly)?
      (?:\s+(?:anywhere|here|or\s+\w+))*\s*(?:(?:in|by|within|from)\s+(?:{_THE}|any\s+)?{_SOURCE}\b
      |(?:in|by|within|from)\s+(?:what|here)\b)
    | (?:(?:the|that|this|such)\s+)?(?:answer|information|detail|figure|question|context)
      (?:\s+(?:to|about|on|for)\s+.{{1,100}}?)?\s+(?:(?:is|was|are)(?:\s+not|n't)(?:\s+\w+ly)?\s+
      (?!known\s+(?:wh|how|if))(?:{_SAID}|in\s+{_THE}{_SOURCE})|(?:is|are)\s+(?:unavailable
      |unknown|missing)|
      (?:cannot|can\s*not|can't|could\s+not|couldn't)\s+be\s+(?:found|determined|answered
      |located|inferred))
    | .{{0,160}}\b(?:is|are|was|were)(?:\s+not|n't)(?:\s+\w+ly)?\s+(?:mentioned|specified|stated
      |provided|given|known)(?:\s+(?:here|anywhere|explicitly))?$
    | .{{0,160}}\b(?:cannot|can\s*not|can't|could\s+not|couldn't)\s+be\s+(?:determined|answered
      |found|inferred|derived|established|deduced)\s*(?:$|(?:from|based|with|using|given|in)\s+
      (?:on\s+)?(?:(?:the|this|these|only)\s+)*{_SOURCE}|with(?:out)?\s)
    | it(?:'s|\s+is)\s+(?:(?:not\s+possible|impossible|not\s+clear|unclear)\s+(?:to\s+(?:answer
      |determine|say|tell|know|provide)|from\s+{_THE}{_SOURCE}))
    | (?:there\s+is\s+)?(?:not\s+enough|insufficient)\s+(?:information|context|data|details
      |evidence)
    | (?:n/?a|unknown|unanswerable|empty\s+response|no\s+(?:answer|information|data|response)
      |not\s+(?:sure|{_SAID}|answerable|enough\s+information))$
    | there(?:'s|\s+is)\s+no\s+way\s+(?:to\s+(?:know|tell|determine)|of\s+knowing)
    | (?:it|this|that)(?:'s|\s+is|\s+was)(?:\s+not|n't)\s+(?:\w+ly\s+)?(?:mentioned|specified
      |stated|addressed|discussed|answered|described)
    | not\s+(?:\w+ly\s+)?{_SAID}\s+in\s+{_THE}{_SOURCE}
    | (?:this|that|it|the\s+question)\s+(?:is|falls|lies|goes)\s+(?:\w+\s+)?(?:beyond|outside
      |out\s+of)\s+(?:of\s+)?(?:the\s+|my\s+)?(?:scope|knowledge)
    | i\s+(?:must|have\s+to)\s+decline|my\s+(?:knowledge|sources|data)\s+(?:does|do|is)(?:\s+not
      |n't)
"""
_EN_LEAD = rf"""
      [^,]{{0,160}}\b(?:{_SOURCE}|knowledge)\b[^,]{{0,100}},\s*|(?:as\s+an\s+ai|as\s+for|regarding
      |concerning|about|for|sorry|apologies|unfortunately|regrettably|at\s+this\s+time|currently
      |to\s+be\s+honest|honestly|well|hmm|no)\b[^,]{{0,100}},\s*
      |(?:i'm|i\s+am|we're|we\s+are)\s+(?:\w+\s+)?(?:sorry|afraid)(?:\s+that)?[,:-]?\s*
      |(?:sorry|unfortunately|regrettably|currently|honestly|apparently|also|so|and
      |because)[,:-]?\s+
      |i\s+apologi[sz]e[,:-]?\s*|(?:the\s+)?(?:short\s+)?answer(?:\s+is)?:\s*|it\s+(?:seems|appears)
      \s+(?:that\s+)?|i\s+(?:think|believe)\s+(?:that\s+)?
"""
_EN_FILLER = rf"""
      (?:i'm|i\s+am|we\s+are)?\s*(?:\w+\s+)?sorry\b[^,]{{0,60}}$|(?:my\s+)?apologies\b
      |unfortunately$|i\s+apologi[sz]e\b|thank\s+you\b|thanks\b|hi\b|hello\b
    | (?:so\s+)?(?:please|kindly|feel\s+free|let\s+me\s+know|try\b|consider\b|contact\b|consult\b
      |check\s+(?:with|the)|ask\s|refer\s+to|see\s+the|reach\s+out)
    | you\s+(?:may|might|could|should|can|will|would|'ll)\s+(?:\w+\s+){{0,4}}?(?:contact|consult
      |check|ask|refer|reach|try|look|find|rephras|provid|visit|search)
    | (?:i|we)(?:'d|\s+would)?\s+(?:recommend|suggest|advise)\b|i(?:'d|\s+would)\s+(?:be\s+happy
      |need)|i\s+can\s+(?:only|help|try)\b|if\s+you\s+(?:have|can|could|need|provide|let|share|would
      |want|give|tell)\b|is\s+there\s+anything|for\s+(?:more|further)\s+information
    | (?:{_THE})?{_SOURCE}\s+(?:\w+\s+)?(?:only\s+|mainly\s+|primarily\s+)?(?:discuss(?:es)?
      |mentions?
      |describes?|talks?\s+about|focus(?:es)?|only\s+\w+|is\s+(?:about|only)|are\s+(?:about|only)
      |appears?\s+to\s+be|seems?\s+to\s+be|deals?\s+with|relates?\s+to)\b
    | (?:the|these|this)\s+(?:provided\s+|given\s+|retrieved\s+)?(?:context|documents?|texts?
      |passages?|sources?|excerpts?)\s+(?:provided\s+)?(?:covers?|contains?|includes?|provides?)\b
    | (?:it|they)\s+only\s+\w+|it\s+(?:may|might|could)\s+be\b
"""

# --- Portuguese -------------------------------------------------------------------------------

_FONTE = (
    r"(?:contextos?|documentos?|documentação|textos?|trechos?|passage(?:m|ns)|fontes?|material"
    r"|materiais|informações|informação|base\s+de\s+conhecimento|manual|arquivos?|conteúdo|dados"
    r"|políticas?|páginas?)"
)
_DITO = (
    r"(?:mencionad|especificad|informad|indicad|fornecid|descrit|declarad|explicitad|definid|citad"
    r"|abordad|apresentad|dad|respondid|encontrad|incluíd|detalhad)[oa]s?|disponíve(?:l|is)"
)
_DADOS = r"(?:informaç(?:ão|ões)|menç(?:ão|ões)|dados|detalhes|respostas?|referências?|registros?)"
_PT = rf"""
      (?:eu\s+)?(?:ainda\s+)?não\s+(?:sei|faço\s+ideia|tenho\s+(?:\w+\s+){{0,2}}(?:informaç
      |acesso|dados
      |conhecimento|certeza|como|detalhes|resposta)|encontrei|encontramos|consegui|conseguimos
      |consigo
      |posso\s+(?:responder|ajudar|informar|determinar|fornecer|dizer|afirmar|confirmar)|pude
      |localizei|disponho|possuo|sou\s+capaz|fui\s+capaz|estou\s+(?:certo|segur)|conheço)
    | não\s+(?:foi|é|era|será)\s+possível\s+(?:\w+\s+)?(?:encontrar|responder|determinar|localizar
      |identificar|saber|dizer|afirmar|obter|fornecer)
    | (?:[\w\s]{{0,60}}\s)?não\s+(?:há|existem?|constam?|temos|foram\s+encontrad[oa]s
      |foi\s+encontrad[oa]|se\s+encontram?|tem)\s+(?:\w+\s+){{0,2}}{_DADOS}
    | (?:(?:o|a|os|as|este|esse|esta|essa|nenhum|nenhuma|nos|no|na|nas)\s+)?{_FONTE}
      (?:\s+\w+){{0,3}}?
      \s+não\s+(?:\w+mente\s+)?(?:menciona|cont[eé]m|fornece|informa|especifica|di[zg]|indica
      |apresenta|tra[zg]|inclu|aborda|cita|responde|cobre|descreve|esclarece|fala|define|explica
      |detalha|revela|(?:é|são)\s+suficiente|permite)\w*
    | (?:ele|ela|isso|isto)?\s*não\s+(?:menciona|especifica|informa|diz|indica|esclarece)\w*
    | .{{0,200}}\bnão\s+(?:é|foi|está|são|estão|foram)\s+(?:\w+mente\s+)?(?:{_DITO})
      (?:\s+\w+mente)?(?:$|\s+(?:n[oa]s?|nest[ea]s?|ness[ea]s?|em|pel[oa]s?)\s+(?:\w+\s+)?{_FONTE})
    | .{{0,120}}\bnão\s+(?:consta|aparece|figura|se\s+encontra|está)\w*\s+(?:n[oa]s?|em)\s+{_FONTE}
    | sem\s+{_DADOS}|desconheço|ignoro\b|nenhum(?:a)?\s+{_DADOS}\s*(?:$|sobre|fo[ir]|disponíve
      |n[oa]s?)
    | (?:a\s+)?(?:resposta|informação)\s+não\s+(?:está|consta|foi|se\s+encontra|é)\b
    | informaç(?:ão|ões)\s+(?:não\s+\w+|insuficientes?|indisponíve\w+)|(?:desconhecido
      |não\s+informado|não\s+consta|não\s+especificado|não\s+mencionado|não\s+disponível|não\s+sei)$
"""
_PT_LEAD = rf"""
      (?:infelizmente|lamento|desculpe|desculpa|perdão|peço\s+desculpas?|sinto\s+muito
      |lamentavelmente
      |no\s+momento|atualmente|quanto\s+a\w*|sobre|em\s+relação\s+a\w*)\b[^,]{{0,80}}?[,:-]\s*
      |[^,]{{0,120}}\b{_FONTE}\b[^,]{{0,80}},\s*|(?:infelizmente|atualmente|lamento|desculpe|que
      |pois|porque)\s+
"""
_PT_FILLER = rf"""
      (?:me\s+)?(?:desculp\w+|lamento|sinto\s+muito|peço\s+desculpas|infelizmente
      |perdão)\b[^,]{{0,60}}$
    | (?:por\s+favor|recomendo|sugiro|consulte|entre\s+em\s+contato|contacte|verifique|pergunte
      |procure
      |você\s+pode|tente|se\s+(?:você\s+)?(?:precisar|quiser|tiver|puder)|posso\s+ajudar|caso\s)
    | (?:o|os|a|as|este|esse)\s+{_FONTE}(?:\s+\w+){{0,2}}?\s+(?:apenas\s+|só\s+|somente\s+)?
      (?:trata|fala|menciona|descreve|aborda|discute|contém\s+apenas|referem)\w*
"""

# --- German -----------------------------------------------------------------------------------

_QUELLE = (
    r"(?:kontext\w*|dokument\w*|texte?\w*|textabschnitt\w*|passagen?|quellen?|unterlagen?"
    r"|informationen|handbuch|wissensbasis|auszüge?n?|auszug|material\w*|daten|richtlinien?"
    r"|abschnitt\w*"
    r"|angaben|inhalte?n?)"
)
_ANGABEN = (
    r"(?:information(?:en)?|angaben?|hinweise?|daten|auskunft|auskünfte|details?|antwort(?:en)?"
    r"|treffer"
    r"|ergebnisse?|erkenntnisse|erwähnung(?:en)?)"
)
_GESAGT = (
    r"(?:erwähnt|genannt|angegeben|beschrieben|behandelt|enthalten|aufgeführt|spezifiziert"
    r"|erläutert"
    r"|beantwortet|thematisiert|definiert|zu\s+finden|ersichtlich|hervor|auffindbar|verfügbar"
    r"|vorhanden|bekannt)"
)
_DE = rf"""
      (?:das\s+|dies\s+|die\s+antwort\s+)?(?:weiß|weiss)\s+ich\s+(?:\w+\s+){{0,2}}nicht|ich\s+
      (?:weiß|weiss)\s+(?:\w+\s+){{0,3}}?nicht|ich\s+bin\s+(?:mir\s+)?nicht\s+sicher|keine\s+ahnung
    | (?:ich|wir)\s+(?:kann|können|konnte|konnten|könnte)\b.{{0,160}}\b(?:nicht|keine?n?
      |nichts)\b.{{0,120}}
      \b(?:beantworten|finden|sagen|feststellen|ermitteln|beurteilen|bestimmen|angeben|entnehmen
      |helfen|geben|nennen|machen|liefern|mitteilen|antworten)$
    | (?:(?:das|dies|dazu|hierzu|darüber|diese\s+frage|leider)\s+)*(?:kann|konnte)\s+ich\s+.{{0,80}}
      \b(?:nicht|keine?|nichts)\b
    | (?:ich\s+(?:habe|finde|fand|besitze)|wir\s+haben|(?:(?:es|dazu|darüber|hierzu|hierüber
      |leider|zu\s.{{1,80}}
      |über\s.{{1,80}})\s+)*(?:habe|finde|liegen|gibt|finden|enthält|enthalten|existieren|sind
      |stehen)\s
      (?:(?:ich|mir|uns|es|sich|im|in|den|der|dem|die|{_QUELLE}|\w+en|\w+er|leider|dazu|hierzu
      |darüber)\s+
      ){{0,8}}?)\s*(?:\w+\s+){{0,3}}?(?:keine(?:rlei|n)?|nicht\s+gen(?:ug|ügend)|nicht\s+ausreichend
      |zu\s+wenig)\s+(?:\w+\s+)?{_ANGABEN}
    | keine\s+(?:(?:\w+en|\w+e)\s+)?{_ANGABEN}(?:$|\s+(?:zu|zum|zur|über|im|in|dazu|vorhanden
      |verfügbar|gefunden|möglich|darüber|hierzu|bezüglich)\b)|keine\s+angaben?\b
    | (?:nicht\s+gen(?:ug|ügend)|unzureichende|nicht\s+ausreichende?)\s+{_ANGABEN}
    | (?:(?:der|die|das|dieser|diese|dieses|den|im|in\s+de[nrm]|aus\s+de[nrm]|laut\s+dem|weder)\s+)
      (?:\w+\s+){{0,2}}?{_QUELLE}\s+(?:\w+\s+)?(?:enthält|enthalten|liefert|liefern|nennt|nennen
      |erwähnt
      |erwähnen|macht|machen|gibt|geben|bietet|sagt|sagen|geht|gehen|lässt|steht|finde|finden
      |findet|reicht|reichen|beantwortet|beantworten|beschreibt|spezifiziert)\b.{{0,160}}
      \b(?:nicht|keine?n?|keinerlei|nichts)\b
    | (?:(?:der|die|das|dieser|diese|dieses|im|in\s+de[nrm])\s+)?(?:\w+\s+){{0,2}}?{_QUELLE}\s+
      (?:wird|werden|ist|sind)\b.{{0,160}}\bnicht\s+(?:\w+\s+)?(?:{_GESAGT}|ausreichend)
    | (?:das|dies|die\s+antwort|darüber|dazu)\s+steht\s+(?:\w+\s+)?nicht\w*\s+(?:im
      |in\s+\w+)\s+{_QUELLE}
    | .{{0,200}}\b(?:wird|werden|ist|sind|geht|gehen|wurde|wurden)\b.{{0,120}}\b(?:im
      |in\s+de[nrm]|aus
      \s+de[nrm]|in\s+diese[nrm])\s+(?:\w+\s+){{0,2}}{_QUELLE}\s+(?:\w+\s+)?nicht\s+
      (?:\w+\s+)?{_GESAGT}
    | (?:das|dies|die\s+antwort|diese\s+information|.{{0,100}})\s*\b(?:wird|werden|ist|sind)\s+
      (?:\w+\s+)?nicht\s+(?:\w+\s+)?(?:erwähnt|genannt|angegeben|bekannt|ersichtlich|spezifiziert)$
    | .{{0,160}}\blässt\s+sich\s+.{{0,160}}\bnicht\s+(?:\w+\s+)?(?:beantworten|feststellen|ermitteln
      |bestimmen|entnehmen|sagen|beurteilen)$
    | (?:die|diese)\s+frage\s+(?:kann|konnte)\b.{{0,160}}\bnicht\s+beantwortet\s+werden
    | (?:mir|uns)\s+(?:ist|sind|liegen)\b.{{0,120}}\b(?:nicht\s+bekannt|keine\s+{_ANGABEN})
      |(?:unbekannt|nicht\s+(?:bekannt|angegeben|erwähnt|verfügbar|beantwortbar))$
      |erwähnt\b.{{0,100}}\bnicht$|enthält\b.{{0,100}}\bkeine\s+{_ANGABEN}
"""
_DE_LEAD = rf"""
      (?:es\s+)?tut\s+mir\s+(?:\w+\s+)?leid[,:-]?\s*|(?:entschuldigung|leider|bedauerlicherweise
      |sorry|verzeihung)[,:-]?\s+(?:dass\s+)?|ich\s+bedau(?:e?re)[,:-]?\s*
      |(?:basierend\s+auf|aufgrund|anhand|auf\s+grundlage|laut|gemäß
      |nach)\b[^,]{{0,100}}{_QUELLE}[^,]{{0,40}}?,?\s+(?=kann|konnte|lässt|ist|wird|gibt|liegen)
"""
_DE_FILLER = rf"""
      (?:es\s+)?tut\s+mir\s+(?:\w+\s+)?leid\b[^,]{{0,40}}$|entschuldigung\b|leider$|vielen\s+dank
      |danke
    | bitte\b|wenden\s+sie|kontaktieren|fragen\s+sie|ich\s+empfehle|sie\s+(?:können|könnten|sollten)
      |wenn\s+(?:sie|du)|falls\s+(?:sie|du)|gerne\b|du\s+(?:kannst|könntest|solltest)|weitere\s
    | (?:der|die|das|dieser|diese)\s+(?:\w+\s+){{0,2}}?{_QUELLE}\s+(?:behandel\w+|beschreib\w+
      |erwähn\w+|handel\w+|bezieh\w+|enthält\s+nur|enthalten\s+nur|beschäftig\w+)
"""


@functools.cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what declines, and what says nothing; compiled when first asked."""
    flags = re.IGNORECASE | re.VERBOSE
    leads = f"(?:{_EN_LEAD} | {_PT_LEAD} | {_DE_LEAD})"
    return (
        re.compile(rf"{leads}{{0,3}} (?:{_EN} | {_PT} | {_DE})", flags),
        re.compile(rf"{leads}{{0,2}} (?:{_EN_FILLER} | {_PT_FILLER} | {_DE_FILLER})", flags),
    )


def is_refusal(answer: str) -> bool:
    """Tell whether an answer declines and says nothing else; an empty one declines."""
    declines, filler = _patterns()
    cuts = _CUT.split(answer.translate(_PLAIN))
    clauses = [clause for cut in cuts if (clause := cut.strip(" \t\"'*()-:,."))]
    if not clauses:
        return True
    declining = [clause for clause in clauses if declines.match(clause)]
    saying = [c for c in clauses if c not in declining and not filler.match(c)]
    return bool(declining) and not saying
