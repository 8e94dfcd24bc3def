"""A synthetic talking corpus with exact ground truth, and the whole workflow run on it.

run         `xsheet demo`: corpus, workflow, samples and page, in this order
corpus      films and their truth tables on disk
new_people  generate videos of drawn people that training did not see, and score them
drawn_set   sets of drawn people whose signals and annotations are the truth
film/       one film: plan, voice and other sounds, rendering, ground truth
puppet/     the drawn person: identity, pose, motion and painting
page/       demo.html: expected against actual results
"""

if __name__ == "demo":
    raise ImportError("expected 'xsheet.demo', got a bare 'import demo'; write 'from xsheet import demo'")
