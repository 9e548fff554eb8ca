"""Texts of pictures, and of the tables beside them; nothing here loads matplotlib."""

import re


def rounded(share: float, digits: int) -> str:
    """Write a share in percent; what is not all or nothing is not rounded to it."""
    text, step = f"{share:.{digits}%}", 10.0**-digits
    if share > 0 and text == f"{0:.{digits}%}":
        return f"<{step:.{digits}f}%"
    if share < 1 and text == f"{1:.{digits}%}":
        return f">{100 - step:.{digits}f}%"
    return text


def one_line(text: str, most: int) -> str:
    """Bring text onto one line of at most ``most`` characters, cut in the middle."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    if len(line) <= most:
        return line
    # Most of it from the start; the end often holds the point.
    end = (most - 5) // 3
    return f"{line[: most - 5 - end]} ... {line[-end:]}"
