"""The documentation site: `make docs` builds it into docs/_build/html."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import crosslevel

project = "crosslevel"
author = "the crosslevel developers"
copyright = "the crosslevel developers"
version = release = crosslevel.__version__

extensions = ["myst_parser", "sphinx_copybutton", "sphinx_design", "building.sphinx_site"]
exclude_patterns = ["_build", "building"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nitpicky = False
smartquotes = False  # quotation marks are often those of code

html_theme = "furo"
html_title = f"crosslevel {version}"
html_static_path = ["_static"]
html_css_files = ["crosslevel.css"]
html_copy_source = False
html_show_sphinx = False
html_math_renderer = "mathml"
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#005a92",
        "color-brand-content": "#005a92",
        "font-stack": "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif",
        "font-stack--monospace": "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace",
    },
    "dark_css_variables": {"color-brand-primary": "#7ec1ee", "color-brand-content": "#7ec1ee"},
    "navigation_with_keys": True,
}
pygments_style = "friendly"
pygments_dark_style = "monokai"

python_maximum_signature_line_length = 80
python_display_short_literal_types = True
add_module_names = False
toc_object_entries_show_parents = "hide"

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

linkcheck_timeout = 20
linkcheck_retries = 2
