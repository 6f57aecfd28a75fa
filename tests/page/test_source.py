"""What the linter and formatter of the page and the site do not check: long lines in comments and
HTML, and trailing whitespace."""

import pytest

from humanparse.system.packaged import packaged

MAX_COLUMNS = 100
ROOT = packaged("service/page/static").parents[2]
FILES = sorted(
    path
    for folder in ("service/page/static", "export/web")
    for path in packaged(folder).rglob("*")
    if path.suffix in (".js", ".css", ".html")
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_lines_have_at_most_100_columns_and_no_trailing_whitespace(file):
    text = file.read_text(encoding="utf-8")
    assert text.endswith("\n") and not text.endswith("\n\n")
    for number, line in enumerate(text.splitlines(), 1):
        assert len(line) <= MAX_COLUMNS, f"{file.name}:{number} has {len(line)} columns"
        assert line == line.rstrip(), f"{file.name}:{number} has trailing whitespace"
