"""What every page is made of: one self-contained file, no network, no script; all text escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from lineage.core.plaintext import clean
from lineage.report.sheet import Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; " \
    "form-action 'none'"  # fmt: skip
"""Nothing is loaded and nothing runs. Styles are inline, as the pictures' are; they load nothing
either. `data:` is for the icon, which a browser would else ask a server for."""
ONE_LINE = 36
"""Characters that a cell of a table has in one line; longer ones fold."""


def page(title: str, *parts: str) -> str:
    """Return a page of `parts`, which are HTML; `title` is text."""
    here = files("lineage.report")
    shell = Template(here.joinpath("page.template.html").read_text("utf-8"))
    style = here.joinpath("page.css").read_text("utf-8")
    body = "\n".join(part for part in parts if part)
    return shell.substitute(title=text(title), policy=text(POLICY), style=style, body=body)


def text(value: object) -> str:
    """Return `value` as HTML text: escaped, and every control character made visible."""
    shown = clean(str(value))
    if not shown.replace("\n", "").replace("\t", "").isprintable():
        shown = "".join(
            c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in shown
        )
    return html.escape(shown)


def warned(warning: str) -> str:
    """Return a banner as HTML; nothing where there is no warning."""
    return f'<p class="banner" role="note">{text(warning)}</p>' if warning else ""


def drawn(sheet: Sheet) -> str:
    """Return `sheet` as HTML."""
    head = "".join(f"<th>{text(name)}</th>" for name in sheet.head)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in sheet.rows)
    note = f"<p><small>{text(sheet.note)}</small></p>" if sheet.note else ""
    return (
        f'<h3>{text(sheet.title)}</h3><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{note}"
    )


def _cell(value: str) -> str:
    folds = ' class="words"' if len(value) > ONE_LINE else ""
    return f"<td{folds}>{text(value)}</td>"


def pictured(figures: Sequence[Figure | None], prefix: str = "p") -> str:
    """Return pictures as HTML, each under its question; those that are None are left out.

    `prefix` begins the ids in them: no two calls for one page may share it.
    """
    from lineage.report.figures import panels_svg

    shown = []
    for number, figure in enumerate(figures):
        if figure is not None:
            question = figure.get_suptitle()
            panels = "".join(panels_svg(figure, f"{prefix}{number}", question))
            shown.append(
                f"<figure><figcaption>{text(question)}</figcaption>"
                f'<div class="panels">{panels}</div></figure>'
            )
    return "".join(shown)


def configuration(folder: Path) -> str:
    """Return the section with the `config.yaml` of `folder`, or nothing where there is none."""
    config = folder / "config.yaml"
    if not config.exists():
        return ""
    shown = text(config.read_text(encoding="utf-8"))
    return (
        f'<h2 id="configuration">Configuration</h2><details><summary>config.yaml</summary>'
        f"<pre>{shown}</pre></details>"
    )
