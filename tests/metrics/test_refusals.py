"""Refusals told from answers, by phrases of three languages and by people's own answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_rag.metrics import get
from pytest_rag.types import Case, Observation, Score, Timing

if TYPE_CHECKING:
    from pathlib import Path


def refusal(answer: str, *, answerable: bool) -> Score:
    """Return the score of one answer."""
    case = Case(id="c", query="q", answerable=answerable)
    observed = Observation(query="q", answer=answer, retrieved=(), timing=Timing(latency_ms=1.0))
    return get("refusal").score(case, observed)


REFUSALS = """
I don't know.
I\u2019m sorry, but I don\u2019t know.
I am not sure.
The provided context does not mention the CEO's shoe size.
Based on the provided context, I cannot determine the CEO's shoe size.
There is no information about the CEO's shoe size in the documents.
I could not find any information on this topic.
I am unable to answer this question with the information given.
The answer is not in the provided documents.
The CEO's shoe size is not mentioned in the context.
The CEO's shoe size is not specified.
Not mentioned in the context.
Not enough information.
No relevant information was found.
Unknown.
N/A
Empty Response
This question cannot be answered from the given context.
It is not possible to determine the shoe size from the context.
Sorry, I can't help with that.
I don't have access to that information.
I have no idea.
Unfortunately, the documents do not say.
Unfortunately, I was not able to find this. Please contact HR for help.
I don't know. The context discusses vacation days and expenses, but does not mention the CEO.
While the context mentions the CEO, it does not specify the shoe size.
I'm sorry, I cannot answer that based on the given information. You may want to ask the HR team.
None of the provided documents mention this.
This is outside the scope of the provided documents.
The given passage doesn't state who the founder was.
Regarding the CEO's shoe size, I don't have any information.
It is unclear from the context what the shoe size is.
Não sei.
Não encontrei informações sobre isso nos documentos.
Infelizmente, não tenho informações sobre o número do sapato do CEO.
O contexto não menciona o número do sapato do CEO.
Não há informações sobre isso no contexto.
Com base no contexto fornecido, não é possível determinar o tamanho.
A resposta não está nos documentos.
Essa informação não é mencionada no texto.
Lamento, mas não sei. Por favor, consulte o RH.
Ich weiß es nicht.
Das weiß ich leider nicht.
Keine Angaben.
Dazu gibt es keine Angaben.
Es gibt keine Informationen über die Schuhgröße.
Dazu liegen mir keine Informationen vor.
Der Kontext enthält keine Informationen dazu.
Leider kann ich diese Frage nicht beantworten.
Es tut mir leid, aber ich habe dazu keine Informationen.
Die Schuhgröße wird im Kontext nicht erwähnt.
Aus dem Kontext geht nicht hervor, welche Schuhgröße der CEO hat.
Die Frage kann anhand des Kontexts nicht beantwortet werden.
Leider finde ich im Handbuch keine Angaben dazu. Bitte wenden Sie sich an die Personalabteilung.
I do not have sufficient context to answer.
The information you are looking for is not available in the handbook.
The context does not specify how many employees work there.
I'm afraid I don't know the answer to that.
I cannot find the answer in the given documents.
It's not mentioned.
There's no mention of parking in the provided text.
No mention of this in the context.
The given context has no information on parking fees.
Based on the information provided, there is no way to know the parking fee.
I don't see any information about parking in the documents.
The text provides no information about parking.
Insufficient information.
That information isn't provided in the context.
Sorry, I don't know.
Cannot be determined from the context.
The answer cannot be determined from the given information.
I have not been able to find any information about this.
I was unable to find information about parking.
My apologies, but the provided context doesn't contain this information.
The question is not answered in the text.
I wasn't able to locate that in the provided documents.
Não tenho essa informação.
Os documentos não mencionam o estacionamento.
Não há menção a estacionamento no texto.
Infelizmente, o contexto fornecido não traz essa informação.
Não sei responder a essa pergunta.
O texto não especifica.
Não existe informação sobre isso.
Desculpe, mas não posso responder a essa pergunta.
Ich habe dazu keine Angaben gefunden.
Im Kontext finden sich keine Informationen zu Parkplätzen.
Darüber liegen keine Informationen vor.
Das steht nicht im Dokument.
""".strip().splitlines()

ANSWERS = """
Up to five days.
No.
None.
Yes, but not on Sundays.
I could not find the exact rule, but the limit is 40 euros.
I could not find X in the documents. The limit is 40 euros per night.
Employees may not carry over more than five days.
The policy does not cover dental treatment.
The limit does not apply to interns.
Unused days are not paid out, and they expire on 31 March.
The incident was not mentioned in the press until 1999.
He did not know the password, so the account was locked.
The suspect said: "I don't know", and left the room.
No information may be shared with third parties.
There is no limit on remote work.
There is no evidence that vaccines cause autism.
The contract cannot be terminated before the end of the year.
The winner cannot be determined until the votes are counted in March.
You do not need a receipt below 10 euros.
Not every employee has access to the data room; ask your manager for a badge.
I'm not sure about the exact date, but it was in 1987.
Data is not stored in the United States.
The API returns an empty response with status 204.
The document must be signed by both parties. It does not need a stamp.
If you cannot find your badge, contact reception and they will issue a new one.
Please contact HR and hand in form A12.
The function returns unknown when no key matches.
The treaty makes no mention of God.
It is not known who built Stonehenge.
Nobody knows: the manuscript was lost in 1731.
No data roaming charges apply in the EU.
The information in the file is encrypted at rest with AES-256.
We do not provide refunds after 30 days.
According to the document, the deadline is 5 May.
The server does not answer on port 80 because the firewall blocks it.
Não, o limite é de 40 euros.
Não encontrei a regra exata, mas o limite é de 40 euros.
O prazo não se aplica a estagiários.
Não há limite para trabalho remoto.
Nein, das ist nicht erlaubt.
Ich konnte die genaue Regel nicht finden, aber die Grenze liegt bei 40 Euro.
Es gibt keine Begrenzung für Telearbeit.
Mitarbeiter dürfen keine Daten an Dritte weitergeben.
Das Gerät ist nicht mit 5-GHz-Netzen kompatibel.
Der Antrag muss nicht unterschrieben werden.
The fee does not include parking.
Parking is not provided for visitors.
You can't park there.
No parking information is needed at the gate.
The handbook was not updated in 2023.
Guests must sign in; they cannot enter alone.
It is not included in the price.
Breakfast is not included.
The text field does not accept more than 255 characters.
If no document is found, the function returns None.
There are no known side effects.
The answer is no.
The answer to the question is 42.
I don't think so; the limit is 30 days.
The content of the package is not covered by insurance.
The data does not leave the EU.
The policy does not mention a maximum, so any amount can be claimed.
The file does not have an extension, so the parser treats it as plain text.
No details are stored after 30 days.
This information is not public before the release on 5 May.
Os documentos não podem ser retirados da sala.
O seguro não cobre viagens privadas.
Os dados não são armazenados fora da UE.
Não, apenas gerentes podem aprovar.
Die Unterlagen dürfen nicht mitgenommen werden.
Die Daten werden nicht gespeichert.
Im Büro gibt es keine Parkplätze.
Das Frühstück ist nicht enthalten.
Diese Richtlinie gilt nicht für Praktikanten.
Das Dokument ist nicht öffentlich, sondern nur intern verfügbar.
""".strip().splitlines()


@pytest.mark.parametrize("answer", [*REFUSALS, "", "  \n"])
def test_a_refusal_is_right_where_there_is_no_answer(answer: str) -> None:
    """To decline is right on an unanswerable question and wrong on any other."""
    assert refusal(answer, answerable=False).value == 1.0
    wrong = refusal(answer, answerable=True)
    assert wrong == Score(value=0.0, reason="it refused to answer")


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_right_where_there_is_one(answer: str) -> None:
    """A negation, a quotation or a humble beginning makes no refusal."""
    assert refusal(answer, answerable=True).value == 1.0
    wrong = refusal(answer, answerable=False)
    assert wrong == Score(value=0.0, reason="it answered what it cannot know")


def test_hardly_a_human_answer_is_called_a_refusal(data_dir: Path) -> None:
    """Of some two thousand reference answers at most two look like refusals."""
    references = []
    for name in ("clapnq_dev", "anthropic_docs", "xquad_en", "xquad_de"):
        lines = (data_dir / name / "queries.jsonl").read_text(encoding="utf-8").splitlines()
        references += [answer for line in lines if (answer := json.loads(line).get("answer"))]
    refused = [answer for answer in references if refusal(answer, answerable=True).value == 0]
    assert len(references) > 2000
    assert len(refused) <= 2, refused
