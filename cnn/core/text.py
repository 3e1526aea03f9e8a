"""Text from outside, such as file names, class names and what a file contains, in a form that is safe to print."""


def printable(text: object) -> str:
    r"""Escape everything that is not printable: line breaks, control characters and invalid Unicode.

    That includes the escape sequences of a terminal and the characters that change the direction of text, so that no
    name can move the cursor, recolour the screen or look like another name.

    Examples
    --------
    >>> print(printable("Äpfel und\nBirnen.jpg"))
    Äpfel und\nBirnen.jpg
    >>> print(printable("\x1b[31mred \u202etxt.exe"))
    \x1b[31mred \u202etxt.exe
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def printable_lines(text: str) -> str:
    r"""Escape the same characters, except line breaks and tabs, in a text that has lines of its own.

    Examples
    --------
    >>> print(printable_lines("one\ntwo\x1b[2J"))
    one
    two\x1b[2J
    """
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" else printable(c) for c in text)


def short_text(value: object, length: int = 60) -> str:
    """Return the repr of a value for an error message, cut to ``length`` characters.

    Examples
    --------
    >>> short_text("a name"), short_text(list(range(100)), 12)
    ("'a name'", '[0, 1, 2, 3,...')
    """
    text = printable(repr(value))
    return text if len(text) <= length else text[:length] + "..."
