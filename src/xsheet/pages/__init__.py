"""The kit of the HTML reports of curation, audit and demo: self-contained pages that open from a file.

environment  One Jinja environment: escaping, filters, templates and styles of a package and of the kit.
wording      Numbers, durations and untrusted text as readers see them.
scales       Linear and logarithmic scales, round ticks, a number with its interval.
histogram    Bars, limits and ticks of one distribution.
time_axis    Lanes, curves and markers of one clip, placed in percent of its duration.
images       JPEGs of bounded size and data URIs.
loopback     The servers of local pages on 127.0.0.1: token, cookie and origin checks, files of the page.
clips        File names behind clip ids, and links from a page to the clips of a set.

macros.html draws what these modules place; style.css is the style of all reports. browser/ holds the JavaScript
modules of served pages. The kit depends on the data contract only.
"""
