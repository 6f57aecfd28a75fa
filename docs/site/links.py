"""Make the links of the repository's Markdown files work on the documentation site, too.

On the repository's page, a relative link may lead to any file. The site holds `docs/` and the pages
of `PAGES`. A link to another file of the repository leads to the repository's page where `repo_url`
is set in mkdocs.yml, and is plain text until then. A link that leads nowhere stays as it is, so
that MkDocs warns of it, and a strict build fails.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs"
PAGES = {  # in the repository: on the site
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "SECURITY.md": "security-policy.md",
}
LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^()\s#:]+)(#[^()\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie beside `docs/`."""
    for source, target in PAGES.items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page into those of the site."""
    folder = Path(page.file.abs_src_path).parent.relative_to(ROOT).as_posix()

    def on_the_site(link: re.Match) -> str:
        image, text, target, anchor = link[1], link[2], link[3], link[4] or ""
        path = posixpath.normpath(posixpath.join(folder, target))  # from the root of the repository
        inside = PAGES.get(path) or posixpath.relpath(path, DOCS)
        if files.get_file_from_path(inside):
            return f"{image}[{text}]({inside}{anchor})"
        if not (ROOT / path).exists():
            return link[0]
        if config.repo_url:
            return f"{image}[{text}]({config.repo_url.rstrip('/')}/blob/main/{path}{anchor})"
        return text

    return LINK.sub(on_the_site, markdown)
