"""How the site is built from these pages: `scripts/docs`."""

project = "slurmsweep"
author = "The slurmsweep developers"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "slurmsweep"
myst_heading_anchors = 4
