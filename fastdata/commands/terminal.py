"""What was read from elsewhere, as it may be shown on a terminal."""


def printable(text: object) -> str:
    """The text, with what a terminal would act on, or could not show, escaped as in a Python string.

    A file's or a class's name may hold sequences that recolour, overwrite or retitle a terminal.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))
