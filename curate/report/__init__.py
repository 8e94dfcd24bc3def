"""What became of a set, for people: the funnel, one page of HTML, and everything known about one candidate.

    counted = funnel(read_candidates(set_folder))        # xsheet.curate.report.funnel
    write_report(set_folder, out)                        # xsheet.curate.report.page
    inspect_candidate(set_folder, "clip_ab12")           # xsheet.curate.report.candidate

All of it reads the tables of the set and small still pictures beside them; no video is opened.
"""
