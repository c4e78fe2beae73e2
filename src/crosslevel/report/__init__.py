"""Figures and the report page: records in, pictures and pages out."""
