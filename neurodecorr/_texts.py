r"""Texts that are shown: without codes that act on a terminal or a page, and in letters that the output has.

Texts from files (titles, names, messages about them) may hold escape codes that move the cursor, rewrite lines that
stand there or turn the direction of writing. They are shown as what they are, `\x1b`, not obeyed.

Descriptions and results are shown in one line, or as a small table in a notebook, without their arrays: `short_repr`.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Mapping
from html import escape
from typing import Any, TypeVar

Kind = TypeVar("Kind")

# Two lines of a terminal; and what one field may take of them, so that a long text does not hide the others.
WHOLE, LONGEST = 240, 60
# Items of a sequence that are shown one by one.
FEW = 8
# Controls, format characters (marks of direction, zero width), halves of pairs, separators of lines and paragraphs.
_ACTING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# What the library itself prints beyond ASCII and Latin letters, longest first.
_PLAIN = {
    "x̄": "xbar",
    "ᵀ": "^T",
    "ᵢ": "_i",
    "ⱼ": "_j",
    "½": "1/2",
    "‖": "||",
    "√": "sqrt ",
    "Σ": "sum ",
    "∫": "integral ",
    "∞": "inf",
    "∂": "d",
    "∇": "grad ",
    "·": ".",
    "∘": "o",
    "×": "x",
    "÷": "/",
    "±": "+-",
    "−": "-",
    "–": "-",
    "—": "-",
    "‐": "-",
    "‑": "-",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "≠": "!=",
    "∝": "~",
    "→": "->",
    "←": "<-",
    "↔": "<->",
    "⇒": "=>",
    "↓": "v",
    "↑": "^",
    "…": "...",
    "•": "*",
    "⟨": "<",
    "⟩": ">",
    "⊙": "*",
    "∈": "in",
    "°": " deg",
    "µ": "u",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "«": '"',
    "»": '"',
    "✓": "yes",
    "✗": "no",
    "█": "#",
    "▏": "|",
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "epsilon",
    "ζ": "zeta",
    "η": "eta",
    "θ": "theta",
    "κ": "kappa",
    "λ": "lambda",
    "μ": "mu",
    "ν": "nu",
    "ξ": "xi",
    "π": "pi",
    "ρ": "rho",
    "σ": "sigma",
    "τ": "tau",
    "φ": "phi",
    "χ": "chi",
    "ψ": "psi",
    "ω": "omega",
    "Γ": "Gamma",
    "Δ": "Delta",
    "Λ": "Lambda",
    "Φ": "Phi",
    "Ψ": "Psi",
    "Ω": "Ohm",
}
# A decomposed letter with a bar, such as ȳ written as y and U+0304.
_BARRED = re.compile("(\\w)\u0304")
# Exponents, such as those of 10⁻¹².
_RAISED = re.compile("[⁺⁻⁰¹²³⁴-⁹]+")


def printable(text: str, keep: str = "\n\t") -> str:
    r"""Return a text in which characters that act, rather than show, are spelt out.

    Parameters
    ----------
    text : str
        Any text.
    keep : str, default newline and tabulator
        Which of them stay.

    Returns
    -------
    str
        The same text where it has none.

    Examples
    --------
    >>> printable("a \x1b[31mtitle")
    'a \\x1b[31mtitle'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter if letter in keep or unicodedata.category(letter) not in _ACTING else _spelt(letter) for letter in text
    )


def printable_unless_markup(value: Any) -> Any:
    """Return a value as a template shows it: markup as it is, all else as a printable text."""
    return value if hasattr(value, "__html__") else printable(str(value))


def one_line(text: str) -> str:
    """Return a text in one line, blanks made one, with nothing in it that acts; for titles and names.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        Its line.
    """
    return printable(" ".join(text.split()), keep="")


def html_text(text: str) -> str:
    """Return a text as it stands in a page: marks of HTML escaped, and nothing in it that acts.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        For content and for attributes between quotes.
    """
    return escape(printable(text))


def encodable(text: str, encoding: str) -> str:
    """Return a text in letters that an encoding has: τ becomes tau, x̄ xbar, ≤ becomes <=.

    Parameters
    ----------
    text : str
        Any text.
    encoding : str
        Name of a codec.

    Returns
    -------
    str
        The same text if it can be encoded.

    Examples
    --------
    >>> encodable("‖x − R x̄‖ ≤ 1 µV", "ascii")
    '||x - R xbar|| <= 1 uV'
    """
    if _fits(text, encoding):
        return text
    for letters, plain in _PLAIN.items():
        if letters in text and not _fits(letters, encoding):
            text = text.replace(letters, plain)
    text = _RAISED.sub(lambda found: _exponent(found[0], encoding), text)
    if not _fits("\u0304", encoding):
        text = _BARRED.sub(r"\1bar", text)
    return text if _fits(text, encoding) else "".join(_plainest(letter, encoding) for letter in text)


