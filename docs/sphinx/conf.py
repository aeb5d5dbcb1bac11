"""How Sphinx builds the site: the repository's own Markdown pages, and an API reference from the docstrings.

The source folder is the repository, so that a link between two pages is the same on a code host and on the site. Nothing is imported
and nothing is fetched: the reference is read from the source text, and no page loads anything from another host.
"""

import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
PACKAGES: Final = ("gaelp_assets", "resources", "sensors")
sys.path.insert(0, str(HERE))

project = "gaelp_assets"
extensions = ["myst_parser", "autoapi.extension", "docstrings", "navigation"]
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**", "benchmarks/report.md"]
exclude_patterns = [".*", "**/__pycache__", "build", "site", "docs/sphinx"]
myst_heading_anchors = 3

# With `sphinx-build --fail-on-warning`, every name of the project that a page, a signature or a docstring refers to must exist.
nitpicky = True
nitpick_ignore_regex = [
    # Names of other libraries, in full: without a network, nobody can be asked whether they exist.
    ("py:.*", rf"(?!(?:{'|'.join(PACKAGES)})\b)[a-z_]\w*(\..+)?"),
    # What pydantic and NumPy call their own, as annotations name it.
    ("py:class", r"Annotated\[.*|NDArray|StringConstraints"),
]

# Packages whose names are imported when they are asked for: what refers to one of these is still looked up, by `nitpicky`.
suppress_warnings = ["autoapi.python_import_resolution"]
autoapi_dirs = [str(HERE.parents[1] / package) for package in PACKAGES]
autoapi_root = "docs/api"
autoapi_options = ["members", "undoc-members", "show-module-summary"]
autoapi_member_order = "bysource"
autoapi_add_toctree_entry = False
add_module_names = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "gaelp_assets"
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
