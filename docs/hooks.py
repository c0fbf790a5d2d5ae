"""What MkDocs does with pages that also serve as READMEs: they lie at the root, and link to files of the repository.

A link to another page stays one, a link to a module leads to the reference. Any other file has no place on the site:
its name stays as text.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "cluster/README.md": "cluster/README.md"}
LINK = re.compile(r"\[([^\]]*)\]\((?!\w+://|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages of the repository that are not below docs/."""
    for path, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with the links of the site."""
    source = Path(page.file.abs_src_path or "").relative_to(ROOT).as_posix()
    return LINK.sub(lambda link: _on_the_site(link, source, page.file.src_uri), markdown)


def _on_the_site(link: re.Match[str], source: str, page: str) -> str:
    text, target, anchor = link[1], link[2], link[3] or ""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    other_page = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    if other_page is not None:
        return f"[{text}]({posixpath.relpath(other_page, posixpath.dirname(page) or '.')}{anchor})"
    if path.startswith("mmcsal/") and path.endswith(".py"):
        return f"[{text}][{path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}]"
    return text
