"""How a model looks at an image: windows, scales, mirrored views, and the average of their class scores.

The model is a function `scores.Score` here. `windows` lays the grid and pads, `scores` scores and averages windows,
`predict` puts the views of one image together.
"""
