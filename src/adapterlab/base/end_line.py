"""The line by which a command says that it was ended, and what there is to do then."""

GOES_ON = "resume=true goes on from the last epoch"
"""What there is to do after the end of a command that trains; of others there is nothing."""

_after = {"then": ""}


def say_after_end(then: str) -> None:
    """Have the line of this command's end say what there is to do."""
    _after["then"] = then


def ended_by(what: str) -> str:
    """Return how a command ended, and what there is to do."""
    return "; ".join(filter(None, (what, _after["then"])))
