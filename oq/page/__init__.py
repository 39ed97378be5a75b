"""The report as one HTML file without network or script (``--report``), and single charts as
pictures.

``content`` is what a page shows, as plain values, which are also its JSON; ``evidence`` fills them
from a run, or from a Q/DQ file of any tool and one more pass over the data.  Every chart is a pure
function from such values to SVG (on the kit ``svg``), 360 units wide, a phone's width; ``document``
puts them together.  Every text from a model goes through ``svg.escape``.  May import ``reporting``,
``ranking`` and what stands below.
"""
