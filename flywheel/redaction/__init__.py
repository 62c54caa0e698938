"""Personal data and secrets out of logged calls, before anything is written that derives from them."""
