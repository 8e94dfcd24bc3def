"""Evaluation of a model.

validation   during training: held-out loss and sample grids
evaluate     of a trained model: actions, mouth, colours, beside their ceiling
held_out     clips that training did not use
analyse      a video to phases, mouth motion and colour drift
readers      face readers: a mesh, or a small network
likeness     distance of the face to the portrait, by a face recognition network
small_reader the small network: signals of faces too small for a mesh
score_store  scores of finished batches, for an evaluation that is stopped
scores       scores of phases and mouths
summary      an evaluation as means with intervals
"""