def _exponent(raised: str, encoding: str) -> str:
    return raised if _fits(raised, encoding) else "^" + unicodedata.normalize("NFKD", raised).replace("\u2212", "-")


def _plainest(letter: str, encoding: str) -> str:
    """Return a letter without its accents, a line of a table as a dash or a bar, anything else by its number."""
    if _fits(letter, encoding):
        return letter
    name = unicodedata.name(letter, "")
    if name.startswith("BOX DRAWINGS"):
        return (
            "-" if name.endswith(" HORIZONTAL") and " AND " not in name else "|" if name.endswith("T VERTICAL") else "+"
        )
    if name.startswith(("BLOCK", "LEFT", "FULL", "LOWER", "UPPER")) and name.endswith("BLOCK"):
        return "#"
    base = "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
    base = base.replace("\u2212", "-")
    return base if base and _fits(base, encoding) else _spelt(letter) if not unicodedata.combining(letter) else ""


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeError:
        return False
    return True


def _spelt(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode() if not letter.isascii() else f"\\x{ord(letter):02x}"


def short_repr(kind: Kind) -> Kind:
    """Give a class a repr of one line, unless it writes its own, and the same as a table for notebooks.

    ::

        Name(field=value, …)

    It stands above `dataclass`, whose repr would print whole arrays. Arrays are shown by their shape and type. Where
    the line is too long, fields at their defaults are left out.
    """
    own: Any = kind
    made = vars(own).get("__repr__")
    if own.__repr__ is object.__repr__ or hasattr(made, "__wrapped__"):  # none, or the one that `dataclass` makes
        own.__repr__ = _line
    own._repr_html_ = _table
    return kind


def brief(value: Any) -> str:
    """Return one short line that tells what a value is: a number, a text, or the shape of an array.

    Examples
    --------
    >>> import numpy as np
    >>> brief(np.eye(3)), brief(1 / 3), brief("short"), brief(range(100)), brief(list(range(100)))
    ('(3, 3) float64', '0.333333', "'short'", 'range(0, 100)', 'list of 100')
    """
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None and not isinstance(value, type):
        return f"{tuple(shape)} {str(dtype).removeprefix('torch.')}" if shape else brief(value.item())
    if isinstance(value, float):
        return f"{value:.6g}"
    words = _several(value) if isinstance(value, Mapping | list | tuple | set | frozenset) else one_line(repr(value))
    if " at 0x" in words:  # a function, or an object that says no more of itself
        return str(getattr(value, "__name__", type(value).__name__))
    if len(words) <= LONGEST:
        return words
    return f"{words[: LONGEST - 1]}…" if isinstance(value, str) else f"{type(value).__name__}(…)"


def _several(value: Any) -> str:
    """Return a few short items, or how many there are."""
    if len(value) > FEW:
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, Mapping):
        words = "{" + ", ".join(f"{name!r}: {brief(one)}" for name, one in value.items()) + "}"
    else:
        items = ", ".join(brief(one) for one in value)
        words = f"[{items}]" if isinstance(value, list) else f"({items}{',' if len(value) == 1 else ''})"
    return words if len(words) <= LONGEST else f"{type(value).__name__} of {len(value)}"


def _fields(found: Any) -> list[tuple[str, str, bool]]:
    """Return name, short value, and whether it is the default, of each field that a repr shows."""
    fields = [field for field in dataclasses.fields(found) if field.repr] if dataclasses.is_dataclass(found) else []
    return [(f.name, brief(getattr(found, f.name)), _is_default(f, getattr(found, f.name))) for f in fields]


def _is_default(field: Any, value: Any) -> bool:
    return value is field.default or (isinstance(value, str | float | int) and value == field.default)


def _line(self: Any) -> str:
    """Return the class and its fields in one line."""
    fields, name = _fields(self), type(self).__qualname__
    line = f"{name}({', '.join(f'{key}={value}' for key, value, _ in fields)})"
    if len(line) > WHOLE:
        line = f"{name}({', '.join(f'{key}={value}' for key, value, default in fields if not default)})"
    return line if len(line) <= WHOLE else f"{line[: WHOLE - 2]}…)"


def _table(self: Any) -> str:
    """Return the fields of an object one by one, or its own repr, in HTML."""
    fields = _fields(self) if vars(type(self)).get("__repr__") is _line else []
    if not fields:
        return f"<code>{html_text(repr(self))}</code>"
    rows = "".join(f"<tr><th>{html_text(name)}</th><td>{html_text(value)}</td></tr>" for name, value, _ in fields)
    return f"<table><caption>{html_text(type(self).__qualname__)}</caption>{rows}</table>"
