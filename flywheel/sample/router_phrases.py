"""What the support router's customers ask for, in many words for each intent.

Reasons of cancellations and returns are paraphrases: the right enum value has to be understood, not copied.
"""

from __future__ import annotations

TRACK = (
    "where on earth is my parcel {order} at the moment",
    "could you look up how far {order} has come",
    "I would like to know when {order} is finally going to arrive",
    "the tracking page shows nothing for {order}, what is its status",
    "has {order} already left your warehouse or not",
    "what is happening with the delivery of order {order}",
    "can somebody tell me whether {order} was shipped yet",
    "I am still waiting on {order}, please check on it",
    "give me an update about {order} if you can",
    "which day will the courier bring {order} to my door",
    "is there any news on purchase number {order}",
    "my delivery app lost {order}, so find out where it went",
    "do you happen to see {order} anywhere in your system",
)

CANCEL = (
    "please cancel order {order} because {reason}",
    "I want to cancel {order}, {reason}",
    "stop {order} before it gets packed, {reason}",
    "{reason}, so kindly scrap order number {order}",
    "can you still call off {order}? the thing is that {reason}",
    "do not send {order} any more since {reason}",
    "I need {order} to be annulled as {reason}",
    "is it too late to withdraw from {order}? {reason}",
    "{reason} and therefore {order} can be deleted",
    "kill the purchase {order} for me, {reason}",
    "undo what I bought under {order}: {reason}",
)
CANCEL_REASONS = {
    "changed_mind": (
        "I simply do not want it any longer",
        "I thought about it again and decided against it",
        "my {relative} and I had a change of heart",
        "I slept on it and will do without",
        "it was a silly impulse and I regret it",
        "I have reconsidered the whole idea",
    ),
    "found_cheaper": (
        "another shop sells the very same thing for less",
        "I saw it {price} euros cheaper elsewhere",
        "a competitor has a much better price",
        "there is a discount on it at a store in {city}",
        "you are charging more than everybody else does",
        "the same model costs far less next door",
    ),
    "ordered_twice": (
        "I clicked the button two times by accident",
        "it is a duplicate of one I placed already",
        "my {relative} had bought the identical thing before me",
        "the page froze and I ended up with a pair of them",
        "I seem to have placed it double",
        "we now have the same purchase in there twice",
    ),
    "too_slow": (
        "it takes way too long to get here",
        "I cannot wait another {count} weeks for it",
        "the delivery is getting later and later",
        "it would only come after the birthday on {date}",
        "I needed it by {date} and that is not going to happen",
        "you keep postponing it and that is too slow for me",
    ),
}

RETURN = (
    "I have to send back {order} since {reason}",
    "please open a return for {order}, {reason}",
    "{reason}, how do I give {order} back to you",
    "I would like my money back for {order} because {reason}",
    "order {order} reached me today but {reason}, so it goes back",
    "take {order} back please: {reason}",
    "what I got under {order} cannot stay here, {reason}",
    "can I return what came with {order}? {reason}",
    "start the refund of {order} for me as {reason}",
    "arrange a pickup of {order}, the reason being that {reason}",
    "I am not keeping {order}, {reason}",
)
RETURN_REASONS = {
    "damaged": (
        "it arrived with a big crack in the side",
        "the {product} was smashed to pieces inside the box",
        "one corner is broken off",
        "there is a deep scratch and it no longer works",
        "it was dented and leaking when I unpacked it",
        "the glass had shattered on the way",
    ),
    "wrong_item": (
        "you sent me a {product} that I never asked for",
        "the box held a {other_product} and not the {product}",
        "somebody else's things were in my package",
        "I was given a completely different article",
        "I asked for a {product} and found a {other_product}",
        "it is not the article I picked in the shop",
    ),
    "wrong_size": (
        "it is far too tight around the shoulders",
        "it turned out {count} centimetres too short",
        "it is much larger than I had measured",
        "it does not fit my {relative} at all",
        "it is two sizes too small",
        "it is so wide that it will not go through the door",
    ),
    "unwanted": (
        "we just do not need it after all",
        "my {relative} did not like the present",
        "I am not happy with how it looks",
        "the {colour} does not go with our furniture",
        "I have no use for it any more",
        "nobody here wants to keep it",
    ),
}


EMAIL = (
    "from now on please write to {email}",
    "my address has changed to {email}, can you put that into my account",
    "I no longer read my old inbox, use {email} in future",
    "kindly replace the mail on my profile by {email}",
    "set my contact address to {email}",
    "newsletters and invoices ought to go to {email} instead",
    "could my login be moved over to {email}",
    "I mistyped my mail when signing up, it has to be {email}",
    "register {email} as the place where you reach me",
    "our company renamed itself, so {email} is my new mail",
    "swap the e-mail you have on file with {email}",
)

STORE = (
    "is there one of your shops in {city} or close to it",
    "where can I find a branch around {city}",
    "I will be in {city} and want to visit you in person",
    "what are the opening hours of the {city} shop",
    "give me the street address of your place in {city}",
    "does Acme have a showroom anywhere in {city}",
    "I want to try things on, is {city} possible",
    "which of your outlets is nearest to the centre of {city}",
    "can I walk into a shop in {city} this week",
    "we are moving to {city}, are you there too",
    "how do I get to you from {city} main station",
)

CALLBACK = (
    "could someone ring me on {day} at {time}",
    "I would rather talk on the phone, {day} {time} suits me",
    "please phone me back {day}, {time} sharp",
    "book me a call for {day} at {time}",
    "an adviser should call me this {day} around {time}",
    "I am free on {day} from {time}, give me a ring then",
    "can we speak over the telephone at {time} on {day}",
    "have one of your people dial my number {day} at {time}",
    "writing is no use, I want a phone call on {day}, say {time}",
    "put me down for a telephone appointment, {time} on {day}",
    "would it be possible to be called at {time} next {day}",
)

MISSING_ORDER = (
    "where is the {product} that I bought from you on {date}",
    "I would like to send back my {colour} {product}",
    "please cancel what I ordered yesterday, I found a cheaper {product}",
    "has my parcel with the {product} left yet",
    "the {product} you delivered is broken and I want a refund",
    "my package for {price} euros never turned up in {city}",
    "how long until the {colour} {product} gets here",
    "I changed my mind about the {product}, stop it",
    "you shipped a {other_product} in place of my {product}, take it back",
    "my {relative} is asking when our {product} will come",
)
OFF_TOPIC = (
    "can you write a poem about {city} in {date} weather",
    "who is going to win the election in {city}",
    "what is the square root of {price} times {count}",
    "help my {relative} with the homework about the {colour} planet",
    "translate the word {product} into Portuguese and Finnish",
    "which shares should I buy with {price} euros",
    "tell me a joke about a {product} and a {other_product}",
    "how do I bake a cake for {count} people",
    "what will the weather in {city} be like on {date}",
    "book me a flight from {city} for {count} adults",
    "my {relative} has a headache, which pill is good for that",
    "please debug the Python script of my {relative}",
)
SMALL_TALK = (
    "that was all, the {product} is wonderful by the way",
    "I only wanted to say that the lady in {city} was lovely",
    "everything is sorted now, my {relative} found the parcel",
    "nothing to ask today, just testing the chat from {city}",
    "the {colour} {product} arrived on {date} and we love it",
    "great service, {count} stars from {name}",
    "you solved my problem with the {product} last week",
    "wishing the whole team a lovely {date}",
    "I am just browsing, all good here in {city}",
    "never mind, {name} already answered my question about the {product}",
)
