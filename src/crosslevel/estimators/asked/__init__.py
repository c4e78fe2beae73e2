"""What a fit can be asked, one subject per file. What answers is loaded when it is asked.

Each function here becomes a method of `MixedFit`, by one line there.
"""
