"""Charts as SVG: numbers in, markup out. Colours are the page's, by CSS class."""
