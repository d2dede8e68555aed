r"""Texts that are shown: without codes that act on a terminal or a page, and in letters that the output has.

Texts from files (titles, names, messages about them) may hold escape codes that move the cursor, rewrite lines that
stand there or turn the direction of writing. They are shown as what they are, `\x1b`, not obeyed.
"""

from __future__ import annotations

import re
import unicodedata
from html import escape

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
