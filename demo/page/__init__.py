"""The demo report: one HTML page from the films to the samples of the trained model.

page                Writes the page.
report_data         Collects what the page shows.
expected_vs_actual  The fault of each film against the result of curation.
timelines           Timelines of a clip and of samples, with the planted actions.
losses              Loss curves.
films               Stills, rows of frames and videos.
"""
