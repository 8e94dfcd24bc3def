"""What became of a set, for people: the funnel, one page of HTML, and everything known about one candidate.

    counted = funnel(set_folder, read_candidates(set_folder))    # xsheet.curate.report.funnel, .candidates
    write_report(set_folder, set_folder / "report.html")         # xsheet.curate.report.page
    found = inspect_candidate(set_folder, "clip_ab12")           # xsheet.curate.report.inspect
    plan = describe(limits, costs, hours=100)                    # xsheet.curate.report.estimate

All of it reads the tables of the set and the small still pictures beside them; no video is opened.
"""
