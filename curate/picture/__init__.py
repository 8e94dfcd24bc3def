"""Picture: measures of the whole picture per frame.

quality        luma, change, letterbox; runs the two below every few frames
camera         background motion from the borders of the picture
burnt_in_text  likelihood of text lines, with an optional model
"""
