"""The audit report: one HTML page with the gate, the findings and the worst clips of a layer.

page        Writes the page.
summary     The numbers at the top.
criteria    The gate section.
findings    Findings by check and by annotation.
clips       Cards of the worst clips, compressed cards of the others, a table of all.
details     Details of single clips.
axis        The time axis of one annotation.
curves      The curves of the time axis.
filmstrips  Frames of a clip side by side.
sections    Distributions, comparison with other layers, cost, provenance.
charts      Counts by class and histograms of a layer.
"""
