"""Tables for publication: one record, and a renderer for each format.

Two libraries were looked at first. great_tables (1.1) renders frames as handsome HTML, but its LaTeX lets a standard
error run on into the line of its estimate, sets no numbers on their points and passes Greek letters on, on which pdfTeX
stops; it has no Word, Excel, Markdown or text. maketables (0.2) is made for regression tables and writes Word, but puts
names into LaTeX without escaping them, has one coefficient table for each model (no variance components, thresholds or
levels) and brings IPython with it. Neither keeps the number behind a cell, which spreadsheets need. What is shared by
all formats here is small: lines of labels and cells. So the tables are our own, on the blocks and numbers of `display`;
Word files are written by python-docx, workbooks by openpyxl.
"""
