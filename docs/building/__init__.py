"""What builds the documentation: pages that run, formulas, the reference of public names, tables of measured numbers."""
