"""What a netlist may say: elements and analyses in a small grammar, nothing that a simulator takes for a command."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from neurodecorr.errors import InputError

TITLE = "* neurodecorr"

# A value with its unit, "4.7kohm" say; the letters go with the number, so no two tokens can be read in two ways.
_NUMBER = r"[-+]?(?:\d++\.?\d*+|\.\d++)(?:e[-+]?\d++)?+[a-z]{0,12}+"
_WORD = r"[a-z_]\w{0,80}+"
_NODE = r"\w{1,80}+"
_PROBE = rf"(?:v\( ?{_NODE}(?: ?, ?{_NODE})? ?\)|i\( ?{_WORD} ?\))"
_SHAPES = "dc|ac|pwl|pulse|sin|exp|sffm|am"
_SETTINGS = "ic|tc1|tc2|m|temp|dtemp"
_FUNCTIONS = (
    "abs|acos|acosh|asin|asinh|atan|atanh|ceil|cos|cosh|exp|floor|ln|log|log10|max|min|nint|pow|pwr|sgn|sin|sinh|sqrt"
    "|tan|tanh|u|uramp"
)
_MEASURES = "find|at|when|max|min|avg|rms|integ|pp|trig|targ|val|rise|fall|cross|from|to|td|last|deriv|x|y"
_OPTIONS = (
    "abstol|acct|bypass|chgtol|gmin|gminsteps|incmode|itl1|itl2|itl4|itl5|itl6|maxord|method|noacct|nobypass|noincmode"
    "|noopiter|pivrel|pivtol|reltol|rshunt|short|srcsteps|temp|tnom|trtol|vntol"
)
_VALUE = rf"(?:{_NUMBER}|{_WORD})"
_NODES = rf" {_NODE} {_NODE}"
# What may follow the name of an element, by its letter. None of them has room for the name of a file or a text.
_PASSIVE = rf"{_NODES} {_VALUE}(?: (?:{_SETTINGS}) ?= ?{_NUMBER})*+"
_SOURCE = rf"{_NODES}(?:(?: |(?<=[(),]))(?:(?:{_SHAPES})(?!\w)|{_NUMBER})|[ (),])*+"
_BY_VOLTAGE = rf"{_NODES} {_NODE} {_NODE} (?:{_VALUE}|pwl ?\((?:{_NUMBER}|[ ,])*+\))"
_BY_CURRENT = rf"{_NODES} {_WORD} {_VALUE}"
_ANY = rf"{_NODES} [vi] ?= ?(?:{_PROBE}|(?:{_FUNCTIONS})(?= ?\()|{_NUMBER}|[-+*/^(), ])++"
_SIGNALS = rf"(?: (?:{_PROBE}|{_WORD}))*+"
_GRAMMAR = {
    **dict.fromkeys("rlc", _PASSIVE),
    **dict.fromkeys("vi", _SOURCE),
    **dict.fromkeys("eg", _BY_VOLTAGE),
    **dict.fromkeys("fh", _BY_CURRENT),
    "b": _ANY,
    ".op": "",
    ".end": "",
    ".tran": rf"(?: {_NUMBER}){{2,4}}(?: uic)?",
    ".ic": rf"(?: v\( ?{_NODE} ?\) ?= ?{_NUMBER})++",
    ".save": _SIGNALS,
    **dict.fromkeys((".print", ".store"), rf" (?:op|tran){_SIGNALS}"),
    **dict.fromkeys(
        (".measure", ".meas"),
        rf"(?: tran)? {_WORD}(?: ?=)?"
        rf'(?:{_PROBE}|probe ?= ?"{_PROBE}"|(?:{_MEASURES})(?!\w)|{_NUMBER}|[ =(),])++',
    ),
    **dict.fromkeys(
        (".options", ".option"), rf"(?: (?:numdgt ?= ?\d{{1,2}}|(?:{_OPTIONS})(?: ?= ?{_VALUE})?)(?!\S))*+"
    ),
}
_MATCH: dict[str, Callable[[str], object]] = {
    key: re.compile(rest if key[0] == "." else rf"\w{{0,80}}+{rest}", re.IGNORECASE | re.ASCII).fullmatch
    for key, rest in _GRAMMAR.items()
}
# As comments these are commands to ngspice: a script in the first line, or a line of a control section anywhere.
_COMMANDS = re.compile(r"\*\s*(?:#|ng_script)", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t]+")


@dataclass(frozen=True)
class Cards:
    """A netlist that does no more than it may.

    Parameters
    ----------
    comments : tuple of str
        Its comments, which no simulator gets to see.
    cards : tuple of str
        Elements and analyses, each with its continuation lines; single blanks between words.
    """

    comments: tuple[str, ...]
    cards: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Cards({len(self.cards)} cards, {len(self.comments)} comments)"

    def text(self) -> str:
        """Return the netlist for a simulator: a title and an end of our own, no comments."""
        return "\n".join([TITLE, *self.cards, ".end", ""])


def read_cards(text: str, file: str) -> Cards:
    r"""Read a netlist, and refuse whatever is no element and no analysis.

    Elements are R, C, L, V, I, E, F, G, H and B, written out with numbers and names alone; cards are .op, .tran, .ic,
    .measure, .save, .store, .print, .options and .end. The first line is a title, whatever it looks like.

    Parameters
    ----------
    text : str
        The netlist.
    file : str
        Its name, for messages.

    Returns
    -------
    Cards
        What it says.

    Raises
    ------
    InputError
        With the first line that is something else.

    Examples
    --------
    >>> print(read_cards("A resistor\nR1 a 0\n+ 1k\n.op\n", "netlist.cir").text(), end="")
    * neurodecorr
    R1 a 0
    + 1k
    .op
    .end
    """
    comments: list[str] = []
    pieces: list[tuple[int, list[str]]] = []
    ended = False
    for number, raw in enumerate(text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"), start=1):
        line = _BLANKS.sub(" ", raw).strip(" ")
        if not line.isprintable() or _COMMANDS.match(line):
            raise _refusal(line, number, file)
        if not line:
            continue
        if number == 1 or line[0] == "*":
            comments.append(line)
        elif ended:
            raise _refusal(line, number, file)
        elif line[0] == "+" and pieces:
            pieces[-1][1].append(line[1:].lstrip(" "))
        else:
            pieces.append((number, [line]))
        ended = ended or line.lower() == ".end"
    for number, parts in pieces:
        _require_harmless(parts[0] if len(parts) == 1 else " ".join(parts), number, file)
    cards = ("\n+ ".join(parts) for _, parts in pieces if parts[0].lower() != ".end")
    return Cards(tuple(comments), tuple(cards))


def _require_harmless(card: str, number: int, file: str) -> None:
    word, blank, rest = card.partition(" ")
    if word[0] == ".":
        matches, said = _MATCH.get(word.lower()), blank + rest
    else:
        matches, said = _MATCH.get(word[0].lower()), card[1:]
    if matches is None or not matches(said):
        raise _refusal(card, number, file)


def _refusal(line: str, number: int, file: str) -> InputError:
    return InputError(
        f"a netlist may hold elements and analyses only; line {number} of {file} is {line[:60]!r}. "
        "Write circuits out in full, without comments behind cards, and run commands yourself."
    )
