"""Filter: measures and limits to verdicts.

limits   limits per section; presets hold their values
columns  measures of all candidates as arrays, by dotted path
decide   rules, verdicts, and deciding a whole set again
sweep    what one limit keeps over a range of values
"""
