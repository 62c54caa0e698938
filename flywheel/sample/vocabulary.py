"""Words that fill the slots of the sample's sentences, drawn with a generator of one's own."""

from __future__ import annotations

import random
import re
import string


def _listed(text: str) -> tuple[str, ...]:
    """The entries of a list written as text with commas."""
    return tuple(entry.strip() for entry in text.split(","))


FIRST_NAMES = _listed(
    "Amara, Bruno, Carla, Dmitri, Elena, Farid, Greta, Hugo, Ines, Jonas, Keiko, Lars, Maria, Nadia, "
    "Omar, Petra, Quentin, Rosa, Samir, Tilda, Umar, Vera, Wanda, Xavier, Yusuf, Zora, Anton, Bianca, "
    "Cyril, Daria, Emil, Fiona, Goran, Hanna, Igor, Judith"
)
LAST_NAMES = _listed(
    "Almeida, Bauer, Castro, Dubois, Eriksen, Fischer, Gallo, Haddad, Ivanov, Jansen, Kowalski, "
    "Lindqvist, Moreau, Novak, Okafor, Petrov, Quist, Ribeiro, Santos, Tanaka, Ulrich, Varga, Weber, "
    "Xenakis, Yilmaz, Zeman, Brandt, Costa, Dorn, Engel"
)
MAIL_HOSTS = _listed("example.com, example.org, example.net, mail.example, post.example, inbox.example")
CITIES = _listed(
    "Antwerp, Bergen, Cork, Dresden, Eindhoven, Florence, Ghent, Hamburg, Innsbruck, Jena, Krakow, "
    "Lisbon, Malmo, Nantes, Oslo, Porto, Quimper, Rotterdam, Seville, Turin, Uppsala, Valencia, "
    "Warsaw, Zagreb, Aarhus, Bristol, Cologne, Dublin, Espoo, Freiburg, Geneva, Helsinki, Izmir, "
    "Kaunas, Leeds, Marseille, Naples, Odense, Prague, Riga"
)
PRODUCTS = _listed(
    "rain jacket, desk lamp, coffee grinder, yoga mat, boot rack, wool blanket, table fan, bread "
    "knife, bike helmet, travel mug, wall clock, garden hose, board game, phone case, bath towel, "
    "picture frame, camping stove, soup pot, shoe rack, bed sheet, tool box, laptop sleeve, floor "
    "rug, tea kettle, winter scarf, head torch, storage basket, beach umbrella, cutting board, alarm "
    "radio, piano stool, cat tree, kitchen scale, swim cap, paint set, door mat"
)
COLOURS = _listed("red, blue, green, grey, black, white, yellow, brown, orange, purple, beige, turquoise")
RELATIVES = _listed(
    "sister, brother, mother, father, daughter, son, neighbour, colleague, flatmate, cousin, aunt, grandson"
)
MONTHS = _listed(
    "January, February, March, April, May, June, July, August, September, October, November, December"
)
WEEKDAYS = _listed("monday, tuesday, wednesday, thursday, friday")


def order_id(rng: random.Random) -> str:
    """An order number such as "AC-48213"."""
    return f"AC-{rng.randrange(10_000, 100_000)}"


def email(rng: random.Random) -> str:
    """A mail address under a reserved domain, so that it is nobody's."""
    first, last = rng.choice(FIRST_NAMES).lower(), rng.choice(LAST_NAMES).lower()
    local = rng.choice((f"{first}.{last}", f"{first}{rng.randrange(10, 100)}", f"{first[0]}.{last}", last))
    return f"{local}@{rng.choice(MAIL_HOSTS)}"


def slots(rng: random.Random) -> dict[str, str]:
    """A value for every slot that a sentence may use."""
    product, other_product = rng.sample(PRODUCTS, 2)
    order, other_order = order_id(rng), order_id(rng)
    return {
        "order": order,
        "other_order": other_order,
        "email": email(rng),
        "name": rng.choice(FIRST_NAMES),
        "surname": rng.choice(LAST_NAMES),
        "city": rng.choice(CITIES),
        "product": product,
        "other_product": other_product,
        "colour": rng.choice(COLOURS),
        "relative": rng.choice(RELATIVES),
        "date": f"{rng.randrange(1, 29)} {rng.choice(MONTHS)}",
        "day": rng.choice(WEEKDAYS),
        "time": f"{rng.randrange(9, 18):02d}:{rng.choice(('00', '15', '30', '45'))}",
        "price": str(rng.randrange(12, 290)),
        "count": rng.choice(("two", "three", "four", "five", "six", "seven", "eight")),
    }


def fill(template: str, values: dict[str, str]) -> str:
    """The template with its slots filled, and a capital letter where a sentence starts."""
    text = re.sub(r"\ba (?=[aeiou])", "an ", string.Formatter().vformat(template, (), values))
    return text[:1].upper() + text[1:]
