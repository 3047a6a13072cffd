"""Pages of which a script writes a part, between two marks."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- scripts/recipes/{by} writes from here -->\n", "<!-- to here -->\n"


def between_marks(path: Path, text: str, by: str = "pages.py") -> str:
    """Returns a page with another text between the two marks of a script."""
    begin = BEGIN.format(by=by)
    before, rest = path.read_text("utf-8").split(begin)
    return f"{before}{begin}\n{text}\n\n{END}{rest.split(END, 1)[1]}"
