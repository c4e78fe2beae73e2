"""Bootstrap: draws of a model's cross-products or outcomes, refits of them, and intervals.

`setting` is what stays the same in all refits of a model with one grouping factor, `draws` makes replicates of its
cross-products and `refits` fits them; `nested` does the same for clusters of several nested factors, `rows` draws
outcomes row by row. `run` computes replicates in blocks, `record` holds them, `intervals` reads them.
"""
