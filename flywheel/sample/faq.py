"""The order FAQ: questions about the shop's rules, answered in plain text from a short list of facts."""

from __future__ import annotations

import random

from flywheel.sample import chat_phrases
from flywheel.sample.calls import Call, Reply
from flywheel.sample.vocabulary import fill, slots

WORKLOAD = "order-faq"
SYSTEM = (
    "You answer questions about the Acme shop in one or two sentences, using these facts only. "
    "Delivery takes 3 to 5 working days and costs 4.90 euros, or nothing from 60 euros on. "
    "Goods can be returned within 30 days, unused; refunds arrive within 7 days. "
    "We accept cards, PayPal and bank transfer, and ship to all countries of the EU, Norway and Switzerland. "
    "The warranty is 2 years. Gift wrapping costs 3 euros. Vouchers are valid for 3 years."
)

FACTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Delivery takes 3 to 5 working days.",
        (
            "how many days go by until a {product} is delivered to {city}",
            "if I order the {colour} {product} today, when would it get to {city}",
            "what is your usual delivery time for a {product}",
            "can my {relative} count on having the {product} before {date}",
        ),
    ),
    (
        "Delivery costs 4.90 euros, and it is free from 60 euros on.",
        (
            "what do you charge for shipping a {product} worth {price} euros",
            "is postage included when I buy {count} times the {colour} {product}",
            "how much do I pay on top to have a {product} sent to {city}",
            "from which amount on do you deliver without a fee",
        ),
    ),
    (
        "You can return unused goods within 30 days.",
        (
            "until when may my {relative} bring back the {product} we got on {date}",
            "how long is the return period for a {colour} {product}",
            "does the right to return end before {date} if I buy the {product} now",
            "may I give back a {product} after {count} weeks if nobody used it",
        ),
    ),
    (
        "Refunds arrive within 7 days.",
        (
            "I sent the {product} back, when will my {price} euros show up",
            "how soon do you pay the money back for a {colour} {product}",
            "my {relative} has been waiting for {price} euros since {date}, how long do refunds take",
        ),
    ),
    (
        "We accept cards, PayPal and bank transfer.",
        (
            "which ways to pay for the {product} are there",
            "can a customer in {city} settle {price} euros by invoice or what else do you take",
            "do you take PayPal for a {colour} {product}",
            "is it possible that my {relative} pays the {product} by bank transfer",
        ),
    ),
    (
        "We ship to all countries of the EU, Norway and Switzerland.",
        (
            "my {relative} moved abroad, to which countries would you send a {product}",
            "do you deliver a {colour} {product} outside of {city} and even across the border",
            "is it a problem that I live in Norway and want {count} of the {product}",
        ),
    ),
    (
        "The warranty is 2 years.",
        (
            "how long is a {product} under warranty with you",
            "my {product} from {date} stopped working, is that still covered",
            "what guarantee comes with the {colour} {product} for {price} euros",
        ),
    ),
    (
        "Gift wrapping costs 3 euros.",
        (
            "could you wrap the {colour} {product} as a present for my {relative}, and what is the price",
            "is gift paper for {count} parcels free of charge",
            "what does it cost to have a {product} packed nicely for {date}",
        ),
    ),
    (
        "Vouchers are valid for 3 years.",
        (
            "my {relative} found a voucher of {price} euros from {date}, when does it expire",
            "for how many years can a gift card be used on a {product}",
            "is a coupon I got in {city} good for ever",
        ),
    ),
    (
        "I am sorry, I do not know that. Please ask our support team.",
        (
            "who is the manager of the branch in {city}",
            "how many people work on a {product} in your factory",
            "does the {colour} {product} contain nickel, my {relative} is allergic",
            "do you have jobs for students in {city} from {date} on",
        ),
    ),
)


def single_turn(rng: random.Random) -> Call:
    """One question about the rules, with its answer."""
    values = slots(rng)
    answer, questions = rng.choice(FACTS)
    opener, closer = (
        fill(rng.choice(chat_phrases.OPENERS), values),
        fill(rng.choice(chat_phrases.CLOSERS), values),
    )
    detail = fill(rng.choice(chat_phrases.CHAT_DETAILS[:-1]), values)
    text = f"{opener} {rng.choice(questions).format(**values)}? {detail}. {closer}".strip()
    messages = ({"role": "system", "content": SYSTEM}, {"role": "user", "content": text})
    return Call(WORKLOAD, messages, Reply(text=answer), max_tokens=64)
