import pytest

from rasa_hybrid.corpora.dstc2_prompts import prompt_acts


@pytest.mark.parametrize(
    "prompt, acts",
    [
        ("Hello , welcome to the Teapot restaurant system?", "welcomemsg()"),
        ("What kind of food would you like?", "request(food)"),
        (
            "Would you like something in the cheap , moderate , or expensive price range?",
            "request(price range)",
        ),
        ("Sorry, I can't hear you", "repeat()"),
        ("Can I help you with anything else?", "reqmore()"),
        ("You are looking for a restaurant is that right?", "confirm-domain()"),
        ("You are looking for a martian restaurant right?", "expl-conf(food=martian)"),
        ("Ok , a restaurant in any part of town is that right?", "expl-conf(area=dontcare)"),
        (
            "Let me confirm , You are looking for a restaurant and you dont care about the price range right?",
            "expl-conf(price range=dontcare)",
        ),
        (
            "Sorry there is no martian restaurant in the centre of town",
            "canthelp(area=center) canthelp(food=martian)",
        ),
        (
            "I'm sorry but there is no restaurant serving cheap modern martian food",
            "canthelp(price range=cheap) canthelp(food=modern martian)",
        ),
        (
            "Sorry there is no cheap restaurant in the west of town serving martian food",
            "canthelp(area=west) canthelp(price range=cheap) canthelp(food=martian)",
        ),
        (
            "I am sorry but there is no other martian restaurant that matches your request",
            "canthelp.exception() canthelp(food=martian)",
        ),
        (
            "Sorry would you like north martian or venusian food?",
            "select(food=north martian) select(food=venusian)",
        ),
        (
            "Sorry would you like the east of town or you dont care",
            "select(area=east) select(area=dontcare)",
        ),
        (
            "Sorry would you like something in the cheap price range or in the expensive price range",
            "select(price range=cheap) select(price range=expensive)",
        ),
        ("the blue teapot is a great restaurant", "offer(name=the blue teapot)"),
        (
            "the blue teapot serves martian food .",
            "offer(name=the blue teapot) inform(food=martian)",
        ),
        (
            "Sure , the blue teapot is on 7 Saint Cup's Road City Centre",
            "offer(name=the blue teapot) inform(addr=7 saint cups road city center)",
        ),
        (
            "The phone number of the blue teapot is 01234 567890 and it is in the cheap price range .",
            "offer(name=the blue teapot) inform(price range=cheap) inform(phone=01234 567890)",
        ),
        (
            "There are 3 restaurants serving martian in the south of town . What price range would you like?",
            "impl-conf(area=south) impl-conf(food=martian) request(price range)",
        ),
        (
            "There are  restaurants if you don't care about the area or the type of food . What price range do you want?",
            "impl-conf(area=dontcare) impl-conf(food=dontcare) request(price range)",
        ),
        ("The kettle is whistling", ""),
        ("", ""),
    ],
)
def test_prompt_means(prompt, acts):
    assert " ".join(map(str, prompt_acts(prompt))) == acts


def test_direction_in_a_name_or_address_is_no_area():
    (offer,) = prompt_acts("north teapot is a great restaurant")
    assert str(offer) == "offer(name=north teapot)"
