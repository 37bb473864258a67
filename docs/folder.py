"""Write the table of a run folder into docs/architecture.md: `python -m docs.folder`."""

from pathlib import Path

from scorefield.store import ENTRIES

PAGE = Path(__file__).with_name("architecture.md")
MARKS = "<!-- made by docs/folder.py -->\n", "<!-- end -->\n"


def with_table(page: str) -> str:
    """The page with the table of now between its marks."""
    rows = (f"| `{name}` | `{by}` | {what} |\n" for name, by, what in ENTRIES)
    table = "".join(("| file | command | content |\n| --- | --- | --- |\n", *rows))
    before, _, rest = page.partition(MARKS[0])
    return before + MARKS[0] + table + MARKS[1] + rest.partition(MARKS[1])[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
