"""What builds the documentation: pages that run, formulas, the reference of names, tables of measured numbers."""
