"""What tells the objects of lists and of distinct counts apart."""

import math

_WHOLE = 1 << 63


def item_text(thing: object) -> str:
    """The text that names an object; what UTF-8 cannot hold, as surrogateescape leaves it, is escaped."""
    text = str(thing)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def hashed_value(thing: object) -> int | float | str | None:
    """What a sketch is updated with, so that equal objects are one: numbers by value, others by text; None for NaN.

    >>> hashed_value(2.0), hashed_value(True), hashed_value("2"), hashed_value(("a", 1))
    (2, 1, '2', "('a', 1)")
    """
    if type(thing).__module__ == "numpy":
        thing = thing.item()  # type: ignore[attr-defined]
    if isinstance(thing, float):
        if math.isnan(thing):
            return None
        if not thing.is_integer():
            return thing
        thing = int(thing)
    if isinstance(thing, int) and -_WHOLE <= thing < _WHOLE:
        return int(thing)
    # the library leaves an empty text out; nothing else that it gets is NaN
    return item_text(thing) or math.nan
