"""The review page: reviewers see clips with all measurements and annotations, and accept, reject or edit them.

server   HTTP on 127.0.0.1: pages, clip payloads, edit operations, media
session  one reviewer on one layer; the state behind the server
queue    the annotations in review order, worst first
payload  one clip as JSON for the page
edits    edit requests of the page as review operations
draft    an annotation as edited so far; undo and redo
journal  operations on disk, one file per reviewer
locks    which reviewer works on which clip now
other_reviewers       what the others decided on the clips of the queue
reviewer_agreement    agreement over the clips that two reviewers decided
apply    accepted annotations become the layer `human`
page/    the page: JavaScript modules without a build step
"""
