"""What the linter of the page does not check: the width of lines, also in comments and in HTML, and
blanks at their ends."""

import pytest

from humanparse.system.packaged import packaged

MAX_COLUMNS = 100
STATIC = packaged("service/page/static")
FILES = sorted(path for path in STATIC.rglob("*") if path.suffix in (".js", ".css", ".html"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(STATIC).as_posix())
def test_lines_are_at_most_100_columns_wide_without_blanks_at_the_end(file):
    text = file.read_text(encoding="utf-8")
    assert text.endswith("\n") and not text.endswith("\n\n")
    for number, line in enumerate(text.splitlines(), 1):
        assert len(line) <= MAX_COLUMNS, f"{file.name}:{number} has {len(line)} columns"
        assert line == line.rstrip(), f"{file.name}:{number} ends with blanks"
