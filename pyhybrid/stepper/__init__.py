"""Views of a trace: text for a terminal, one HTML file for a browser, a widget for a notebook. And a point to drag over a map.

`trace_operator` runs an operator's forward and backward under the recorder; `as_text`, `print_trace`, `as_html`,
`save_html` and `widget` show any trace. `Point` shows what an operator that reads between pixels says at every place.
"""

from pyhybrid.stepper.html import as_html, save_html, widget
from pyhybrid.stepper.operator import trace_operator
from pyhybrid.stepper.point import Point
from pyhybrid.stepper.text import as_text, print_trace

__all__ = ["Point", "as_html", "as_text", "print_trace", "save_html", "trace_operator", "widget"]
