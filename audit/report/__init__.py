"""Whether a layer can be trusted, as one page of HTML that needs nothing but itself.

    page = write_report(set_folder, layer, set_folder / "audit.html")      # xsheet.audit.report.page

The gate, the findings, distributions, the worst clips with pictures and a time axis, every other clip on demand, the
agreement with other layers, and what the layer cost.
"""
