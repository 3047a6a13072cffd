"""Pages of one HTML file, which ask for nothing else: their content security policy forbids it."""

import hashlib
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from lnln_jax.runtime.files import write_file


def write_html(path: Path, template: str, *, title: str, **parts: str) -> None:
    """Writes a page, whole or not at all.

    Args:
      path: HTML file; an old one is replaced.
      template: name of the template, a file of this package, which begins with `$head`.
      title: title of the page, plain text.
      parts: HTML for the other names in the template.

    Raises:
      OSError: the file cannot be written.
    """
    # Made from all the content: no text in it can have been written with the nonce in mind.
    content = "".join([title, *parts.values()])
    facts = {
        "title": escape(title),
        "nonce": hashlib.sha256(content.encode("utf-8", "replace")).hexdigest(),
    }
    page = _template(template).substitute(
        parts, **facts, head=_template("page_head.html").substitute(facts)
    )
    # Names of files can hold bytes that are not text: browsers show them as U+FFFD.
    write_file(path, page.encode("utf-8", "xmlcharrefreplace"))


def _template(name: str) -> Template:
    return Template(resources.files("lnln_jax.evaluation").joinpath(name).read_text("utf-8"))
